/* GET /events and GET /jobs/{job_id}/events: who may follow what, and from where on. */
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"

static int answer(struct http_request *req) {
    http__header(req, "X-Accel-Buffering", "no"); /* to proxies: pass it on as it comes */
    return HTTP_DONE;
}

int http__events_all(struct http_request *req, struct err *err) {
    const char *model = http__request_query(req, "model"), *last = http__request_header(req, "Last-Event-ID");
    if (model && !job_model_is_valid(model, strlen(model)))
        return err_set(err, ERR_INVALID_MEMBER, "model '%.100s' is no model's name", model);
    if (last && (!*last || strspn(last, "0123456789.") != strlen(last)))
        return err_set(err, ERR_INVALID_MEMBER, "Last-Event-ID '%.100s' is no id of these events", last);
    return http__hub_follow(req->http->hub, req, model, last, err) == 0 ? answer(req) : -1;
}

int http__events_of_job(struct http_request *req, struct err *err) {
    const char *last = http__request_header(req, "Last-Event-ID");
    struct job_record rec = {0};
    if (last && (!*last || strspn(last, "0123456789") != strlen(last) || strlen(last) > 18))
        return err_set(err, ERR_INVALID_MEMBER, "Last-Event-ID '%.100s' is no seq of a job's event", last);
    if (http__job_find(req, &rec, err) != 0) return -1;
    int64_t after = last ? strtoll(last, NULL, 10) : 0;
    return http__hub_follow_job(req->http->hub, req, &rec, after, err) == 0 ? answer(req) : -1;
}
