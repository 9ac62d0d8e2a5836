/* The queue view: what waits and runs of each model, and what holds it back. Two round trips (three with
 * ageing), whatever the depth. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

#define STRICT_STEP INT64_C(281474976710656) /* as common.lua has it: from one priority to the next */
#define PRIORITIES  (JOB_PRIORITY_MAX + 1)

struct queues {
    struct arena *arena;
    struct store_queue *list;
    size_t count, cap;
};

static struct store_queue *queue_of(struct queues *queues, const char *model) {
    size_t at = 0;
    while (at < queues->count && strcmp(queues->list[at].model, model) < 0) at++;
    if (at < queues->count && strcmp(queues->list[at].model, model) == 0) return &queues->list[at];
    if (queues->count == queues->cap) {
        struct store_queue *more = arena_alloc(queues->arena, (2 * queues->cap + 8) * sizeof *more);
        if (queues->count) memcpy(more, queues->list, queues->count * sizeof *more);
        queues->list = more;
        queues->cap = 2 * queues->cap + 8;
    }
    memmove(&queues->list[at + 1], &queues->list[at], (queues->count++ - at) * sizeof *queues->list);
    queues->list[at] = (struct store_queue){.model = arena_strdup(queues->arena, model)};
    return &queues->list[at];
}

/* "queued:m" with prefix "queued:": "m". */
static const char *after(const redisReply *field, const char *prefix) {
    size_t len = strlen(prefix);
    return field->len > len && strncmp(field->str, prefix, len) == 0 ? field->str + len : NULL;
}

static enum store_mode mode_of(const redisReply *value) {
    return strcmp(value->str, "paused") == 0     ? STORE_MODE_PAUSED
           : strcmp(value->str, "draining") == 0 ? STORE_MODE_DRAINING
                                                 : STORE_MODE_OPEN;
}

static void see_counts(struct queues *queues, const redisReply *counts) {
    for (size_t i = 0; i + 1 < counts->elements; i += 2) {
        const char *model;
        int64_t count = strtoll(counts->element[i + 1]->str, NULL, 10);
        if ((model = after(counts->element[i], "queued:")))
            queue_of(queues, model)->queued = count;
        else if ((model = after(counts->element[i], "running:")))
            queue_of(queues, model)->running = count;
    }
}

static void see_policy(struct queues *queues, const redisReply *policy, enum store_mode *ret_all) {
    for (size_t i = 0; i + 1 < policy->elements; i += 2) {
        const redisReply *value = policy->element[i + 1];
        const char *model;
        if ((model = after(policy->element[i], "model:")))
            queue_of(queues, model)->max_running = strtoll(value->str, NULL, 10);
        else if (strcmp(policy->element[i]->str, "mode:*") == 0)
            *ret_all = mode_of(value);
        else if ((model = after(policy->element[i], "mode:")))
            queue_of(queues, model)->mode = mode_of(value);
        else if ((model = after(policy->element[i], "reason:")) && strcmp(model, "*") != 0)
            queue_of(queues, model)->mode_reason = arena_strndup(queues->arena, value->str, value->len);
    }
}

/* How many are ready, and the first of each priority: a score is the microsecond at which the job became ready and a
 * step for each priority below the highest, so those of a priority end at the newest such microsecond and as many
 * steps. With ageing the steps are so small that priorities overlap; then the first of all is asked for, which is at
 * most nine steps younger than the oldest. */
static void ask_depth(struct store__batch *batch, const struct store *st, const char *model, int64_t bands,
                      int64_t newest_us) {
    char key[sizeof "ready:" + JOB_MODEL_MAX];
    snprintf(key, sizeof key, "ready:%s", model);
    store__batch_key(batch, st, "ZCARD", key);
    for (int64_t band = 0; band < bands; band++) {
        store__batch_key(batch, st, "ZRANGE", key);
        struct store__args *args = &batch->commands[batch->count - 1];
        int64_t last = newest_us + band * STRICT_STEP;
        store__args_str(args, bands > 1 ? arena_printf(&args->arena, "(%" PRId64, last - STRICT_STEP) : "-inf");
        store__args_str(args, bands > 1 ? arena_printf(&args->arena, "%" PRId64, last) : "+inf");
        store__args_str(args, "BYSCORE");
        store__args_str(args, "LIMIT");
        store__args_int(args, 0);
        store__args_int(args, 1);
        store__args_str(args, "WITHSCORES");
    }
}

static int read_depth(const struct store__batch *batch, size_t at, int64_t bands, struct queues *queues,
                      struct store_queue *queue, const char **ret_first, struct err *err) {
    const redisReply *ready = store__batch_reply(batch, at, REDIS_REPLY_INTEGER);
    if (!ready) return store__bad_reply("ZCARD", err);
    queue->ready = ready->integer;
    for (int64_t band = 0; band < bands; band++) {
        const redisReply *first = store__batch_reply(batch, at + 1 + (size_t)band, REDIS_REPLY_ARRAY);
        if (!first) return store__bad_reply("ZRANGE", err);
        if (first->elements != 2) continue;
        int64_t ready_ms = ((int64_t)strtod(first->element[1]->str, NULL) - band * STRICT_STEP) / 1000;
        if (!queue->oldest_ready_at || ready_ms < queue->oldest_ready_at) queue->oldest_ready_at = ready_ms;
        *ret_first = arena_strdup(queues->arena, first->element[0]->str);
    }
    return 0;
}

/* With ageing a score does not tell when a job became ready; its record does. */
static int read_first(struct store *st, struct queues *queues, const char *const *firsts, struct err *err) {
    struct store__batch batch = {0};
    for (size_t i = 0; i < queues->count; i++) {
        store__batch_key(&batch, st, "HGET", arena_printf(queues->arena, "job:%s", firsts[i] ? firsts[i] : ""));
        store__args_str(&batch.commands[i], "queued_at");
    }
    int rc = store__batch_send(&batch, st, err);
    for (size_t i = 0; i < queues->count && rc == 0; i++) {
        const redisReply *at = store__batch_reply(&batch, i, REDIS_REPLY_STRING);
        queues->list[i].oldest_ready_at = at ? strtoll(at->str, NULL, 10) : 0;
    }
    store__batch_done(&batch);
    return rc;
}

static int read_depths(struct store *st, struct queues *queues, bool strict, int64_t newest_us, struct err *err) {
    struct store__batch batch = {0};
    int64_t bands = strict ? PRIORITIES : 1;
    const char **firsts = arena_alloc(queues->arena, (queues->count + 1) * sizeof *firsts);
    if (queues->count == 0) return 0;
    for (size_t i = 0; i < queues->count; i++) ask_depth(&batch, st, queues->list[i].model, bands, newest_us);
    int rc = store__batch_send(&batch, st, err);
    for (size_t i = 0; i < queues->count && rc == 0; i++)
        rc = read_depth(&batch, i * (size_t)(1 + bands), bands, queues, &queues->list[i], &firsts[i], err);
    store__batch_done(&batch);
    return rc == 0 && !strict ? read_first(st, queues, firsts, err) : rc;
}

int store_queue_list(struct store *st, struct arena *arena, struct store_queue **ret, size_t *ret_count,
                     enum store_mode *ret_all, struct err *err) {
    struct queues queues = {.arena = arena};
    struct store__batch batch = {0};
    bool strict = true;
    int64_t newest_us = 0;
    *ret_all = STORE_MODE_OPEN;
    store__batch_key(&batch, st, "HGETALL", "counts");
    store__batch_key(&batch, st, "HGETALL", "policy");
    store__batch_key(&batch, st, "HGETALL", "meta");
    int rc = store__batch_send(&batch, st, err);
    const redisReply *counts = NULL, *policy = NULL, *meta = NULL;
    if (rc == 0) {
        counts = store__batch_reply(&batch, 0, REDIS_REPLY_ARRAY);
        policy = store__batch_reply(&batch, 1, REDIS_REPLY_ARRAY);
        meta = store__batch_reply(&batch, 2, REDIS_REPLY_ARRAY);
        if (!counts || !policy || !meta) rc = store__bad_reply("HGETALL", err);
    }
    if (rc == 0) {
        see_counts(&queues, counts);
        see_policy(&queues, policy, ret_all);
        strict = store__int_member(meta, "ageing_us") == 0;
        newest_us = store__int_member(meta, "readied");
    }
    store__batch_done(&batch);
    if (rc == 0) rc = read_depths(st, &queues, strict, newest_us, err);
    *ret = queues.list;
    *ret_count = queues.count;
    return rc;
}
