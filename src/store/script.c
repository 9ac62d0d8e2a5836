/* The scripts: their text, their loading, and calling one.
 *
 * A script's text is a generated prelude (store epoch, transition table, error envelopes, constants), then common.lua,
 * then its own file. Because the epoch is in the text, its SHA-1 belongs to one epoch: a Redis that was restarted has
 * forgotten it and answers NOSCRIPT; a process that slept through a recovery finds its scripts still cached, but
 * begin() in common.lua sees that another epoch rules and answers FENCED. Either way the caller is detached and must
 * attach again (store.c), which is where recovery stands. There is no fall-back to EVAL for these scripts: it would
 * step over that fence. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "penstock/store_policy.h"
#include "penstock/wire.h"
#include "store_internal.h"

/* How long after its run deadline a job whose worker still renews is left to that worker, which ends it by itself. */
#define RUN_GRACE_MS 30000

static const char *const names[SCRIPT_COUNT] = {"ingest", "claim", "renew", "finish", "sweep",
                                                "lost",   "trim",  "lease", "policy"};
static const char *const bodies[SCRIPT_COUNT] = {store__lua_ingest, store__lua_claim, store__lua_renew,
                                                 store__lua_finish, store__lua_sweep, store__lua_lost,
                                                 store__lua_trim,   store__lua_lease, store__lua_policy};

/* MAY[from][to], with '' for no record, from the one table in job.c. */
static void put_transitions(struct buf *out) {
    buf_puts(out, "local MAY = {");
    for (enum job_state from = JOB_STATE_NONE; from < JOB_STATE_COUNT; from++) {
        buf_printf(out, "['%s']={", from == JOB_STATE_NONE ? "" : job_state_name(from));
        for (size_t i = 0; i < job_transition_count; i++)
            if (job_transition_table[i].from == from)
                buf_printf(out, "%s=true,", job_state_name(job_transition_table[i].to));
        buf_puts(out, "},");
    }
    buf_puts(out, "}\n");
}

/* The envelopes of errors that arise inside scripts, in Lua's long brackets. */
static void put_errors(struct buf *out) {
    static const struct {
        enum err_code code;
        const char *message;
    } errors[] = {
        {ERR_JOB_CONFLICT, "a job of this id exists with another body"},
        {ERR_DRAINING, "the model is draining"},
        {ERR_TOO_LATE, "cancel: the job has already completed or failed"},
        {ERR_QUEUE_TIMEOUT, "the job waited longer than queue_timeout_ms"},
        {ERR_TIMEOUT, "the job ran longer than timeout_ms"},
        {ERR_WORKER_LOST, "the workers that ran this job died as often as jobs.max_crashes allows"},
    };
    buf_puts(out, "local ERRORS = {");
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        buf_printf(out, "%s=[==[", err_code_name(errors[i].code));
        wire_error_encode(errors[i].code, errors[i].message, err_code_retryable(errors[i].code), out);
        buf_puts(out, "]==],");
    }
    buf_puts(out, "}\n");
}

static void compose(const struct store *st, enum store__script script, struct buf *out) {
    buf_printf(out, "-- penstock %s\nlocal EPOCH = '%s'\n", names[script], st->epoch);
    buf_printf(out, "local TOMBSTONE_MS, MAX_CRASHES, RUN_GRACE_MS = %" PRId64 ", %d, %d\n", st->cfg.tombstone_ms,
               st->cfg.max_crashes, RUN_GRACE_MS);
    buf_puts(out, "local RETENTION_MS = {");
    for (enum job_state state = JOB_STATE_NONE; state < JOB_STATE_COUNT; state++)
        if (job_state_is_terminal(state))
            buf_printf(out, "%s=%" PRId64 ",", job_state_name(state), store_retention_ms(&st->cfg, state));
    buf_puts(out, "}\n");
    put_transitions(out);
    put_errors(out);
    buf_puts(out, store__lua_common);
    buf_puts(out, bodies[script]);
}

static int load_one(struct store *st, enum store__script script, struct buf *text, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    buf_reset(text);
    compose(st, script, text);
    store__args_init(&args);
    store__args_str(&args, "SCRIPT");
    store__args_str(&args, "LOAD");
    store__args_bytes(&args, text->data, text->len);
    int rc = store__command(st, &args, &reply, err);
    if (rc == 0 && (reply->type != REDIS_REPLY_STRING || reply->len != 40)) rc = store__bad_reply("SCRIPT LOAD", err);
    if (rc == 0) memcpy(st->sha[script], reply->str, 41);
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc == 0 ? 0 : err_wrap(err, "loading the %s script", names[script]);
}

int store__scripts_load(struct store *st, struct err *err) {
    struct buf text = {0};
    int rc = 0;
    for (enum store__script script = 0; script < SCRIPT_COUNT && rc == 0; script++)
        rc = load_one(st, script, &text, err);
    buf_done(&text);
    return rc;
}

int store__bad_reply(const char *what, struct err *err) {
    return err_set(err, ERR_STORE_CORRUPT, "redis %s: a reply that this program does not understand", what);
}

/* What an error reply means. Redis words them with a code in capitals first. */
static int from_error_reply(struct store *st, const char *what, const char *text, struct err *err) {
    static const char *const passing[] = {"LOADING",  "BUSY",    "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN",
                                          "READONLY", "MISCONF", "OOM",        "NOREPLICAS",  "UNKILLABLE"};
    static const char *const unfit[] = {"NOAUTH", "WRONGPASS", "NOPERM", "MOVED", "ASK", "CROSSSLOT"};
    if (strncmp(text, "NOSCRIPT", 8) == 0 || strncmp(text, "FENCED", 6) == 0) {
        st->attached = false;
        return err_set(err, ERR_STORE_FENCED, "redis %s: the store epoch has changed (%.200s)", what, text);
    }
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++)
        if (strncmp(text, passing[i], strlen(passing[i])) == 0)
            return err_set(err, ERR_STORE_UNAVAILABLE, "redis %s: %.300s", what, text);
    for (size_t i = 0; i < sizeof unfit / sizeof unfit[0]; i++)
        if (strncmp(text, unfit[i], strlen(unfit[i])) == 0)
            return err_set(err, ERR_STORE_UNFIT, "redis %s: %.300s", what, text);
    return err_set(err, ERR_STORE_CORRUPT, "redis %s: %.300s", what, text);
}

int store__error_reply(struct store *st, const char *what, const redisReply *reply, struct err *err) {
    return from_error_reply(st, what, reply->str, err);
}

static int send(struct store *st, const char *what, const struct store__args *args, redisReply **ret, struct err *err) {
    redisReply *reply;
    if (st->conn->call(st->conn, args, &reply, err) != 0) return -1;
    if (reply->type == REDIS_REPLY_ERROR) {
        from_error_reply(st, what, reply->str, err);
        freeReplyObject(reply);
        return -1;
    }
    *ret = reply;
    return 0;
}

int store__call_begin(struct store *st, enum store__script script, struct store__args *args, struct err *err) {
    store__args_init(args);
    if (!st->attached && store_attach(st, err) != 0) return -1;
    store__args_str(args, "EVALSHA");
    store__args_bytes(args, st->sha[script], 40);
    store__args_str(args, "1");
    store__args_key(args, st, "meta");
    return 0;
}

int store__call(struct store *st, const char *what, const struct store__args *args, redisReply **ret, struct err *err) {
    char full[48];
    snprintf(full, sizeof full, "EVALSHA %s", what);
    return send(st, full, args, ret, err);
}

int store__command(struct store *st, const struct store__args *args, redisReply **ret, struct err *err) {
    return send(st, args->argv[0], args, ret, err);
}
