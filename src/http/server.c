/* The server: libmicrohttpd's daemon and what it calls.
 *
 * A few connection threads (epoll) read all requests and send all answers; they never wait for anything. A request is
 * judged as soon as its headers are there, before a byte of its body is taken: path, method, tokens, type and size.
 * What needs Redis or Kafka is suspended, which costs a connection no thread, and goes to the pool; http__answer
 * resumes it. So two hundred streams and a Redis that hangs cost nobody else a thing.
 *
 * libmicrohttpd calls on_request several times for one request: once with the headers, once for each piece of the body,
 * once at its end, and once more after each resumption. `phase` tells which it is. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "http_internal.h"
#include "penstock/clock.h"
#include "penstock/log.h"

#define CONNECTION_THREADS 2
#define CONNECTION_SPARE   128 /* over max_connections: those that are told so */
#define SILENCE_S          30
#define BACKLOG            512
#define BODIES_MAX_BYTES   ((size_t)256 * 1024 * 1024) /* of all requests together */
#define DISCARD_MAX_BYTES  ((size_t)1024 * 1024)       /* of a refused request, so that its sender reads the answer */
#define STOP_MS            10000
#define TICK_MS            200
#define UPLOADS_MS         60000
#define FILES_SPARE        256

/* --- small things --------------------------------------------------------------------------------------------------
 */

void http__thread(pthread_t *ret, void *(*run)(void *), void *arg) {
    /* Signals are for the main thread. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    BUG_ON(pthread_create(ret, NULL, run, arg) != 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void http__pause_ms(int ms) {
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&ts, NULL);
}

void http__answer(struct http_request *req) {
    struct MHD_Connection *mhd = req->mhd;
    struct http *http = req->http;
    atomic_store(&req->phase, HTTP_ANSWERED);
    MHD_resume_connection(mhd); /* from here on the request is the connection thread's */
    atomic_fetch_sub(&http->suspended, 1);
}

/* --- judging the headers -------------------------------------------------------------------------------------------
 */

static int method_of(const char *name) {
    static const struct {
        const char *name;
        int method;
    } methods[] = {{"GET", HTTP_GET}, {"HEAD", HTTP_GET}, {"POST", HTTP_POST}, {"DELETE", HTTP_DELETE}, {"OPTIONS", 0}};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (strcmp(methods[i].name, name) == 0) return methods[i].method;
    return -1;
}

static void put_allow(struct http_request *req, unsigned allowed) {
    http__header(req, "Allow", "%s%s%sOPTIONS", allowed & HTTP_GET ? "GET, HEAD, " : "",
                 allowed & HTTP_POST ? "POST, " : "", allowed & HTTP_DELETE ? "DELETE, " : "");
}

struct framing {
    int lengths, encodings;
};

static enum MHD_Result count_framing(void *self, enum MHD_ValueKind kind, const char *name, const char *value) {
    struct framing *framing = self;
    framing->lengths += strcasecmp(name, "Content-Length") == 0;
    framing->encodings += strcasecmp(name, "Transfer-Encoding") == 0;
    return MHD_YES;
}

/* Two ways of saying how long a body is are how requests are smuggled past a proxy: there must be one, and it must be
 * one that libmicrohttpd and every proxy read alike. */
static int check_framing(const struct http_request *req, struct err *err) {
    const char *length = http__request_header(req, "Content-Length");
    const char *encoding = http__request_header(req, "Transfer-Encoding");
    struct framing framing = {0};
    MHD_get_connection_values(req->mhd, MHD_HEADER_KIND, count_framing, &framing);
    if (framing.lengths + framing.encodings > 1)
        return err_set(err, ERR_INVALID_MEMBER, "Content-Length or Transfer-Encoding: one of them, once");
    if (length && (strspn(length, "0123456789") != strlen(length) || strlen(length) > 18))
        return err_set(err, ERR_INVALID_MEMBER, "Content-Length is no number");
    if (encoding && strcasecmp(encoding, "chunked") != 0)
        return err_set(err, ERR_INVALID_MEMBER, "Transfer-Encoding can be chunked, and nothing else");
    return 0;
}

static int check_body(struct http_request *req, struct err *err) {
    const struct http_config *cfg = &req->http->cfg;
    const char *type = http__request_header(req, "Content-Type");
    const char *length = http__request_header(req, "Content-Length");
    bool streamed = req->route->flags & HTTP_STREAMED;
    int64_t max = streamed ? cfg->max_upload_bytes : (int64_t)cfg->max_body_bytes;
    if (length && strtoll(length, NULL, 10) > max)
        return err_set(err, ERR_TOO_LARGE, "the body has %s bytes, more than %lld", length, (long long)max);
    if (!req->route->types || !type) return 0;
    for (const char *at = req->route->types + strspn(req->route->types, " "); *at; at += strspn(at, " ")) {
        char word[64] = "";
        size_t len = strcspn(at, " ");
        memcpy(word, at, len < sizeof word ? len : sizeof word - 1);
        if (http__media_is(type, word)) return 0;
        at += len;
    }
    return err_set(err, ERR_UNSUPPORTED_MEDIA_TYPE, "Content-Type %.100s; this takes%s", type, req->route->types);
}

static int check_query(const struct http_request *req, struct err *err) {
    for (size_t i = 0; i < req->uri.query_count; i++) {
        char word[64];
        snprintf(word, sizeof word, " %.60s ", req->uri.query[i].name);
        if (!req->route->query || !strstr(req->route->query, word))
            return err_set(err, ERR_INVALID_MEMBER, "there is no query parameter '%.60s' here", req->uri.query[i].name);
    }
    return 0;
}

/* OPTIONS: what the path takes. */
static int answer_options(struct http_request *req, struct err *err) {
    const char *ignored[HTTP_PARAMS_MAX];
    unsigned allowed;
    (void)http__route_find(0, &req->uri, ignored, &allowed, err);
    if (!allowed) return -1;
    put_allow(req, allowed);
    req->res.status = 204;
    return 0;
}

int http__judge(struct http_request *req, const char *method_name, struct err *err) {
    struct http *http = req->http;
    unsigned allowed = 0;
    int method = method_of(method_name);
    req->res.close = true; /* until its body's end, and so the beginning of the next request, is beyond doubt */
    if (check_framing(req, err) != 0) return -1;
    req->res.close = false;
    if (http__uri_parse(req->raw_uri, &req->arena, &req->uri, err) != 0) return -1;
    if (method == 0) return answer_options(req, err);
    req->method = (enum http_method)(method < 0 ? 0 : method);
    const struct http_route *route = http__route_find(req->method, &req->uri, req->params, &allowed, err);
    if (!route && allowed) put_allow(req, allowed);
    if (!route) return -1;
    req->route = route;
    if (atomic_load(&http->stopping)) return err_set(err, ERR_OVERLOADED, "the server is stopping");
    if (http__conn_is_over(req->conn)) return err_set(err, ERR_OVERLOADED, "too many connections");
    if (http__auth_check(http->auth, req, err) != 0 || check_query(req, err) != 0 || check_body(req, err) != 0)
        return -1;
    if (atomic_load(&http->body_bytes) > BODIES_MAX_BYTES)
        return err_set(err, ERR_OVERLOADED, "the bodies of other requests fill the memory");
    return 1;
}

/* --- one request ---------------------------------------------------------------------------------------------------
 */

static bool has_body(const struct http_request *req) {
    const char *length = http__request_header(req, "Content-Length");
    return http__request_header(req, "Transfer-Encoding") || (length && strtoll(length, NULL, 10) > 0);
}

static enum MHD_Result send_answer(struct http_request *req) {
    http__conn_stage(req->conn, HTTP_STAGE_BUSY);
    return http__send(req);
}

/* A short body of a refused request is read to its end: a sender that is cut off in mid-body may never see why. */
static enum MHD_Result begin(struct http_request *req, const char *method) {
    const char *length = http__request_header(req, "Content-Length");
    struct err err;
    http__conn_stage(req->conn, HTTP_STAGE_BODY);
    int verdict = http__judge(req, method, &err);
    if (verdict > 0) {
        if (req->route->flags & HTTP_STREAMED) http__conn_allow(req->conn, INT64_MAX); /* but not silence */
        atomic_store(&req->phase, HTTP_RECEIVING);
        return MHD_YES;
    }
    if (verdict < 0) http__fail(req, &err);
    atomic_store(&req->phase, HTTP_REFUSED);
    if (!req->res.close && has_body(req) && (!length || strtoll(length, NULL, 10) <= (long long)DISCARD_MAX_BYTES))
        return MHD_YES;
    return send_answer(req);
}

/* In mid-body libmicrohttpd takes no answer: it is written past it. */
static enum MHD_Result break_off(struct http_request *req, const struct err *err) {
    http__conn_refuse(req->conn, err);
    return MHD_NO;
}

static enum MHD_Result receive(struct http_request *req, const char *bytes, size_t len) {
    struct http *http = req->http;
    struct err err;
    if (req->phase == HTTP_REFUSED) {
        req->discarded += len;
        if (req->discarded <= DISCARD_MAX_BYTES) return MHD_YES;
        err_set(&err, ERR_TOO_LARGE, "the request was refused, and its body goes on");
        return break_off(req, &err);
    }
    if (req->route->on_body) return req->route->on_body(req, bytes, len, &err) == 0 ? MHD_YES : break_off(req, &err);
    if (req->body.len + len > http->cfg.max_body_bytes) {
        err_set(&err, ERR_TOO_LARGE, "the body has more than %zu bytes", http->cfg.max_body_bytes);
        return break_off(req, &err);
    }
    buf_append(&req->body, bytes, len);
    atomic_fetch_add(&http->body_bytes, len);
    return MHD_YES;
}

/* The request is complete. */
static enum MHD_Result dispatch(struct http_request *req) {
    http__conn_stage(req->conn, HTTP_STAGE_BUSY);
    if (req->route->flags & HTTP_INLINE) {
        struct err err;
        if (req->route->handle(req, &err) < 0) http__fail(req, &err);
        return send_answer(req);
    }
    atomic_store(&req->phase, HTTP_PENDING);
    atomic_fetch_add(&req->http->suspended, 1);
    MHD_suspend_connection(req->mhd); /* before anybody can resume it */
    http__continue(req, req->route->handle);
    return MHD_YES;
}

static enum MHD_Result on_request(void *self, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *bytes, size_t *len, void **slot) {
    struct http_request *req = *slot;
    if (!req) return MHD_NO;
    if (*len > 0) {
        enum MHD_Result rc = receive(req, bytes, *len);
        *len = 0;
        return rc;
    }
    switch (atomic_load(&req->phase)) {
    case HTTP_NEW:
        return begin(req, method);
    case HTTP_RECEIVING:
        return dispatch(req);
    case HTTP_REFUSED:
    case HTTP_ANSWERED:
        return send_answer(req);
    case HTTP_PENDING:
        break;
    }
    return MHD_YES;
}

/* The first line is there: its target, as it came. */
static void *on_target(void *self, const char *uri, struct MHD_Connection *mhd) {
    struct http_request *req = http__request_new(self, mhd, uri);
    http__conn_stage(req->conn, HTTP_STAGE_HEADERS);
    return req;
}

static void on_completed(void *self, struct MHD_Connection *mhd, void **slot, enum MHD_RequestTerminationCode why) {
    struct http_request *req = *slot;
    if (!req) return;
    http__conn_stage(req->conn, HTTP_STAGE_IDLE);
    http__request_free(req);
    *slot = NULL;
}

/* We decode ourselves, once. */
static size_t leave_escaped(void *self, struct MHD_Connection *mhd, char *text) { return strlen(text); }

static void on_log(void *self, const char *fmt, va_list args) {
    char text[512];
    if (!log_enabled(LOG_LEVEL_DEBUG)) return;
    vsnprintf(text, sizeof text, fmt, args);
    text[strcspn(text, "\r\n")] = '\0';
    log_debug(HTTP_ROLE, "%s", text);
}

/* --- starting ------------------------------------------------------------------------------------------------------
 */

struct address {
    struct sockaddr_storage addr;
    socklen_t len;
    bool loopback;
};

/* "127.0.0.1:8080", "[::1]:8080", "localhost:8080". */
static int parse_listen(const char *listen, struct address *ret, struct err *err) {
    char host[256];
    const char *colon = strrchr(listen, ':');
    size_t len = colon ? (size_t)(colon - listen) : 0;
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM},
                    *found;
    bool bracketed = len > 1 && listen[0] == '[' && listen[len - 1] == ']';
    if (!colon || len == 0 || len >= sizeof host)
        return err_set(err, ERR_CONFIG, "http.listen '%s' is not of the form address:port", listen);
    memcpy(host, listen + bracketed, len - 2 * bracketed);
    host[len - 2 * bracketed] = '\0';
    if (strcmp(host, "localhost") == 0) strcpy(host, "127.0.0.1");
    int rc = getaddrinfo(host, colon + 1, &hints, &found);
    if (rc != 0) return err_set(err, ERR_CONFIG, "http.listen '%s': %s", listen, gai_strerror(rc));
    memcpy(&ret->addr, found->ai_addr, found->ai_addrlen);
    ret->len = found->ai_addrlen;
    freeaddrinfo(found);
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&ret->addr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&ret->addr;
    ret->loopback = ret->addr.ss_family == AF_INET ? ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET
                                                   : IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    return 0;
}

static int listen_on(struct http *http, struct address *address, struct err *err) {
    int one = 1, fd = socket(address->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    char host[64] = "", port[8] = "";
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&address->addr, address->len) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&address->addr, &address->len) != 0) {
        err_set_errno(err, ERR_CONFIG, "http.listen %s", http->cfg.listen);
        if (fd >= 0) close(fd);
        return -1;
    }
    getnameinfo((struct sockaddr *)&address->addr, address->len, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(http->url, sizeof http->url, strchr(host, ':') ? "%s://[%s]:%s" : "%s://%s:%s",
             *http->cfg.tls_cert ? "https" : "http", host, port);
    return fd;
}

static int read_pem(const char *name, const char *path, struct buf *out, struct err *err) {
    FILE *file = fopen(path, "re");
    char chunk[4096];
    size_t n;
    buf_puts(out, "");
    if (!file) return err_set_errno(err, ERR_CONFIG, "%s %s", name, path);
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0) buf_append(out, chunk, n);
    int rc = ferror(file) ? err_set_errno(err, ERR_CONFIG, "%s %s", name, path) : 0;
    fclose(file);
    return rc;
}

static int start_daemon(struct http *http, int fd, struct err *err) {
    const struct http_config *cfg = &http->cfg;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct buf cert = {0}, key = {0};
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, NULL}, {MHD_OPTION_HTTPS_MEM_KEY, 0, NULL}, {MHD_OPTION_END, 0, NULL}};
    int rc = -1;
    if (*cfg->tls_cert) {
        if (read_pem("http.tls_cert", cfg->tls_cert, &cert, err) != 0 ||
            read_pem("http.tls_key", cfg->tls_key, &key, err) != 0)
            goto out;
        flags |= MHD_USE_TLS;
        tls[0].ptr_value = cert.data;
        tls[1].ptr_value = key.data;
    } else {
        tls[0].option = MHD_OPTION_END;
    }
    http->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)CONNECTION_THREADS, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)cfg->max_connections + CONNECTION_SPARE, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENCE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, cfg->max_header_bytes, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL, MHD_OPTION_URI_LOG_CALLBACK, on_target, http,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_NOTIFY_CONNECTION, http__guard_notify, http->guard,
        MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (http->daemon)
        rc = 0;
    else
        err_set(err, ERR_CONFIG, "http.listen %s: the server did not start%s", cfg->listen,
                *cfg->tls_cert ? ": are http.tls_cert and http.tls_key a certificate and its key?" : "");
out:
    buf_done(&cert);
    buf_done(&key);
    return rc;
}

/* Each connection is a descriptor, and the usual limit is a thousand. */
static void raise_file_limit(const struct http_config *cfg) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)cfg->max_connections + CONNECTION_SPARE + FILES_SPARE;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        log_warn(HTTP_ROLE, "only %llu files may be open: fewer connections than http.max_connections",
                 (unsigned long long)limit.rlim_cur);
}

/* A folder that is not there is one that this process does not see: then there are no files here. */
static int open_roots(struct http *http, struct err *err) {
    const struct http_config *cfg = &http->cfg;
    if (*cfg->artifact_root && access(cfg->artifact_root, F_OK) == 0 &&
        artifact_root_open(cfg->artifact_root, &http->artifacts, err) != 0)
        return -1;
    if (*cfg->input_root && access(cfg->input_root, F_OK) == 0 &&
        artifact_root_open(cfg->input_root, &http->inputs, err) != 0)
        return -1;
    return 0;
}

/* What has to be done now and then, whatever Redis and Kafka do. */
static void *run_ticker(void *arg) {
    struct http *http = arg;
    int64_t uploads_at = 0;
    while (!atomic_load(&http->stopping)) {
        int64_t now = clock_mono_ms(&clock_system);
        http__guard_tick(http->guard);
        http__auth_tick(http->auth);
        if (now >= uploads_at) {
            http__uploads_collect(http);
            uploads_at = now + UPLOADS_MS;
        }
        http__pause_ms(TICK_MS);
    }
    return NULL;
}

static void free_parts(struct http *http) {
    http__auth_free(http->auth);
    http__guard_free(http->guard);
    http__metrics_free(http->metrics);
    artifact_root_free(http->artifacts);
    artifact_root_free(http->inputs);
    free(http);
}

int http_start(const struct http_config *cfg, struct http **ret, struct err *err) {
    struct http *http = mem_calloc(1, sizeof *http);
    struct address address = {0};
    int fd = -1;
    http->cfg = *cfg;
    http->guard = http__guard_new(http);
    http->metrics = http__metrics_new();
    if (!*cfg->tls_cert != !*cfg->tls_key) {
        err_set(err, ERR_CONFIG, "http.tls_cert and http.tls_key: one without the other");
        goto fail;
    }
    raise_file_limit(cfg);
    if (parse_listen(cfg->listen, &address, err) != 0) goto fail;
    http->loopback = address.loopback;
    if (http__auth_new(cfg, address.loopback, &http->auth, err) != 0 || open_roots(http, err) != 0 ||
        (fd = listen_on(http, &address, err)) < 0 || http__pool_new(http, &http->pool, err) != 0 ||
        http__publisher_new(http, &http->publisher, err) != 0 || http__waiter_new(http, &http->waiter, err) != 0 ||
        http__monitor_new(http, &http->monitor, err) != 0 || http__hub_new(http, &http->hub, err) != 0 ||
        start_daemon(http, fd, err) != 0)
        goto fail;
    http__thread(&http->ticker, run_ticker, http);
    *ret = http;
    return 0;
fail:
    if (fd >= 0) close(fd);
    http__hub_free(http->hub);
    http__monitor_stop(http->monitor);
    http__waiter_free(http->waiter);
    http__publisher_free(http->publisher);
    http__pool_stop(http->pool);
    free_parts(http);
    return -1;
}

const char *http_url(const struct http *http) { return http->url; }

/* In the order of the flow: no new requests; the streams end; those that wait for jobs go on, then those that wait for Kafka, then what
 * the pool still has; when no connection is suspended any more, libmicrohttpd may go. */
void http_stop(struct http *http) {
    if (!http) return;
    atomic_store(&http->stopping, true);
    int fd = MHD_quiesce_daemon(http->daemon);
    if (fd >= 0) close(fd);
    http__hub_stop(http->hub);
    http__waiter_stop(http->waiter);
    http__publisher_drain(http->publisher);
    int64_t deadline = clock_mono_ms(&clock_system) + STOP_MS;
    while ((atomic_load(&http->suspended) > 0 || http__guard_is_busy(http->guard)) &&
           clock_mono_ms(&clock_system) < deadline)
        http__pause_ms(2);
    pthread_join(http->ticker, NULL);
    http__monitor_stop(http->monitor);
    MHD_stop_daemon(http->daemon);
    http__pool_stop(http->pool);
    http__hub_free(http->hub);
    http__waiter_free(http->waiter);
    http__publisher_free(http->publisher);
    free_parts(http);
}
