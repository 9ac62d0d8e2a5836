/* Jobs: their records, the documents beside them, lists, and asking for an end. */
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"
#include "penstock/clock.h"

#define LIST_DEFAULT 50
#define LIST_MAX     500
#define LIST_LABELS  16

/* --- shared --------------------------------------------------------------------------------------------------------
 */

int http__put_record(struct http_request *req, const struct job_record *rec, struct err *err) {
    const char *result = NULL, *error = NULL;
    size_t len;
    if (rec->state == JOB_STATE_COMPLETED &&
        store_job_doc(req->st, "result", rec->job_id, &req->arena, &result, &len, err) != 0)
        return -1;
    if (rec->state == JOB_STATE_FAILED &&
        store_job_doc(req->st, "error", rec->job_id, &req->arena, &error, &len, err) != 0)
        return -1;
    wire_record_encode(rec, NULL, result, error, &req->res.body);
    return 0;
}

void http__put_accepted(struct http_request *req, const char *job_id, enum job_state state) {
    buf_printf(&req->res.body, "{\"job_id\":\"%s\"", job_id); /* a valid id needs no escapes */
    if (state != JOB_STATE_NONE) buf_printf(&req->res.body, ",\"state\":\"%s\"", job_state_name(state));
    buf_puts(&req->res.body, "}");
}

/* "wait=5", also among others. Source: RFC 7240. */
int64_t http__prefer_wait_ms(const struct http_request *req) {
    const char *prefer = http__request_header(req, "Prefer");
    for (const char *at = prefer; at && *at; at += strcspn(at, ",;"), at += *at != '\0') {
        at += strspn(at, " \t");
        if (strncmp(at, "wait=", 5) != 0) continue;
        size_t digits = strspn(at + 5, "0123456789");
        if (digits == 0) return 0;
        int64_t ms = digits > 5 ? HTTP_WAIT_MAX_MS : strtoll(at + 5, NULL, 10) * 1000;
        return ms < HTTP_WAIT_MAX_MS ? ms : HTTP_WAIT_MAX_MS;
    }
    return 0;
}

/* The record of params[0]; ERR_NOT_FOUND without one. */
static int find(struct http_request *req, struct job_record *ret, struct err *err) {
    const char *job_id = req->params[0];
    if (!job_id_is_valid(job_id, strlen(job_id)))
        return err_set(err, ERR_INVALID_JOB_ID, "'%.140s' is no job_id", job_id);
    if (http__store(req, err) != 0 || store_job_get(req->st, job_id, &req->arena, ret, err) != 0) return -1;
    return 0;
}

int http__job_find(struct http_request *req, struct job_record *ret, struct err *err) {
    if (find(req, ret, err) != 0) return -1;
    return ret->state != JOB_STATE_NONE ? 0 : err_set(err, ERR_NOT_FOUND, "there is no job %s", req->params[0]);
}

/* --- one job -------------------------------------------------------------------------------------------------------
 */

static int answer_record(struct http_request *req, struct err *err) {
    struct job_record rec = {0};
    if (http__job_find(req, &rec, err) != 0 || http__put_record(req, &rec, err) != 0) return -1;
    http__json(req, 200);
    if (req->wait_ms > 0) http__header(req, "Preference-Applied", "wait=%lld", (long long)req->wait_ms / 1000);
    return HTTP_DONE;
}

int http__job_get(struct http_request *req, struct err *err) {
    struct job_record rec = {0};
    req->wait_ms = http__prefer_wait_ms(req);
    if (req->wait_ms == 0) return answer_record(req, err);
    if (find(req, &rec, err) != 0) return -1;
    if (job_state_is_terminal(rec.state)) return answer_record(req, err);
    req->job_id = req->params[0];
    return http__wait(req, answer_record);
}

/* /jobs/{job_id}/result, spec or error: the last part of the path names the document. */
int http__job_doc(struct http_request *req, struct err *err) {
    const char *what = req->uri.segments[2], *doc = NULL;
    struct job_record rec = {0};
    size_t len = 0;
    if (http__job_find(req, &rec, err) != 0 || store_job_doc(req->st, what, rec.job_id, &req->arena, &doc, &len, err))
        return -1;
    if (!doc)
        return err_set(err, ERR_NOT_FOUND, "job %s is %s and has no %s", rec.job_id, job_state_name(rec.state), what);
    buf_append(&req->res.body, doc, len);
    http__json(req, 200);
    return HTTP_DONE;
}

/* --- cancel --------------------------------------------------------------------------------------------------------
 */

static int cancel_sent(struct http_request *req, struct err *err) {
    http__put_accepted(req, req->job_id, (enum job_state)(intptr_t)req->own);
    http__json(req, 202);
    http__header(req, "Location", "/jobs/%s", req->job_id);
    return HTTP_DONE;
}

static int send_cancel(struct http_request *req, struct err *err) {
    struct buf value = {0};
    struct job_command cmd;
    wire_command_encode_cancel(req->job_id, http__request_query(req, "reason"), &value);
    struct wire_message check = {.value = value.data, .value_len = value.len};
    struct bus_out msg = {.topic = req->http->cfg.control_topic,
                          .key = req->job_id,
                          .key_len = strlen(req->job_id),
                          .value = value.data,
                          .value_len = value.len};
    int rc = wire_command_decode(&check, &req->arena, &cmd, NULL, err); /* the reason may be too long */
    if (rc == 0) rc = http__publish(req, &msg, cancel_sent, err);
    buf_done(&value); /* the bus has copied it */
    return rc;
}

int http__job_cancel(struct http_request *req, struct err *err) {
    struct job_record rec = {0};
    if (find(req, &rec, err) != 0) return -1;
    if (rec.state == JOB_STATE_CANCELLED) return answer_record(req, err);
    if (job_state_is_terminal(rec.state))
        return err_set(err, ERR_TOO_LATE, "job %s is %s", rec.job_id, job_state_name(rec.state));
    req->job_id = req->params[0];
    req->own = (void *)(intptr_t)rec.state;
    return send_cancel(req, err);
}

/* --- lists ---------------------------------------------------------------------------------------------------------
 */

static int parse_label(struct http_request *req, const char *pair, struct store_list *query, struct job_label *labels,
                       struct err *err) {
    const char *equals = strchr(pair, '=');
    if (!equals || equals == pair || query->label_count == LIST_LABELS)
        return err_set(err, ERR_INVALID_MEMBER, "label '%.100s' is not name=value, or one of more than %d", pair,
                       LIST_LABELS);
    labels[query->label_count++] =
        (struct job_label){arena_strndup(&req->arena, pair, (size_t)(equals - pair)), equals + 1};
    return 0;
}

static int parse_time(const char *name, const char *text, int64_t *ret, struct err *err) {
    if (clock_parse_when(text, clock_wall_ms(&clock_system), ret) == 0) return 0;
    return err_set(err, ERR_INVALID_MEMBER, "%s '%.100s' is neither RFC 3339 nor of the form 90s, 10m, 3h or 7d", name,
                   text);
}

static int parse_param(struct http_request *req, const struct http_param *param, struct store_list *query,
                       struct job_label *labels, struct err *err) {
    const char *value = param->value;
    if (strcmp(param->name, "label") == 0) return parse_label(req, value, query, labels, err);
    if (strcmp(param->name, "since") == 0) return parse_time("since", value, &query->since, err);
    if (strcmp(param->name, "until") == 0) return parse_time("until", value, &query->until, err);
    if (strcmp(param->name, "cursor") == 0) {
        query->cursor = value;
    } else if (strcmp(param->name, "model") == 0) {
        query->model = value;
        if (!job_model_is_valid(value, strlen(value)))
            return err_set(err, ERR_INVALID_MEMBER, "model '%.100s' is no model's name", value);
    } else if (strcmp(param->name, "state") == 0) {
        int state = job_state_from_name(value, strlen(value));
        if (state <= JOB_STATE_NONE || state >= JOB_STATE_COUNT)
            return err_set(err, ERR_INVALID_MEMBER,
                           "state '%.100s' is none of queued, running, completed, failed, cancelled", value);
        query->state = (enum job_state)state;
    } else { /* limit: there is no other */
        size_t digits = strspn(value, "0123456789");
        query->limit = digits > 0 && digits < 10 && !value[digits] ? (size_t)strtoll(value, NULL, 10) : 0;
        if (query->limit < 1 || query->limit > LIST_MAX)
            return err_set(err, ERR_INVALID_MEMBER, "limit '%.100s' is not in 1 to %d", value, LIST_MAX);
    }
    return 0;
}

/* Where the next page is: this one's filters, and the cursor. */
static void put_link(struct http_request *req, const char *cursor) {
    struct buf link = {0};
    size_t path_len = strcspn(req->raw_uri, "?");
    buf_printf(&link, "<%.*s?", (int)path_len, req->raw_uri);
    for (const char *at = req->raw_uri + path_len + (req->raw_uri[path_len] == '?'); *at;) {
        size_t len = strcspn(at, "&");
        if (strncmp(at, "cursor=", 7) != 0 && len > 0) buf_printf(&link, "%.*s&", (int)len, at);
        at += len + (at[len] == '&');
    }
    buf_puts(&link, "cursor=");
    for (const char *c = cursor; *c; c++) buf_printf(&link, job_id_is_valid(c, 1) ? "%c" : "%%%02X", (unsigned char)*c);
    buf_puts(&link, ">; rel=\"next\"");
    if (link.len < 1000) http__header(req, "Link", "%s", link.data);
    buf_done(&link);
}

int http__job_list(struct http_request *req, struct err *err) {
    struct job_label labels[LIST_LABELS];
    struct store_list query = {.labels = labels, .limit = LIST_DEFAULT};
    struct job_record *jobs;
    const char *cursor = NULL;
    size_t count;
    for (size_t i = 0; i < req->uri.query_count; i++)
        if (parse_param(req, &req->uri.query[i], &query, labels, err) != 0) return -1;
    if (http__store(req, err) != 0 || store_job_list(req->st, &query, &req->arena, &jobs, &count, &cursor, err) != 0)
        return -1;
    buf_puts(&req->res.body, "{\"jobs\":[");
    for (size_t i = 0; i < count; i++) {
        if (i) buf_puts(&req->res.body, ",");
        wire_record_encode(&jobs[i], NULL, NULL, NULL, &req->res.body);
    }
    buf_puts(&req->res.body, "]");
    if (cursor) {
        buf_puts(&req->res.body, ",\"next_cursor\":");
        wire_json_string(cursor, strlen(cursor), &req->res.body);
    }
    buf_puts(&req->res.body, "}");
    http__json(req, 200);
    if (cursor) put_link(req, cursor);
    return HTTP_DONE;
}
