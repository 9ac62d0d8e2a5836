/* Models of the Open Inference Protocol: what the workers have registered as ready. The registrations are JSON that
 * workers wrote; what they say of inputs and outputs is handed on as it is. */
#include <string.h>

#include "http_internal.h"
#include "penstock/wire_json.h"

/* One version, as one worker registered it. */
struct version {
    struct wire_slice name, version, platform, inputs, outputs, max_batch_size, memory;
};

static bool same(struct wire_slice a, struct wire_slice b) { return a.len == b.len && memcmp(a.at, b.at, a.len) == 0; }

/* Is the JSON string `value` this text? Names of models and versions need no escapes. */
static bool says(struct wire_slice value, const char *text) {
    return !text || (value.len == strlen(text) + 2 && memcmp(value.at + 1, text, value.len - 2) == 0);
}

static struct wire_slice member(struct wire_slice object, const char *name, const char *fallback) {
    struct wire_slice value;
    return wire_json_member(object, name, &value) ? value : (struct wire_slice){fallback, strlen(fallback)};
}

/* By name, then by number; versions have no leading zeros. */
static int compare(const struct version *a, const struct version *b) {
    size_t len = a->name.len < b->name.len ? a->name.len : b->name.len;
    int order = memcmp(a->name.at, b->name.at, len);
    if (order == 0 && a->name.len != b->name.len) order = a->name.len < b->name.len ? -1 : 1;
    if (order == 0 && a->version.len != b->version.len) order = a->version.len < b->version.len ? -1 : 1;
    return order ? order : memcmp(a->version.at, b->version.at, a->version.len);
}

/* What is ready anywhere, each version once, in order. `model`, `version`: NULL for all. */
static int ready_versions(struct http_request *req, const char *model, const char *version, struct version **ret,
                          size_t *ret_count, struct err *err) {
    struct store_worker *workers;
    size_t worker_count, count = 0, cap = 0;
    struct version *list = NULL;
    if (http__store(req, err) != 0 || store_worker_list(req->st, &req->arena, &workers, &worker_count, err) != 0)
        return -1;
    for (size_t i = 0; i < worker_count; i++) {
        struct wire_slice rest = {workers[i].models, workers[i].models ? strlen(workers[i].models) : 0}, object;
        while (rest.len && wire_json_element(&rest, &object)) {
            struct version found = {member(object, "name", "\"\""),         member(object, "version", "\"\""),
                                    member(object, "executor", "\"onnx\""), member(object, "inputs", "[]"),
                                    member(object, "outputs", "[]"),        member(object, "max_batch_size", "0"),
                                    member(object, "memory_bytes", "0")};
            if (!says(found.name, model) || !says(found.version, version)) continue;
            size_t at = 0;
            while (at < count && compare(&list[at], &found) < 0) at++;
            if (at < count && same(list[at].name, found.name) && same(list[at].version, found.version)) continue;
            if (count == cap) {
                struct version *wider = arena_alloc(&req->arena, (cap = cap ? 2 * cap : 16) * sizeof *wider);
                if (count) memcpy(wider, list, count * sizeof *wider);
                list = wider;
            }
            memmove(&list[at + 1], &list[at], (count++ - at) * sizeof *list);
            list[at] = found;
        }
    }
    *ret = list;
    *ret_count = count;
    return 0;
}

/* params[0], and params[1] where the path has a version: what is ready of it; ERR_UNKNOWN_MODEL if nothing is. */
static int asked_for(struct http_request *req, struct version **ret, size_t *ret_count, struct err *err) {
    const char *model = req->params[0], *version = req->params[1];
    if (ready_versions(req, model, version, ret, ret_count, err) != 0) return -1;
    if (*ret_count > 0) return 0;
    return err_set(err, ERR_UNKNOWN_MODEL, "no worker has model %.140s%s%.40s ready", model, version ? " version " : "",
                   version ? version : "");
}

static void put(struct buf *out, const char *before, struct wire_slice value) {
    buf_puts(out, before);
    buf_append(out, value.at, value.len);
}

/* `list`: one model's versions, in order; the last one describes it. */
static void put_metadata(struct buf *out, const struct version *list, size_t count) {
    const struct version *last = &list[count - 1];
    put(out, "{\"name\":", last->name);
    for (size_t i = 0; i < count; i++) put(out, i ? "," : ",\"versions\":[", list[i].version);
    put(out, "],\"platform\":", last->platform);
    put(out, ",\"inputs\":", last->inputs);
    put(out, ",\"outputs\":", last->outputs);
    put(out, ",\"parameters\":{\"max_batch_size\":", last->max_batch_size);
    put(out, ",\"memory_bytes\":", last->memory);
    buf_puts(out, "}}");
}

int http__models(struct http_request *req, struct err *err) {
    struct version *list;
    size_t count;
    if (ready_versions(req, NULL, NULL, &list, &count, err) != 0) return -1;
    buf_puts(&req->res.body, "{\"models\":[");
    for (size_t i = 0, n; i < count; i += n) {
        for (n = 1; i + n < count && same(list[i].name, list[i + n].name);) n++;
        if (i) buf_puts(&req->res.body, ",");
        put_metadata(&req->res.body, &list[i], n);
    }
    buf_puts(&req->res.body, "]}");
    http__json(req, 200);
    return HTTP_DONE;
}

int http__model_metadata(struct http_request *req, struct err *err) {
    struct version *list;
    size_t count;
    if (asked_for(req, &list, &count, err) != 0) return -1;
    put_metadata(&req->res.body, list, count);
    http__json(req, 200);
    return HTTP_DONE;
}

int http__model_ready(struct http_request *req, struct err *err) {
    struct version *list;
    size_t count;
    if (asked_for(req, &list, &count, err) != 0) return -1;
    put(&req->res.body, "{\"name\":", list[0].name);
    buf_puts(&req->res.body, ",\"ready\":true}");
    http__json(req, 200);
    return HTTP_DONE;
}

/* Triton's model repository extension: its index. What is not ready on any worker is not known here. */
int http__repository_index(struct http_request *req, struct err *err) {
    struct version *list;
    size_t count;
    if (ready_versions(req, NULL, NULL, &list, &count, err) != 0) return -1;
    buf_puts(&req->res.body, "[");
    for (size_t i = 0; i < count; i++) {
        put(&req->res.body, i ? ",{\"name\":" : "{\"name\":", list[i].name);
        put(&req->res.body, ",\"version\":", list[i].version);
        buf_puts(&req->res.body, ",\"state\":\"READY\"}");
    }
    buf_puts(&req->res.body, "]");
    http__json(req, 200);
    return HTTP_DONE;
}
