/* Connections: how many, and for how long each may take. libmicrohttpd knows one limit of time, for silence; whoever
 * sends a byte now and then holds a connection for ever. So each connection has a stage and since when, and what has
 * been in one for too long is ended. A connection that owes us a request is told so (408) by bytes that we write
 * ourselves, since libmicrohttpd answers only requests; that is safe because nothing else is being sent then, and done
 * on plain connections only: TLS is libmicrohttpd's.
 *
 * The lock is held while a connection is ended and while libmicrohttpd takes one off the list, so that no descriptor is
 * touched that has become another's. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "http_internal.h"
#include "penstock/clock.h"

struct http_conn {
    struct http_guard *guard;
    int fd;
    unsigned char peer[16]; /* an IPv4 address in its first 4 bytes */
    bool over, told;
    _Atomic enum http_stage stage;
    _Atomic int64_t since_ms, allowed_ms;
    struct http_conn *prev, *next;
};
struct http_guard {
    struct http *http;
    pthread_mutex_t lock;
    struct http_conn list; /* a ring */
    int count;
};

struct http_guard *http__guard_new(struct http *http) {
    struct http_guard *guard = mem_calloc(1, sizeof *guard);
    guard->http = http;
    guard->list.prev = guard->list.next = &guard->list;
    pthread_mutex_init(&guard->lock, NULL);
    return guard;
}

void http__guard_free(struct http_guard *guard) {
    if (!guard) return;
    pthread_mutex_destroy(&guard->lock);
    free(guard);
}

/* --- coming and going ----------------------------------------------------------------------------------------------
 */

static void read_peer(struct http_conn *conn, struct MHD_Connection *mhd) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *addr = info ? info->client_addr : NULL;
    if (addr && addr->sa_family == AF_INET)
        memcpy(conn->peer, &((const struct sockaddr_in *)addr)->sin_addr, 4);
    else if (addr && addr->sa_family == AF_INET6)
        memcpy(conn->peer, &((const struct sockaddr_in6 *)addr)->sin6_addr, 16);
}

/* Under the lock. */
static bool is_over(const struct http_guard *guard, const struct http_conn *conn) {
    const struct http_config *cfg = &guard->http->cfg;
    int same = 0;
    if (guard->count > cfg->max_connections) return true;
    for (const struct http_conn *c = guard->list.next; c != &guard->list; c = c->next)
        same += memcmp(c->peer, conn->peer, sizeof c->peer) == 0;
    return same > cfg->max_connections_per_ip;
}

static void add(struct http_guard *guard, struct MHD_Connection *mhd, void **slot) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_conn *conn = mem_calloc(1, sizeof *conn);
    conn->guard = guard;
    conn->fd = info ? info->connect_fd : -1;
    read_peer(conn, mhd);
    http__conn_stage(conn, HTTP_STAGE_NEW);
    pthread_mutex_lock(&guard->lock);
    conn->prev = guard->list.prev;
    conn->next = &guard->list;
    conn->prev->next = conn->next->prev = conn;
    guard->count++;
    conn->over = is_over(guard, conn);
    pthread_mutex_unlock(&guard->lock);
    *slot = conn;
}

void http__guard_notify(void *self, struct MHD_Connection *mhd, void **slot, enum MHD_ConnectionNotificationCode code) {
    struct http_guard *guard = self;
    struct http_conn *conn = *slot;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        add(guard, mhd, slot);
        return;
    }
    if (!conn) return;
    pthread_mutex_lock(&guard->lock);
    conn->prev->next = conn->next;
    conn->next->prev = conn->prev;
    guard->count--;
    pthread_mutex_unlock(&guard->lock);
    free(conn);
    *slot = NULL;
}

bool http__conn_is_over(const struct http_conn *conn) { return conn && conn->over; }

/* --- time ----------------------------------------------------------------------------------------------------------
 */

static int64_t allowed_ms(const struct http_config *cfg, enum http_stage stage) {
    switch (stage) {
    case HTTP_STAGE_NEW:
    case HTTP_STAGE_HEADERS:
        return cfg->header_timeout_ms;
    case HTTP_STAGE_BODY:
        return cfg->body_timeout_ms;
    case HTTP_STAGE_IDLE:
        return cfg->idle_timeout_ms;
    case HTTP_STAGE_BUSY:
        break;
    }
    return INT64_MAX; /* it is we who are slow */
}

void http__conn_stage(struct http_conn *conn, enum http_stage stage) {
    if (!conn) return;
    atomic_store(&conn->stage, stage);
    atomic_store(&conn->allowed_ms, allowed_ms(&conn->guard->http->cfg, stage));
    atomic_store(&conn->since_ms, clock_mono_ms(&clock_system));
}

void http__conn_allow(struct http_conn *conn, int64_t ms) {
    if (conn) atomic_store(&conn->allowed_ms, ms);
}

/* Under the lock, or on the connection's own thread. */
static void end_with(struct http_conn *conn, const struct err *err) {
    if (conn->told || conn->fd < 0) return;
    conn->told = true;
    if (err && !*conn->guard->http->cfg.tls_cert) {
        struct buf body = {0}, out = {0};
        int status = err_code_status(err->code);
        wire_error_encode(err->code, err->msg, err_code_retryable(err->code), &body);
        buf_printf(&out,
                   "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n"
                   "X-Content-Type-Options: nosniff\r\n\r\n%s",
                   status, MHD_get_reason_phrase_for((unsigned)status), body.len, body.data);
        (void)!send(conn->fd, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        buf_done(&body);
        buf_done(&out);
    }
    shutdown(conn->fd, SHUT_RDWR);
}

void http__conn_refuse(struct http_conn *conn, const struct err *err) {
    if (!conn) return;
    pthread_mutex_lock(&conn->guard->lock);
    end_with(conn, err);
    pthread_mutex_unlock(&conn->guard->lock);
}

bool http__guard_is_busy(struct http_guard *guard) {
    bool busy = false;
    pthread_mutex_lock(&guard->lock);
    for (struct http_conn *conn = guard->list.next; conn != &guard->list; conn = conn->next)
        busy |= atomic_load(&conn->stage) == HTTP_STAGE_BUSY;
    pthread_mutex_unlock(&guard->lock);
    return busy;
}

/* The client has closed with its body incomplete, and nothing of it is left to read. libmicrohttpd, whose epoll is
 * edge-triggered, does not hear of an end that came together with the last bytes. */
static bool has_left(const struct http_conn *conn) {
    char byte;
    return conn->fd >= 0 && !conn->told && recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void http__guard_tick(struct http_guard *guard) {
    int64_t now = clock_mono_ms(&clock_system);
    struct err late;
    err_set(&late, ERR_REQUEST_TIMEOUT, "the request did not arrive in time");
    pthread_mutex_lock(&guard->lock);
    for (struct http_conn *conn = guard->list.next; conn != &guard->list; conn = conn->next) {
        enum http_stage stage = atomic_load(&conn->stage);
        int64_t since = atomic_load(&conn->since_ms), allowed = atomic_load(&conn->allowed_ms);
        bool left = stage == HTTP_STAGE_BODY && has_left(conn);
        if (stage == HTTP_STAGE_BUSY || (now - since <= allowed && !left)) continue;
        end_with(conn, left || stage == HTTP_STAGE_IDLE ? NULL : &late);
    }
    pthread_mutex_unlock(&guard->lock);
}
