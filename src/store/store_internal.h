/* Inside the store: the transport to Redis, the scripts, and how a call is put together. */
#ifndef PENSTOCK_STORE_INTERNAL_H
#define PENSTOCK_STORE_INTERNAL_H

#include <hiredis/hiredis.h>

#include "penstock/store.h"
#include "penstock/store_outbox.h"
#include "penstock/store_policy.h"
#include "penstock/store_view.h"
#include "penstock/store_watch.h"

/* Script texts, generated from lua/ by cmake/EmbedText.cmake. */
extern const char store__lua_common[], store__lua_ingest[], store__lua_claim[], store__lua_renew[], store__lua_finish[],
    store__lua_sweep[], store__lua_lost[], store__lua_trim[], store__lua_lease[], store__lua_policy[],
    store__lua_recover[], store__lua_rights[];

enum store__script {
    SCRIPT_INGEST,
    SCRIPT_CLAIM,
    SCRIPT_RENEW,
    SCRIPT_FINISH,
    SCRIPT_SWEEP,
    SCRIPT_LOST,
    SCRIPT_TRIM,
    SCRIPT_LEASE,
    SCRIPT_POLICY,
    SCRIPT_COUNT
};

/* A growing list of command arguments. Bytes are borrowed; numbers are printed into the arena. */
struct store__args {
    struct arena arena;
    const char **argv;
    size_t *lens;
    size_t count, cap;
};
void store__args_init(struct store__args *args);
void store__args_done(struct store__args *args);
void store__args_bytes(struct store__args *args, const char *bytes, size_t len);
void store__args_str(struct store__args *args, const char *s); /* NULL is "" */
void store__args_int(struct store__args *args, int64_t n);
void store__args_key(struct store__args *args, const struct store *st, const char *rest); /* prefix + rest */

/* How bytes reach Redis: hiredis in production, an embedded interpreter in a simulation. `call` sends one command and
 * returns its reply, error replies included (Owns: caller, freeReplyObject); -1 only when the connection failed.
 * `generation` counts connections: as long as it stays the same, the same Redis process answers. */
struct store__transport {
    int (*call)(struct store__transport *tr, const struct store__args *args, redisReply **ret, struct err *err);
    /* Many commands in one round trip: all replies, or -1. A command that begins with MULTI and ends with EXEC is
     * a transaction. */
    int (*calls)(struct store__transport *tr, const struct store__args *commands, size_t count, redisReply **ret,
                 struct err *err);
    int (*fd)(struct store__transport *tr); /* of the connection, or -1 */
    int (*next)(struct store__transport *tr, redisReply **ret,
                struct err *err); /* a pushed message; *ret NULL: none now */
    void (*free)(struct store__transport *tr);
    uint64_t generation;
};
static inline bool store__is_set(const char *s) { return s && *s; }

/* Takes the URL, password, files and timeout of `cfg`; keeps none of its strings. Connects on first use. */
struct store__transport *store__redis_new(const struct store_config *cfg, struct err *err);

/* --- tls.c ---------------------------------------------------------------------------------------------------------
 */

struct store__tls;
/* NULL with ERR_CONFIG for files that cannot be used. `host` is what the server's certificate has to be for. */
struct store__tls *store__tls_new(const struct store_config *cfg, const char *host, struct err *err);
void store__tls_free(struct store__tls *tls);
/* On a connected, blocking socket with time-outs set; not owned. -1 with the reason in `why`. */
int store__tls_open(struct store__tls *tls, int fd, char *why, size_t why_size) MUSTCHECK;
void store__tls_close(struct store__tls *tls);
/* As send(2) and recv(2), errno included: EAGAIN for "not within the time-out", or with no_wait "nothing now";
 * EPROTO for an alert or garbage. */
ssize_t store__tls_send(struct store__tls *tls, const char *bytes, size_t len);
ssize_t store__tls_recv(struct store__tls *tls, char *bytes, size_t size, bool no_wait);
bool store__tls_lacks_cert(const struct store__tls *tls); /* the server asked for a certificate, and there is none */
const char *store__tls_reason(void);                   /* OpenSSL's own words about what failed last on this thread */
bool store__tls_pending(const struct store__tls *tls); /* received and not yet read: the socket does not show it */

struct store {
    struct store_config cfg; /* strings owned */
    struct store__transport *conn;
    struct store__transport *sub; /* for pushed messages; NULL until subscribed */
    bool attached;
    char epoch[24];
    char sha[SCRIPT_COUNT][41];
};
/* A store on a transport of the caller's: for simulations. Takes `conn`. */
struct store *store__new(const struct store_config *cfg, struct store__transport *conn);

/* The value of "name:value\r\n" in INFO's answer, cut to `size`; false: it has no such line. */
bool store__info_field(const char *info, const char *name, char *ret, size_t size);

/* script.c */
int store__scripts_load(struct store *st, struct err *err) MUSTCHECK; /* for st->epoch */

/* Starts the arguments of a call of `script`: EVALSHA sha 1 <prefix>meta. Attaches first if need be. */
int store__call_begin(struct store *st, enum store__script script, struct store__args *args, struct err *err) MUSTCHECK;
/* Sends it. NOSCRIPT and FENCED become ERR_STORE_FENCED and detach. Owns: caller frees the reply. */
int store__call(struct store *st, const char *what, const struct store__args *args, redisReply **ret,
                struct err *err) MUSTCHECK;
/* A plain command; an error reply becomes an error. */
int store__command(struct store *st, const struct store__args *args, redisReply **ret, struct err *err) MUSTCHECK;
/* A reply of the wrong shape means that the script and this code disagree. */
int store__bad_reply(const char *what, struct err *err);

/* What an error reply means, as an error. Returns -1. */
int store__error_reply(struct store *st, const char *what, const redisReply *reply, struct err *err);

/* reply.c: a plain command whose reply must be of `type`. */
int store__ask(struct store *st, const struct store__args *args, int type, redisReply **ret, struct err *err) MUSTCHECK;
/* Several plain commands in one round trip. {0} is an empty one. */
struct store__batch {
    struct store__args *commands;
    redisReply **replies; /* after store__batch_send */
    size_t count, cap;
};
struct store__args *store__batch_add(struct store__batch *batch); /* valid until the next one is added */
void store__batch_key(struct store__batch *batch, const struct store *st, const char *command, const char *key);
int store__batch_send(struct store__batch *batch, struct store *st, struct err *err) MUSTCHECK;
const redisReply *store__batch_reply(const struct store__batch *batch, size_t index, int type); /* NULL: another type */
void store__batch_done(struct store__batch *batch);
/* Members of a HGETALL reply; NULL or 0 where there is none. */
const redisReply *store__member(const redisReply *hash, const char *name);
const char *store__text_member(const redisReply *hash, const char *name, struct arena *arena);
int64_t store__int_member(const redisReply *hash, const char *name);

/* view.c: the HGETALL reply of a job's record. */
int store__record_decode(const redisReply *hash, const char *job_id, struct arena *arena, struct job_record *ret,
                         struct err *err) MUSTCHECK;

/* claim.c */
void store__claim_args(struct store__args *args, const struct store_claim *want);
int store__claim_reply(const redisReply *rows, struct arena *arena, struct store_claims *ret,
                       struct err *err) MUSTCHECK;

/* outbox.c: "seq SEP from SEP ..." as emit() in common.lua writes it. */
int store__event_decode(const char *job_id, size_t id_len, const char *bytes, size_t len, struct arena *arena,
                        struct job_event *ret, struct err *err) MUSTCHECK;

#endif
