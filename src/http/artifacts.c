/* Outputs that lie in files. A run's file never changes once it has its name, so the token and the name are its ETag.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "http_internal.h"

/* Which run: the one that was accepted, or the one that the path names. */
static int run_of(struct http_request *req, const char **ret_token, const char **ret_name, struct err *err) {
    struct job_record rec;
    const char *job_id = req->params[0];
    if (!job_id_is_valid(job_id, strlen(job_id)))
        return err_set(err, ERR_INVALID_JOB_ID, "'%.140s' is no job_id", job_id);
    if (req->params[2]) {
        *ret_token = req->params[1];
        *ret_name = req->params[2];
        return 0;
    }
    if (http__store(req, err) != 0 || store_job_get(req->st, job_id, &req->arena, &rec, err) != 0) return -1;
    if (rec.state != JOB_STATE_COMPLETED || !rec.token)
        return err_set(err, ERR_NOT_FOUND, "job %s is %s: artifacts are those of a completed job", job_id,
                       job_state_name(rec.state));
    *ret_token = rec.token;
    *ret_name = req->params[1];
    return 0;
}

static void put_tag(struct http_request *req, const char *token, const char *name, struct buf *out) {
    buf_printf(out, "\"%s-", token);
    for (const char *c = name; *c; c++) buf_printf(out, job_id_is_valid(c, 1) ? "%c" : "%%%02X", (unsigned char)*c);
    buf_puts(out, "\"");
}

static int answer_file(struct http_request *req, int fd, int64_t size, const char *tag, struct err *err) {
    const char *none_match = http__request_header(req, "If-None-Match"),
               *if_range = http__request_header(req, "If-Range");
    const char *range = http__request_header(req, "Range");
    struct http_response *res = &req->res;
    int64_t first = 0, length = size;
    http__header(req, "ETag", "%s", tag);
    http__header(req, "Cache-Control", "private, max-age=31536000, immutable");
    if (none_match && strstr(none_match, tag)) {
        close(fd);
        res->status = 304;
        return HTTP_DONE;
    }
    http__header(req, "Accept-Ranges", "bytes");
    if (if_range && strcmp(if_range, tag) != 0) range = NULL;
    enum http_range part = http__range_parse(range, size, &first, &length);
    if (part == HTTP_RANGE_OUTSIDE) {
        close(fd);
        http__header(req, "Content-Range", "bytes */%" PRId64, size);
        return err_set(err, ERR_RANGE_NOT_SATISFIABLE, "the file has %" PRId64 " bytes", size);
    }
    if (part == HTTP_RANGE_PART)
        http__header(req, "Content-Range", "bytes %" PRId64 "-%" PRId64 "/%" PRId64, first, first + length - 1, size);
    res->status = part == HTTP_RANGE_PART ? 206 : 200;
    res->type = "application/octet-stream";
    http__header(req, "Content-Disposition", "attachment");
    res->fd = fd;
    res->offset = first;
    res->length = length;
    return HTTP_DONE;
}

int http__artifact_get(struct http_request *req, struct err *err) {
    const char *token = NULL, *name = NULL;
    struct buf tag = {0};
    int64_t size = 0;
    int fd = -1;
    if (!req->http->artifacts)
        return err_set(err, ERR_NOT_FOUND, "artifacts.root is not set here, or this machine does not see it");
    if (run_of(req, &token, &name, err) != 0) return -1;
    if (artifact_open(req->http->artifacts, req->params[0], token, name, &fd, &size, err) != 0) return -1;
    put_tag(req, token, name, &tag);
    int rc = answer_file(req, fd, size, tag.data, err);
    buf_done(&tag);
    return rc;
}
