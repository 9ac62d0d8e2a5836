/* The outbox: a Redis stream of batches of events, appended by the scripts in the same step as the transitions, read
 * and trimmed by the relay. An entry's id is "<gseq>-0", gseq being the number of events ever emitted when it was
 * written. */
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

/* --- one event ---------------------------------------------------------------------------------------------------- */

#define SEP '\x1f' /* the scripts' '\31', which Lua reads as decimal */

struct cursor {
    const char *at, *end;
    bool broken;
};

/* The next scalar, or NULL if it is empty. */
static const char *take_text(struct cursor *cur, struct arena *arena) {
    const char *sep = cur->broken ? NULL : memchr(cur->at, SEP, (size_t)(cur->end - cur->at));
    if (!sep) {
        cur->broken = true;
        return NULL;
    }
    const char *text = sep > cur->at ? arena_strndup(arena, cur->at, (size_t)(sep - cur->at)) : NULL;
    cur->at = sep + 1;
    return text;
}

static int64_t take_int(struct cursor *cur, struct arena *arena) {
    const char *text = take_text(cur, arena);
    return text ? strtoll(text, NULL, 10) : 0;
}

static const char *take_bytes(struct cursor *cur, int64_t len, struct arena *arena) {
    if (cur->broken || len < 0 || len > cur->end - cur->at) {
        cur->broken = true;
        return NULL;
    }
    const char *bytes = arena_strndup(arena, cur->at, (size_t)len);
    cur->at += len;
    return bytes;
}

static enum job_state take_state(struct cursor *cur, struct arena *arena) {
    const char *name = take_text(cur, arena);
    int state = name ? job_state_from_name(name, strlen(name)) : JOB_STATE_NONE;
    if (state < 0) cur->broken = true;
    return state < 0 ? JOB_STATE_NONE : (enum job_state)state;
}

int store__event_decode(const char *job_id, size_t id_len, const char *bytes, size_t len, struct arena *arena,
                        struct job_event *ret, struct err *err) {
    struct cursor cur = {bytes, bytes + len, false};
    struct job_event ev = {.job_id = id_len ? arena_strndup(arena, job_id, id_len) : NULL};
    ev.seq = take_int(&cur, arena);
    ev.from = take_state(&cur, arena);
    ev.to = take_state(&cur, arena);
    ev.at = take_int(&cur, arena);
    ev.attempt = (int)take_int(&cur, arena);
    ev.max_attempts = (int)take_int(&cur, arena);
    ev.crashes = (int)take_int(&cur, arena);
    ev.priority = (int)take_int(&cur, arena);
    ev.model = take_text(&cur, arena);
    ev.model_version = take_text(&cur, arena);
    ev.worker = take_text(&cur, arena);
    ev.token = take_text(&cur, arena);
    ev.reason = take_text(&cur, arena);
    ev.traceparent = take_text(&cur, arena);
    ev.not_before = take_int(&cur, arena);
    ev.timeout_ms = take_int(&cur, arena);
    ev.queue_timeout_ms = take_int(&cur, arena);
    const char *progress = take_text(&cur, arena);
    ev.progress = progress ? strtod(progress, NULL) : 0;
    ev.source.topic = take_text(&cur, arena);
    ev.source.partition = (int32_t)take_int(&cur, arena);
    ev.source.offset = take_int(&cur, arena);
    int64_t doc_len = take_int(&cur, arena), key_len = take_int(&cur, arena);
    ev.raw_size = (size_t)take_int(&cur, arena);
    ev.doc = take_bytes(&cur, doc_len, arena);
    ev.doc_len = (size_t)doc_len;
    if (doc_len == 0) ev.doc = NULL;
    if (key_len >= 0) {
        ev.key = take_bytes(&cur, key_len, arena);
        ev.key_len = (size_t)key_len;
    }
    if (!cur.broken && ev.to == JOB_STATE_REJECTED) {
        ev.raw_len = (size_t)(cur.end - cur.at);
        ev.raw = take_bytes(&cur, cur.end - cur.at, arena);
    }
    if (cur.broken) return err_set(err, ERR_STORE_CORRUPT, "outbox: an event that this program does not understand");
    *ret = ev;
    return 0;
}

/* --- the stream --------------------------------------------------------------------------------------------------- */

/* [id, [job_id, event, job_id, event ...]] */
static int entry_decode(const redisReply *row, struct arena *arena, struct store_outbox_entry *ret, struct err *err) {
    if (row->type != REDIS_REPLY_ARRAY || row->elements != 2 || row->element[0]->type != REDIS_REPLY_STRING ||
        row->element[1]->type != REDIS_REPLY_ARRAY || row->element[1]->elements % 2 != 0)
        return store__bad_reply("XREAD outbox", err);
    const redisReply *pairs = row->element[1];
    ret->id = arena_strndup(arena, row->element[0]->str, row->element[0]->len);
    ret->count = pairs->elements / 2;
    ret->events = arena_alloc(arena, ret->count * sizeof *ret->events);
    for (size_t i = 0; i < ret->count; i++) {
        const redisReply *id = pairs->element[2 * i], *event = pairs->element[2 * i + 1];
        if (store__event_decode(id->str, id->len, event->str, event->len, arena, &ret->events[i], err) != 0) return -1;
    }
    return 0;
}

/* XREAD answers nil, or [[stream, entries]]. */
static int entries_decode(const redisReply *reply, struct arena *arena, struct store_outbox_entry **ret,
                          size_t *ret_count, struct err *err) {
    *ret = NULL;
    *ret_count = 0;
    if (reply->type == REDIS_REPLY_NIL) return 0;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 || reply->element[0]->elements != 2)
        return store__bad_reply("XREAD outbox", err);
    const redisReply *rows = reply->element[0]->element[1];
    struct store_outbox_entry *entries = arena_alloc(arena, (rows->elements + 1) * sizeof *entries);
    for (size_t i = 0; i < rows->elements; i++)
        if (entry_decode(rows->element[i], arena, &entries[i], err) != 0) return -1;
    *ret = entries;
    *ret_count = rows->elements;
    return 0;
}

int store_outbox_read(struct store *st, const char *after, size_t max, int wait_ms, struct arena *arena,
                      struct store_outbox_entry **ret, size_t *ret_count, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "XREAD");
    store__args_str(&args, "COUNT");
    store__args_int(&args, (int64_t)max);
    /* An answer that takes as long as the connection's timeout is an error there, and Redis ends a wait up to 100 ms
     * late. (BLOCK 0 would wait for ever.) */
    int longest_ms = st->cfg.timeout_ms / 2;
    if (wait_ms > longest_ms) wait_ms = longest_ms;
    if (wait_ms > 0) {
        store__args_str(&args, "BLOCK");
        store__args_int(&args, wait_ms);
    }
    store__args_str(&args, "STREAMS");
    store__args_key(&args, st, "outbox");
    store__args_str(&args, after[0] ? after : "0");
    int rc = store__command(st, &args, &reply, err);
    if (rc == 0) rc = entries_decode(reply, arena, ret, ret_count, err);
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_outbox_trim(struct store *st, const char *id, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    int rc = store__call_begin(st, SCRIPT_TRIM, &args, err);
    if (rc != 0) goto out;
    store__args_bytes(&args, id, strcspn(id, "-"));
    rc = store__call(st, "trim", &args, &reply, err);
out:
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_relay_lease(struct store *st, const char *relay, int64_t lease_ms, bool *ret_held, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    int rc = store__call_begin(st, SCRIPT_LEASE, &args, err);
    if (rc != 0) goto out;
    store__args_str(&args, "relay");
    store__args_str(&args, relay);
    store__args_int(&args, lease_ms);
    rc = store__call(st, "lease", &args, &reply, err);
    if (rc == 0) *ret_held = reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
out:
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}
