/* One request, from its first line to its last byte. It belongs to one thread at a time: who hands it on, by the pool's
 * queue or another's lock, does not touch it again. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "http_internal.h"
#include "penstock/clock.h"

struct http_request *http__request_new(struct http *http, struct MHD_Connection *mhd, const char *raw_uri) {
    struct http_request *req = mem_calloc(1, sizeof *req);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    arena_init(&req->arena);
    req->http = http;
    req->mhd = mhd;
    req->conn = info ? info->socket_context : NULL;
    req->raw_uri = arena_strdup(&req->arena, raw_uri);
    req->res.fd = -1;
    req->began_us = clock_mono_us(&clock_system);
    return req;
}

void http__request_free(struct http_request *req) {
    if (!req) return;
    http__metrics_count(req->http->metrics, req);
    if (req->route && req->route->on_end) req->route->on_end(req);
    atomic_fetch_sub(&req->http->body_bytes, req->body.len);
    if (req->res.fd >= 0) close(req->res.fd);
    if (req->res.stream) http__stream_release(req->res.stream);
    buf_done(&req->res.body);
    buf_done(&req->body);
    arena_done(&req->arena);
    free(req);
}

const char *http__request_header(const struct http_request *req, const char *name) {
    return MHD_lookup_connection_value(req->mhd, MHD_HEADER_KIND, name);
}

const char *http__request_query(const struct http_request *req, const char *name) {
    for (size_t i = 0; i < req->uri.query_count; i++)
        if (strcmp(req->uri.query[i].name, name) == 0) return req->uri.query[i].value;
    return NULL;
}

bool http__media_is(const char *content_type, const char *type) {
    size_t len = strlen(type);
    return strncasecmp(content_type, type, len) == 0 && strchr("; \t", content_type[len]);
}
