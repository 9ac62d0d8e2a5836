/* POST /uploads: a body that goes into a file as it comes, is hashed on the way, and gets its name only when all of it
 * is on the disk. An upload that breaks off leaves nothing behind. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http_internal.h"
#include "penstock/clock.h"
#include "penstock/sha256.h"
#include "penstock/uuid.h"

struct upload {
    char id[UUID_SIZE];
    int fd; /* -1: complete, or broken off */
    int64_t bytes;
    struct sha256 *sha;
};

/* The request's upload, begun if it is not there yet; NULL with *err. */
static struct upload *upload_of(struct http_request *req, struct err *err) {
    if (req->own) return req->own;
    if (!req->http->inputs) {
        err_set(err, ERR_NOT_FOUND, "artifacts.input_root is not set here, or this machine does not see it");
        return NULL;
    }
    struct upload *up = arena_alloc(&req->arena, sizeof *up);
    if (uuid_v7(up->id, err) != 0 || artifact_upload_begin(req->http->inputs, up->id, &up->fd, err) != 0) return NULL;
    up->sha = sha256_new();
    req->own = up;
    return up;
}

int http__write_all(int fd, const char *bytes, size_t len, struct err *err) {
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_set_errno(err, ERR_SYSTEM, "upload: write");
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

int http__upload_body(struct http_request *req, const char *bytes, size_t len, struct err *err) {
    struct upload *up = upload_of(req, err);
    if (!up) return -1;
    up->bytes += (int64_t)len;
    if (up->bytes > req->http->cfg.max_upload_bytes)
        return err_set(err, ERR_TOO_LARGE, "the upload has more than %" PRId64 " bytes",
                       req->http->cfg.max_upload_bytes);
    sha256_add(up->sha, bytes, len);
    return http__write_all(up->fd, bytes, len, err);
}

int http__upload_done(struct http_request *req, struct err *err) {
    unsigned char sum[SHA256_BYTES];
    char hex[SHA256_HEX_SIZE];
    const char *uri;
    struct upload *up = upload_of(req, err); /* an empty body has not begun one */
    if (!up) return -1;
    int fd = up->fd;
    up->fd = -1;
    if (artifact_upload_end(req->http->inputs, up->id, fd, &req->arena, &uri, err) != 0) return -1;
    sha256_end(up->sha, sum);
    up->sha = NULL;
    sha256_hex(sum, hex);
    buf_puts(&req->res.body, "{\"uri\":");
    wire_json_string(uri, strlen(uri), &req->res.body);
    buf_printf(&req->res.body, ",\"bytes\":%" PRId64 ",\"sha256\":\"%s\",\"expires_at\":%" PRId64 "}", up->bytes, hex,
               clock_wall_ms(&clock_system) + req->http->cfg.upload_keep_ms);
    http__json(req, 201);
    return HTTP_DONE;
}

void http__upload_end(struct http_request *req) {
    struct upload *up = req->own;
    if (!up) return;
    if (up->fd >= 0) artifact_upload_abort(req->http->inputs, up->id, up->fd);
    sha256_free(up->sha);
}

void http__uploads_collect(struct http *http) {
    if (http->inputs) artifact_upload_collect(http->inputs, http->cfg.upload_keep_ms);
}
