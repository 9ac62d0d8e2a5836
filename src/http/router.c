/* The table of everything that can be asked for. One row an operation of schemas/openapi.yaml; a test compares the two.
 * Forty rows are looked through from the top: that costs less than the first header of a request. */
#include <string.h>

#include "http_internal.h"

#define JSON          " application/json "
#define JSON_OR_BYTES " application/json application/octet-stream "
#define ROUTE(verb, template, needed, handler, ...)                                                                    \
    { .method = HTTP_##verb, .path = template, .role = HTTP_##needed, .handle = handler, __VA_ARGS__ }

static const struct http_route routes[] = {
    ROUTE(POST, "/jobs", SUBMIT, http__job_create, .types = JSON " application/cloudevents+json "),
    ROUTE(GET, "/jobs", READ, http__job_list, .query = " state model label since until limit cursor "),
    ROUTE(GET, "/jobs/{job_id}", READ, http__job_get),
    ROUTE(DELETE, "/jobs/{job_id}", CANCEL, http__job_cancel, .query = " reason "),
    ROUTE(GET, "/jobs/{job_id}/result", READ, http__job_doc),
    ROUTE(GET, "/jobs/{job_id}/spec", READ, http__job_doc),
    ROUTE(GET, "/jobs/{job_id}/error", READ, http__job_doc),
    ROUTE(GET, "/jobs/{job_id}/events", READ, http__events_of_job),
    ROUTE(GET, "/events", READ, http__events_all, .query = " model "),
    ROUTE(GET, "/jobs/{job_id}/artifacts/{name}", READ, http__artifact_get),
    ROUTE(GET, "/jobs/{job_id}/artifacts/{token}/{name}", READ, http__artifact_get),
    ROUTE(POST, "/uploads", SUBMIT, http__upload_done, .flags = HTTP_STREAMED, .types = " application/octet-stream ",
          .on_body = http__upload_body, .on_end = http__upload_end),
    ROUTE(GET, "/v2", ANYBODY, http__server_metadata, .flags = HTTP_INLINE),
    ROUTE(GET, "/v2/health/live", ANYBODY, http__live, .flags = HTTP_INLINE),
    ROUTE(GET, "/v2/health/ready", ANYBODY, http__ready, .flags = HTTP_INLINE),
    ROUTE(GET, "/v2/models", READ, http__models),
    ROUTE(GET, "/v2/models/{model}", READ, http__model_metadata),
    ROUTE(GET, "/v2/models/{model}/versions/{version}", READ, http__model_metadata),
    ROUTE(GET, "/v2/models/{model}/ready", READ, http__model_ready),
    ROUTE(GET, "/v2/models/{model}/versions/{version}/ready", READ, http__model_ready),
    ROUTE(POST, "/v2/models/{model}/infer", SUBMIT, http__infer, .types = JSON_OR_BYTES),
    ROUTE(POST, "/v2/models/{model}/versions/{version}/infer", SUBMIT, http__infer, .types = JSON_OR_BYTES),
    ROUTE(POST, "/v2/repository/index", READ, http__repository_index),
    ROUTE(GET, "/v1/overview", READ, http__overview),
    ROUTE(GET, "/v1/queues", READ, http__queues),
    ROUTE(GET, "/v1/workers", READ, http__workers),
    ROUTE(POST, "/v1/mode", ADMIN, http__mode_set, .types = JSON),
    ROUTE(GET, "/v1/guarantees", READ, http__guarantees),
    ROUTE(GET, "/metrics", READ, http__metrics_get),
    ROUTE(GET, "/schemas/{file}", ANYBODY, http__schema_get, .flags = HTTP_INLINE),
    ROUTE(GET, "/", ANYBODY, http__web_get, .flags = HTTP_INLINE),
    ROUTE(GET, "/web/{file}", ANYBODY, http__web_get, .flags = HTTP_INLINE),
};

const struct http_route *http__route_at(size_t index) {
    return index < sizeof routes / sizeof routes[0] ? &routes[index] : NULL;
}

static bool path_matches(const char *path, const struct http_uri *uri, const char *ret_params[HTTP_PARAMS_MAX]) {
    size_t params = 0, i = 0;
    for (; path[1]; i++) { /* at the slash before a part */
        size_t len = strcspn(++path, "/");
        if (i == uri->segment_count) return false;
        if (*path == '{') {
            BUG_ON(params == HTTP_PARAMS_MAX);
            ret_params[params++] = uri->segments[i];
        } else if (strncmp(path, uri->segments[i], len) != 0 || uri->segments[i][len]) {
            return false;
        }
        path += len;
        if (!*path) return i + 1 == uri->segment_count;
    }
    return uri->segment_count == 0;
}

const struct http_route *http__route_find(enum http_method method, const struct http_uri *uri,
                                          const char *ret_params[HTTP_PARAMS_MAX], unsigned *ret_allowed,
                                          struct err *err) {
    *ret_allowed = 0;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!path_matches(routes[i].path, uri, ret_params)) continue;
        if (routes[i].method == method) return &routes[i];
        *ret_allowed |= routes[i].method;
    }
    if (*ret_allowed)
        err_set(err, ERR_METHOD_NOT_ALLOWED, "this path does not take that method");
    else
        err_set(err, ERR_NOT_FOUND, "there is nothing at this path; /schemas/openapi.yaml has all that there is");
    return NULL;
}
