/* The connection to Redis by hiredis: connect on first use, one command at a time, drop and reconnect after any
 * failure.
 *
 * Nothing is retried here. A call whose connection broke may or may not have happened; every script is safe to repeat,
 * and it is the role loop that repeats it. `generation` grows with each connection: attaching (store.c) relies on a
 * whole conversation having been with one Redis process, and a TCP connection does not outlive its process. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "store_internal.h"

struct redis {
    struct store__transport base; /* first: the vtable's self */
    redisContext *ctx;            /* NULL: not connected */
    char *host, *user, *password; /* host NULL: unix socket */
    char *path;
    struct store__tls *tls; /* NULL: in the clear */
    int port, db;
    int timeout_ms;
};

/* --- url -----------------------------------------------------------------------------------------------------------
 */

static int parse_int(const char *s, int min, int max, int *ret) {
    char *end;
    errno = 0;
    long n = strtol(s, &end, 10);
    if (errno || end == s || *end || n < min || n > max) return -1;
    *ret = (int)n;
    return 0;
}

/* Replaces "%40" by "@" and so on, in place: a URL cannot hold every character of a password as it is. */
static void percent_decode(char *s) {
    char *to = s;
    for (; *s; s++) {
        char hex[3] = "";
        bool coded = s[0] == '%' && isxdigit((unsigned char)s[1]) && isxdigit((unsigned char)s[2]);
        *to++ = coded ? (char)strtol(memcpy(hex, s + 1, 2), NULL, 16) : *s;
        if (coded) s += 2;
    }
    *to = '\0';
}

/* "user:password@" or ":password@" or "password@"; cuts it off and returns the rest. */
static char *take_credentials(struct redis *redis, char *s) {
    char *at = strrchr(s, '@');
    if (!at) return s;
    *at = '\0';
    char *colon = strchr(s, ':');
    if (colon) *colon = '\0';
    if (colon && s[0]) redis->user = mem_strdup(s);
    redis->password = mem_strdup(colon ? colon + 1 : s);
    if (redis->user) percent_decode(redis->user);
    percent_decode(redis->password);
    return at + 1;
}

static int parse_tcp(struct redis *redis, char *s) {
    char *rest = take_credentials(redis, s);
    char *slash = strchr(rest, '/');
    if (slash) *slash++ = '\0';
    if (slash && *slash && parse_int(slash, 0, INT_MAX, &redis->db) != 0) return -1;
    char *colon;
    if (rest[0] == '[') { /* an IPv6 address in brackets */
        char *close = strchr(rest, ']');
        if (!close || (close[1] && close[1] != ':')) return -1;
        *close = '\0';
        colon = close[1] == ':' ? close + 1 : NULL;
        rest++;
    } else {
        colon = strrchr(rest, ':');
    }
    if (colon) *colon++ = '\0';
    redis->port = 6379;
    if (colon && parse_int(colon, 1, 65535, &redis->port) != 0) return -1;
    redis->host = mem_strdup(*rest ? rest : "127.0.0.1");
    return 0;
}

static int parse_url(struct redis *redis, const char *url, bool *ret_tls, struct err *err) {
    char *copy = mem_strdup(url);
    int rc = -1;
    *ret_tls = strncmp(url, "rediss://", 9) == 0;
    if (*ret_tls || strncmp(url, "redis://", 8) == 0) {
        rc = parse_tcp(redis, copy + (*ret_tls ? 9 : 8));
    } else if (strncmp(url, "unix://", 7) == 0 && copy[7] == '/') {
        redis->path = mem_strdup(copy + 7);
        rc = 0;
    }
    free(copy);
    if (rc != 0)
        err_set(err, ERR_CONFIG,
                "store.url: not of the form redis://[user[:password]@]host[:port][/db], rediss://... or unix:///path");
    return rc;
}

/* --- connection ----------------------------------------------------------------------------------------------------
 */

static void disconnect(struct redis *redis) {
    if (redis->tls) store__tls_close(redis->tls);
    if (redis->ctx) redisFree(redis->ctx);
    redis->ctx = NULL;
}

/* Drops the connection and says why. */
static int broken(struct redis *redis, const char *what, const char *why, struct err *err) {
    bool asked = redis->tls && store__tls_lacks_cert(redis->tls);
    if (redis->host)
        err_set(err, ERR_STORE_UNAVAILABLE, "redis %s:%d: %s: %s%s", redis->host, redis->port, what, why,
                asked ? " (it asks for a certificate, and store.tls_cert_file is not set)" : "");
    else
        err_set(err, ERR_STORE_UNAVAILABLE, "redis %s: %s: %s", redis->path, what, why);
    disconnect(redis);
    return -1;
}

static int unavailable(struct redis *redis, const char *what, struct err *err) {
    bool late = redis->ctx && redis->ctx->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);
    char text[64];
    snprintf(text, sizeof text, "no answer within %d ms", redis->timeout_ms);
    const char *why = !redis->ctx             ? "out of memory"
                      : late                  ? text
                      : redis->ctx->errstr[0] ? redis->ctx->errstr
                                              : strerror(errno);
    return broken(redis, what, why, err);
}

static int send_all(struct redis *redis, const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n =
            redis->tls ? store__tls_send(redis->tls, bytes, len) : send(redis->ctx->fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* hiredis of this age knows nothing of TLS, but its parser takes bytes from anywhere. */
static int receive(struct redis *redis, bool no_wait) {
    if (!redis->tls) return redisBufferRead(redis->ctx);
    char bytes[16 * 1024];
    errno = 0;
    ssize_t n = store__tls_recv(redis->tls, bytes, sizeof bytes, no_wait);
    if (n < 0 && errno == EAGAIN && no_wait) return REDIS_OK;
    if (n > 0 && redisReaderFeed(redis->ctx->reader, bytes, (size_t)n) == REDIS_OK) return REDIS_OK;
    redis->ctx->err = n == 0 ? REDIS_ERR_EOF : REDIS_ERR_IO;
    snprintf(redis->ctx->errstr, sizeof redis->ctx->errstr, "%s",
             n == 0            ? "Server closed the connection"
             : errno == EPROTO ? store__tls_reason()
                               : strerror(errno));
    return REDIS_ERR;
}

static int next_reply(struct redis *redis, void **ret) {
    if (!redis->tls) return redisGetReply(redis->ctx, ret);
    *ret = NULL;
    while (redisGetReplyFromReader(redis->ctx, ret) == REDIS_OK) {
        if (*ret) return REDIS_OK;
        if (receive(redis, false) != REDIS_OK) return REDIS_ERR;
    }
    return REDIS_ERR;
}

/* One command, one reply. It is sent from here because hiredis would write() it: on a connection whose server has gone
 * that ends a program which does not ignore SIGPIPE. */
static int converse(struct redis *redis, int argc, const char **argv, const size_t *lens, redisReply **ret,
                    struct err *err) {
    char *command = NULL;
    errno = 0;
    int len = redisFormatCommandArgv(&command, argc, argv, lens);
    int rc = len < 0 ? -1 : send_all(redis, command, (size_t)len);
    bool hung_up = rc != 0 && errno == EPIPE; /* then it may have said why, which is still to be read */
    if (rc != 0 && !hung_up) broken(redis, argv[0], len < 0 ? "out of memory" : strerror(errno), err);
    redisFreeCommand(command);
    if (rc != 0 && !hung_up) return -1;
    void *reply = NULL;
    if (next_reply(redis, &reply) != REDIS_OK) return unavailable(redis, argv[0], err);
    *ret = reply;
    if ((*ret)->type != REDIS_REPLY_ERROR || strncmp((*ret)->str, "ERR max number of clients", 25) != 0) return 0;
    rc = broken(redis, argv[0], (*ret)->str, err); /* Redis says so in place of an answer, and hangs up */
    freeReplyObject(reply);
    return rc;
}

/* A command of the connection's set-up: an error reply ends the connection. */
static int set_up(struct redis *redis, int argc, const char **argv, struct err *err) {
    redisReply *reply;
    size_t lens[3];
    for (int i = 0; i < argc; i++) lens[i] = strlen(argv[i]);
    if (converse(redis, argc, argv, lens, &reply, err) != 0) return -1;
    int rc = 0;
    if (reply->type == REDIS_REPLY_ERROR) {
        rc = err_set(err, ERR_STORE_UNFIT, "redis %s: %.300s", argv[0], reply->str);
        disconnect(redis);
    }
    freeReplyObject(reply);
    return rc;
}

static int authenticate(struct redis *redis, struct err *err) {
    if (!redis->password) return 0;
    const char *with_user[] = {"AUTH", redis->user, redis->password}, *without[] = {"AUTH", redis->password};
    return redis->user ? set_up(redis, 3, with_user, err) : set_up(redis, 2, without, err);
}

static int select_db(struct redis *redis, struct err *err) {
    if (redis->db == 0) return 0;
    char db[16];
    snprintf(db, sizeof db, "%d", redis->db);
    const char *argv[] = {"SELECT", db};
    return set_up(redis, 2, argv, err);
}

static int connect_now(struct redis *redis, struct err *err) {
    if (redis->ctx && !redis->ctx->err) return 0;
    disconnect(redis);
    struct timeval tv = {.tv_sec = redis->timeout_ms / 1000, .tv_usec = redis->timeout_ms % 1000 * 1000};
    redis->ctx = redis->host ? redisConnectWithTimeout(redis->host, redis->port, tv)
                             : redisConnectUnixWithTimeout(redis->path, tv);
    if (!redis->ctx || redis->ctx->err) return unavailable(redis, "connect", err);
    if (redisSetTimeout(redis->ctx, tv) != REDIS_OK) return unavailable(redis, "set timeout", err);
    if (redis->host) redisEnableKeepAlive(redis->ctx); /* best effort: finds a peer that vanished */
    char why[200];
    if (redis->tls && store__tls_open(redis->tls, redis->ctx->fd, why, sizeof why) != 0)
        return broken(redis, "TLS", why, err);
    redis->base.generation++;
    if (authenticate(redis, err) != 0) return -1;
    return select_db(redis, err);
}

static int redis_call(struct store__transport *tr, const struct store__args *args, redisReply **ret, struct err *err) {
    struct redis *redis = (struct redis *)tr;
    if (connect_now(redis, err) != 0) return -1;
    return converse(redis, (int)args->count, args->argv, args->lens, ret, err);
}

static int redis_calls(struct store__transport *tr, const struct store__args *commands, size_t count, redisReply **ret,
                       struct err *err) {
    struct redis *redis = (struct redis *)tr;
    struct buf text = {0};
    if (connect_now(redis, err) != 0) return -1;
    for (size_t i = 0; i < count; i++) {
        char *command = NULL;
        int len = redisFormatCommandArgv(&command, (int)commands[i].count, commands[i].argv, commands[i].lens);
        BUG_ON(len < 0); /* out of memory */
        buf_append(&text, command, (size_t)len);
        redisFreeCommand(command);
    }
    int rc = text.len ? send_all(redis, text.data, text.len) : 0;
    buf_done(&text);
    if (rc != 0) return broken(redis, commands[0].argv[0], strerror(errno), err);
    for (size_t i = 0; i < count; i++) {
        void *reply = NULL;
        if (next_reply(redis, &reply) != REDIS_OK) return unavailable(redis, commands[i].argv[0], err);
        ret[i] = reply;
    }
    return 0;
}

static int redis_fd(struct store__transport *tr) {
    struct redis *redis = (struct redis *)tr;
    return redis->ctx && !redis->ctx->err ? redis->ctx->fd : -1;
}

/* Never blocks: hiredis marks a context as broken after a timeout, so the socket is only read when it has something. Of
 * what TLS has taken from it already the caller's poll would learn nothing: that is read to its end. */
static int redis_next(struct store__transport *tr, redisReply **ret, struct err *err) {
    struct redis *redis = (struct redis *)tr;
    if (redis_fd(tr) < 0) return err_set(err, ERR_STORE_UNAVAILABLE, "redis: not connected");
    void *reply = NULL;
    if (redisGetReplyFromReader(redis->ctx, &reply) != REDIS_OK) return unavailable(redis, "read", err);
    struct pollfd pfd = {.fd = redis->ctx->fd, .events = POLLIN};
    bool readable = !reply && poll(&pfd, 1, 0) == 1;
    while (!reply && (readable || (redis->tls && store__tls_pending(redis->tls)))) {
        readable = false;
        if (receive(redis, true) != REDIS_OK) return unavailable(redis, "read", err);
        if (redisGetReplyFromReader(redis->ctx, &reply) != REDIS_OK) return unavailable(redis, "read", err);
    }
    *ret = reply;
    return 0;
}

static void redis_free(struct store__transport *tr) {
    struct redis *redis = (struct redis *)tr;
    disconnect(redis);
    store__tls_free(redis->tls);
    free(redis->host);
    free(redis->user);
    free(redis->password);
    free(redis->path);
    free(redis);
}

static int configure(struct redis *redis, const struct store_config *cfg, struct err *err) {
    bool tls;
    if (parse_url(redis, cfg->url, &tls, err) != 0) return -1;
    if (store__is_set(cfg->password)) {
        free(redis->password);
        redis->password = mem_strdup(cfg->password);
    }
    if (!tls &&
        (store__is_set(cfg->tls_ca_file) || store__is_set(cfg->tls_cert_file) || store__is_set(cfg->tls_key_file)))
        return err_set(err, ERR_CONFIG, "store.tls_*_file is set, but store.url does not begin with rediss://");
    if (tls) redis->tls = store__tls_new(cfg, redis->host, err);
    return !tls || redis->tls ? 0 : -1;
}

struct store__transport *store__redis_new(const struct store_config *cfg, struct err *err) {
    struct redis *redis = mem_calloc(1, sizeof *redis);
    redis->base = (struct store__transport){
        .call = redis_call, .calls = redis_calls, .fd = redis_fd, .next = redis_next, .free = redis_free};
    redis->timeout_ms = cfg->timeout_ms;
    if (configure(redis, cfg, err) != 0) {
        redis_free(&redis->base);
        return NULL;
    }
    return &redis->base;
}
