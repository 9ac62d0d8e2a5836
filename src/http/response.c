/* Answers, and how libmicrohttpd gets them. Every answer carries the same security headers: nothing that we send is to
 * be framed, sniffed, or given to another origin, and the dashboard may load nothing that is not its own. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "http_internal.h"

#define RETRY_AFTER_S "1"

static const struct http_param always[] = {
    {"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
                                "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
                                "form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

void http__header(struct http_request *req, const char *name, const char *fmt, ...) {
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    BUG_ON(req->res.header_count == HTTP_HEADERS_MAX);
    req->res.headers[req->res.header_count++] = (struct http_param){name, arena_strdup(&req->arena, text)};
}

void http__json(struct http_request *req, int status) {
    req->res.status = status;
    req->res.type = "application/json";
}

/* --- members of JSON objects ---------------------------------------------------------------------------------------
 */

void http__put_text(struct buf *out, const char *before, const char *text) {
    buf_puts(out, before);
    wire_json_string(text ? text : "", text ? strlen(text) : 0, out);
}

void http__put_int(struct buf *out, const char *before, int64_t number) {
    buf_printf(out, "%s%" PRId64, before, number);
}

void http__put_maybe(struct buf *out, const char *before, int known) {
    static const char *const words[] = {"null", "false", "true"};
    buf_puts(out, before);
    buf_puts(out, words[known + 1]);
}

/* --- errors --------------------------------------------------------------------------------------------------------
 */

static const char *title_of(int status) {
    const char *phrase = MHD_get_reason_phrase_for((unsigned)status);
    return phrase ? phrase : "Error";
}

static void put_problem(const struct err *err, int status, struct buf *out) {
    http__put_text(out, "{\"type\":\"about:blank\",\"title\":", title_of(status));
    buf_printf(out, ",\"status\":%d", status);
    http__put_text(out, ",\"detail\":", err->msg);
    http__put_text(out, ",\"code\":", err_code_name(err->code));
    http__put_text(out, ",\"message\":", err->msg);
    http__put_text(out, ",\"hint\":", err_code_hint(err->code));
    buf_printf(out, ",\"retryable\":%s}", err_code_retryable(err->code) ? "true" : "false");
}

void http__fail(struct http_request *req, const struct err *err) {
    struct http_response *res = &req->res;
    const char *accept = http__request_header(req, "Accept");
    int status = err_code_status(err->code);
    buf_reset(&res->body);
    http__json(req, status);
    if (accept && strstr(accept, "application/problem+json")) {
        res->type = "application/problem+json";
        put_problem(err, status, &res->body);
    } else {
        struct buf envelope = {0};
        wire_error_encode(err->code, err->msg, err_code_retryable(err->code), &envelope);
        bool inference = strncmp(req->raw_uri, "/v2", 3) == 0; /* its clients look for "error" */
        if (inference) http__put_text(&res->body, "{\"error\":", err->msg);
        buf_puts(&res->body, inference ? "," : "{");
        buf_append(&res->body, envelope.data + 1, envelope.len - 1);
        buf_done(&envelope);
    }
    if (status == 429 || status == 503) http__header(req, "Retry-After", RETRY_AFTER_S);
    if (status == 401) http__header(req, "WWW-Authenticate", "Bearer realm=\"penstock\"");
}

/* --- sending -------------------------------------------------------------------------------------------------------
 */

static struct MHD_Response *body_of(struct http_request *req) {
    struct http_response *res = &req->res;
    if (res->stream) return http__stream_response(req);
    if (res->fd >= 0) {
        struct MHD_Response *mhd =
            MHD_create_response_from_fd_at_offset64((uint64_t)res->length, res->fd, (uint64_t)res->offset);
        if (mhd) res->fd = -1; /* it is the response's now */
        return mhd;
    }
    if (res->fixed)
        return MHD_create_response_from_buffer((size_t)res->length, (void *)(uintptr_t)res->fixed,
                                               MHD_RESPMEM_PERSISTENT);
    /* Valid until the request is freed, which is after it was sent. */
    return MHD_create_response_from_buffer(res->body.len, res->body.data, MHD_RESPMEM_PERSISTENT);
}

enum MHD_Result http__send(struct http_request *req) {
    struct http_response *res = &req->res;
    struct MHD_Response *mhd = body_of(req);
    bool cacheable = false;
    if (!mhd) return MHD_NO;
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
        MHD_add_response_header(mhd, always[i].name, always[i].value);
    if (res->type) MHD_add_response_header(mhd, "Content-Type", res->type);
    for (size_t i = 0; i < res->header_count; i++) {
        MHD_add_response_header(mhd, res->headers[i].name, res->headers[i].value);
        cacheable |= strcmp(res->headers[i].name, "Cache-Control") == 0;
    }
    if (res->close) MHD_add_response_header(mhd, "Connection", "close");
    if (!cacheable) MHD_add_response_header(mhd, "Cache-Control", "no-store");
    enum MHD_Result rc = MHD_queue_response(req->mhd, (unsigned)res->status, mhd);
    MHD_destroy_response(mhd);
    return rc;
}
