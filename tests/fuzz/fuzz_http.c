/* Any bytes as an HTTP request: a line "METHOD target", lines "name: value" up to an empty line, then the body. It is judged and
 * handled by the server's own code, in this thread: libmicrohttpd's side is played by this file, Redis is away, and what
 * would go to Kafka is looked at instead: whatever the server publishes, the control process must be able to read. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../src/http/http_internal.h"
#include "fuzz.h"

#define MAX_HEADERS 32

struct MHD_Connection {
    struct http_param headers[MAX_HEADERS];
    size_t count;
};

/* --- libmicrohttpd, and who else would need a socket ---------------------------------------------------------------
 */

const union MHD_ConnectionInfo *MHD_get_connection_info(struct MHD_Connection *mhd, enum MHD_ConnectionInfoType type,
                                                        ...) {
    return NULL;
}

const char *MHD_lookup_connection_value(struct MHD_Connection *mhd, enum MHD_ValueKind kind, const char *name) {
    for (size_t i = 0; i < mhd->count; i++)
        if (strcasecmp(mhd->headers[i].name, name) == 0) return mhd->headers[i].value;
    return NULL;
}

int MHD_get_connection_values(struct MHD_Connection *mhd, enum MHD_ValueKind kind, MHD_KeyValueIterator each,
                              void *self) {
    for (size_t i = 0; i < mhd->count; i++)
        if (each(self, kind, mhd->headers[i].name, mhd->headers[i].value) != MHD_YES) break;
    return (int)mhd->count;
}

/* The linker puts these in the places of the real ones: see CMakeLists.txt. */
int __wrap_http__monitor_admit(struct http_monitor *monitor, const char *model, struct err *err);
int __wrap_http__publish(struct http_request *req, const struct bus_out *msg, http_handler_fn *step, struct err *err);

int __wrap_http__monitor_admit(struct http_monitor *monitor, const char *model, struct err *err) { return 0; }

int __wrap_http__publish(struct http_request *req, const struct bus_out *msg, http_handler_fn *step, struct err *err) {
    struct wire_header headers[4];
    struct job_command cmd;
    BUG_ON(msg->header_count > sizeof headers / sizeof headers[0]);
    for (size_t i = 0; i < msg->header_count; i++)
        headers[i] = (struct wire_header){msg->headers[i].name, msg->headers[i].value, msg->headers[i].value_len};
    struct wire_message in = {.key = msg->key,
                              .key_len = msg->key_len,
                              .value = msg->value,
                              .value_len = msg->value_len,
                              .headers = headers,
                              .header_count = msg->header_count};
    BUG_ON(wire_command_decode(&in, &req->arena, &cmd, NULL, err) != 0);
    return HTTP_LATER;
}

/* --- one request --------------------------------------------------------------------------------------------------- */

static struct http *server(void) {
    static struct http http;
    struct err err;
    if (http.metrics) return &http;
    http.cfg = (struct http_config){.token_file = "",
                                    .max_body_bytes = 1024 * 1024,
                                    .max_upload_bytes = 1024 * 1024,
                                    .artifact_root = "",
                                    .input_root = "",
                                    .commands_topic = "commands",
                                    .control_topic = "control",
                                    .version = "0"};
    http.loopback = true;
    http.metrics = http__metrics_new();
    http.store_down_until = INT64_MAX;
    BUG_ON(http__auth_new(&http.cfg, true, &http.auth, &err) != 0);
    return &http;
}

/* Handlers that ask only what stands behind a connection: there is nothing of the request left for them to read. */
static bool is_handled(const struct http_route *route) {
    static const char *const others[] = {"/metrics", "/v1/guarantees", "/v2/health/ready", "/events"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strcmp(route->path, others[i]) == 0) return false;
    return true;
}

static char *take_line(const char **text, const char *end, struct arena *arena) {
    const char *newline = *text < end ? memchr(*text, '\n', (size_t)(end - *text)) : NULL;
    char *line = arena_strndup(arena, *text, (size_t)((newline ? newline : end) - *text));
    *text = newline ? newline + 1 : end;
    return line;
}

static void read_headers(const char **text, const char *end, struct arena *arena, struct MHD_Connection *mhd) {
    for (char *line; *(line = take_line(text, end, arena));) {
        char *colon = strchr(line, ':');
        if (!colon || mhd->count == MAX_HEADERS) continue;
        *colon++ = '\0';
        mhd->headers[mhd->count++] = (struct http_param){line, colon + strspn(colon, " \t")};
    }
}

/* What libmicrohttpd and the pool do with it. */
static void handle(struct http_request *req, const char *method, const char *body, size_t len) {
    struct err err = {0};
    int verdict = http__judge(req, method, &err), done = HTTP_DONE;
    if (verdict > 0) {
        bool streamed = req->route->on_body != NULL;
        if (streamed && len > 0) done = req->route->on_body(req, body, len, &err);
        if (!streamed) buf_append(&req->body, body, len);
        atomic_fetch_add(&req->http->body_bytes, req->body.len);
        if (done == 0 && is_handled(req->route)) done = req->route->handle(req, &err);
        verdict = done == HTTP_LATER || !is_handled(req->route) ? 1 : done < 0 ? -1 : 0;
    }
    if (verdict < 0) {
        BUG_ON(err.code == ERR_NONE);
        http__fail(req, &err);
        BUG_ON(req->res.status < 400 || req->res.body.len == 0);
    }
    BUG_ON(verdict <= 0 && (req->res.status < 200 || req->res.status > 599));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data, *end = text + size;
    struct MHD_Connection mhd = {.count = 0};
    struct arena arena;
    arena_init(&arena);
    char *method = take_line(&text, end, &arena), *target = strchr(method, ' ');
    if (target) *target++ = '\0';
    read_headers(&text, end, &arena, &mhd);
    struct http_request *req = http__request_new(server(), &mhd, target ? target : "");
    handle(req, method, text, (size_t)(end - text));
    http__request_free(req);
    arena_done(&arena);
    return 0;
}
