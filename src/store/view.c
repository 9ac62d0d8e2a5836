/* The read side: records, documents, statistics. Plain commands, each bounded; nothing here takes part in a transition.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

/* --- one job ------------------------------------------------------------------------------------------------------ */

/* Fields "label:<name>", by name: the order in which Redis has them is by chance. A value may be empty. */
static struct job_label *labels_decode(const redisReply *hash, struct arena *arena, size_t *ret_count) {
    static const char prefix[] = "label:";
    size_t count = 0, done = 0;
    for (size_t i = 0; i + 1 < hash->elements; i += 2)
        count += strncmp(hash->element[i]->str, prefix, sizeof prefix - 1) == 0;
    *ret_count = count;
    if (count == 0) return NULL;
    struct job_label *labels = arena_alloc(arena, count * sizeof *labels);
    for (size_t i = 0; i + 1 < hash->elements; i += 2) {
        const redisReply *field = hash->element[i], *value = hash->element[i + 1];
        if (strncmp(field->str, prefix, sizeof prefix - 1) != 0) continue;
        const char *name = field->str + sizeof prefix - 1;
        size_t at = done++;
        for (; at > 0 && strcmp(labels[at - 1].name, name) > 0; at--) labels[at] = labels[at - 1];
        labels[at] = (struct job_label){arena_strdup(arena, name), arena_strndup(arena, value->str, value->len)};
    }
    return labels;
}

int store__record_decode(const redisReply *hash, const char *job_id, struct arena *arena, struct job_record *ret,
                         struct err *err) {
    const redisReply *state = store__member(hash, "state"), *progress = store__member(hash, "progress");
    int code = state ? job_state_from_name(state->str, state->len) : -1;
    if (code <= JOB_STATE_NONE || code >= JOB_STATE_COUNT)
        return err_set(err, ERR_STORE_CORRUPT, "job %s: its record has no valid state", job_id);
    *ret = (struct job_record){
        .job_id = arena_strdup(arena, job_id),
        .state = (enum job_state)code,
        .seq = store__int_member(hash, "seq"),
        .model = store__text_member(hash, "model", arena),
        .model_version = store__text_member(hash, "model_version", arena),
        .priority = (int)store__int_member(hash, "priority"),
        .attempt = (int)store__int_member(hash, "attempt"),
        .max_attempts = (int)store__int_member(hash, "max_attempts"),
        .crashes = (int)store__int_member(hash, "crashes"),
        .token = store__text_member(hash, "token", arena),
        .worker = store__text_member(hash, "worker", arena),
        .progress = progress ? strtod(progress->str, NULL) : 0,
        .progress_message = store__text_member(hash, "progress_message", arena),
        .cancel_requested = store__int_member(hash, "cancel_requested") != 0,
        .cancel_reason = store__text_member(hash, "cancel_reason", arena),
        .created_at = store__int_member(hash, "created_at"),
        .queued_at = store__int_member(hash, "queued_at"),
        .started_at = store__int_member(hash, "started_at"),
        .finished_at = store__int_member(hash, "finished_at"),
        .updated_at = store__int_member(hash, "updated_at"),
        .duration_ms = store__int_member(hash, "duration_ms"),
        .not_before = store__int_member(hash, "not_before"),
        .timeout_ms = store__int_member(hash, "timeout_ms"),
        .queue_timeout_ms = store__int_member(hash, "queue_timeout_ms"),
        .lease_until = store__int_member(hash, "lease_until"),
        .backoff_ms = store__int_member(hash, "backoff_ms"),
        .backoff_max_ms = store__int_member(hash, "backoff_max_ms"),
        .error_code = store__text_member(hash, "error_code", arena),
        .traceparent = store__text_member(hash, "traceparent", arena),
        .tenant = store__text_member(hash, "tenant", arena),
    };
    ret->labels = labels_decode(hash, arena, &ret->label_count);
    return 0;
}

int store_job_get(struct store *st, const char *job_id, struct arena *arena, struct job_record *ret, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "HGETALL");
    store__args_key(&args, st, arena_printf(&args.arena, "job:%s", job_id));
    int rc = store__ask(st, &args, REDIS_REPLY_ARRAY, &reply, err);
    if (rc == 0 && reply->elements == 0)
        *ret = (struct job_record){0};
    else if (rc == 0)
        rc = store__record_decode(reply, job_id, arena, ret, err);
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_job_doc(struct store *st, const char *what, const char *job_id, struct arena *arena, const char **ret,
                  size_t *ret_len, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "GET");
    store__args_key(&args, st, arena_printf(&args.arena, "%s:%s", what, job_id));
    int rc = store__command(st, &args, &reply, err);
    if (rc == 0) {
        *ret = reply->type == REDIS_REPLY_STRING ? arena_strndup(arena, reply->str, reply->len) : NULL;
        *ret_len = reply->type == REDIS_REPLY_STRING ? reply->len : 0;
    }
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

/* --- statistics --------------------------------------------------------------------------------------------------- */

static int count_of(struct store *st, const char *command, const char *key, int64_t *ret, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, command);
    store__args_key(&args, st, key);
    int rc = store__ask(st, &args, REDIS_REPLY_INTEGER, &reply, err);
    if (rc == 0) *ret = reply->integer;
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_stats_get(struct store *st, struct store_stats *ret, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    struct store_stats stats = {0};
    store__args_init(&args);
    int rc = 0;
    for (enum job_state state = JOB_STATE_QUEUED; state < JOB_STATE_COUNT && rc == 0; state++)
        rc = count_of(st, "ZCARD", arena_printf(&args.arena, "index:%s", job_state_name(state)), &stats.by_state[state],
                      err);
    if (rc == 0) rc = count_of(st, "XLEN", "outbox", &stats.outbox_entries, err);
    if (rc == 0) rc = count_of(st, "ZCARD", "timers", &stats.timers, err);
    if (rc != 0) goto out;
    store__args_str(&args, "HGETALL");
    store__args_key(&args, st, "meta");
    rc = store__ask(st, &args, REDIS_REPLY_ARRAY, &reply, err);
    if (rc != 0) goto out;
    stats.gseq = store__int_member(reply, "gseq");
    stats.store_epoch = store__int_member(reply, "store_epoch");
    *ret = stats;
out:
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

static int redis_time_ms(struct store *st, int64_t *ret, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "TIME");
    int rc = store__ask(st, &args, REDIS_REPLY_ARRAY, &reply, err);
    if (rc == 0 && reply->elements == 2)
        *ret = strtoll(reply->element[0]->str, NULL, 10) * 1000 + strtoll(reply->element[1]->str, NULL, 10) / 1000;
    else if (rc == 0)
        rc = store__bad_reply("TIME", err);
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_recent_get(struct store *st, int64_t window_ms, struct store_recent *ret, struct err *err) {
    struct store__batch batch = {0};
    struct store_recent recent = {0};
    char index[32];
    if (redis_time_ms(st, &recent.now_ms, err) != 0) return -1;
    for (enum job_state state = JOB_STATE_QUEUED; state < JOB_STATE_COUNT; state++) {
        snprintf(index, sizeof index, "index:%s", job_state_name(state));
        store__batch_key(&batch, st, "ZCOUNT", index);
        struct store__args *args = &batch.commands[batch.count - 1];
        store__args_int(args, recent.now_ms - window_ms);
        store__args_str(args, "+inf");
    }
    int rc = store__batch_send(&batch, st, err);
    for (size_t i = 0; rc == 0 && i < batch.count; i++) {
        const redisReply *reply = store__batch_reply(&batch, i, REDIS_REPLY_INTEGER);
        if (reply)
            recent.by_state[JOB_STATE_QUEUED + i] = reply->integer;
        else
            rc = store__bad_reply("ZCOUNT", err);
    }
    store__batch_done(&batch);
    if (rc == 0) *ret = recent;
    return rc;
}
