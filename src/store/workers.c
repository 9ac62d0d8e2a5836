/* Workers: what they are and what they hold. A registration is a hash that expires by itself and a name in a set,
 * written together; names whose hash has gone are tidied away when read. */
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

#define HELD_SHOWN 100

static void add_registration(struct store__batch *batch, const struct store *st, const struct store_worker *worker,
                             int64_t ttl_ms) {
    const char *pairs[] = {"host",   worker->host,   "executor", worker->executor,
                           "device", worker->device, "models",   worker->models};
    struct store__args *args = store__batch_add(batch);
    const char *key = arena_printf(&args->arena, "worker:%s", worker->id);
    store__args_str(args, "HSET");
    store__args_key(args, st, key);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) store__args_str(args, pairs[i]);
    store__args_str(args, "pid");
    store__args_int(args, worker->pid);
    store__args_str(args, "started_at");
    store__args_int(args, worker->started_at);
    store__args_str(args, "seen_at");
    store__args_int(args, worker->seen_at);
    store__batch_key(batch, st, "PEXPIRE", key);
    store__args_int(&batch->commands[batch->count - 1], ttl_ms);
    store__batch_key(batch, st, "SADD", "workers");
    store__args_str(&batch->commands[batch->count - 1], worker->id);
}

/* All of the batch or nothing of it. */
static int send_transaction(struct store *st, struct store__batch *batch, struct err *err) {
    store__args_str(store__batch_add(batch), "EXEC");
    int rc = store__batch_send(batch, st, err);
    if (rc == 0 && !store__batch_reply(batch, batch->count - 1, REDIS_REPLY_ARRAY)) rc = store__bad_reply("EXEC", err);
    return rc;
}

int store_worker_register(struct store *st, const struct store_worker *worker, int64_t ttl_ms, struct err *err) {
    struct store__batch batch = {0};
    store__args_str(store__batch_add(&batch), "MULTI");
    add_registration(&batch, st, worker, ttl_ms);
    int rc = send_transaction(st, &batch, err);
    store__batch_done(&batch);
    return rc;
}

int store_worker_unregister(struct store *st, const char *id, struct err *err) {
    struct store__batch batch = {0};
    struct store__args *args = store__batch_add(&batch);
    store__args_str(args, "MULTI");
    store__batch_key(&batch, st, "DEL", arena_printf(&batch.commands[0].arena, "worker:%s", id));
    store__batch_key(&batch, st, "SREM", "workers");
    store__args_str(&batch.commands[batch.count - 1], id);
    int rc = send_transaction(st, &batch, err);
    store__batch_done(&batch);
    return rc;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static int list_names(struct store *st, redisReply **ret, struct err *err) {
    struct store__args args;
    store__args_init(&args);
    store__args_str(&args, "SMEMBERS");
    store__args_key(&args, st, "workers");
    int rc = store__ask(st, &args, REDIS_REPLY_ARRAY, ret, err);
    store__args_done(&args);
    return rc;
}

static void ask_worker(struct store__batch *batch, const struct store *st, const char *id, struct arena *arena) {
    store__batch_key(batch, st, "HGETALL", arena_printf(arena, "worker:%s", id));
    store__batch_key(batch, st, "ZCARD", arena_printf(arena, "held:%s", id));
    store__batch_key(batch, st, "ZRANGE", arena_printf(arena, "held:%s", id));
    store__args_int(&batch->commands[batch->count - 1], 0);
    store__args_int(&batch->commands[batch->count - 1], HELD_SHOWN - 1);
}

static int read_worker(const struct store__batch *batch, size_t at, const char *id, struct arena *arena,
                       struct store_worker *ret, bool *ret_found, struct err *err) {
    const redisReply *hash = store__batch_reply(batch, at, REDIS_REPLY_ARRAY);
    const redisReply *held = store__batch_reply(batch, at + 1, REDIS_REPLY_INTEGER);
    const redisReply *jobs = store__batch_reply(batch, at + 2, REDIS_REPLY_ARRAY);
    if (!hash || !held || !jobs) return store__bad_reply("worker", err);
    *ret_found = hash->elements > 0;
    *ret = (struct store_worker){
        .id = arena_strdup(arena, id),
        .host = store__text_member(hash, "host", arena),
        .executor = store__text_member(hash, "executor", arena),
        .device = store__text_member(hash, "device", arena),
        .models = store__text_member(hash, "models", arena),
        .pid = store__int_member(hash, "pid"),
        .started_at = store__int_member(hash, "started_at"),
        .seen_at = store__int_member(hash, "seen_at"),
        .job_count = jobs->elements,
        .held = (size_t)held->integer,
    };
    const char **ids = arena_alloc(arena, (jobs->elements + 1) * sizeof *ids);
    for (size_t i = 0; i < jobs->elements; i++) ids[i] = arena_strdup(arena, jobs->element[i]->str);
    ret->job_ids = ids;
    return 0;
}

/* Its hash has expired. If it registers in this very moment its name comes back with the next renewal. */
static int tidy(struct store *st, const char *id, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "SREM");
    store__args_key(&args, st, "workers");
    store__args_str(&args, id);
    int rc = store__ask(st, &args, REDIS_REPLY_INTEGER, &reply, err);
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

static int by_id(const void *a, const void *b) {
    return strcmp(((const struct store_worker *)a)->id, ((const struct store_worker *)b)->id);
}

int store_worker_list(struct store *st, struct arena *arena, struct store_worker **ret, size_t *ret_count,
                      struct err *err) {
    struct store__batch batch = {0};
    redisReply *ids;
    size_t count = 0;
    if (list_names(st, &ids, err) != 0) return -1;
    struct store_worker *workers = arena_alloc(arena, (ids->elements + 1) * sizeof *workers);
    for (size_t i = 0; i < ids->elements; i++) ask_worker(&batch, st, ids->element[i]->str, arena);
    int rc = batch.count ? store__batch_send(&batch, st, err) : 0;
    for (size_t i = 0; i < ids->elements && rc == 0; i++) {
        bool found = false;
        rc = read_worker(&batch, 3 * i, ids->element[i]->str, arena, &workers[count], &found, err);
        if (rc == 0 && !found)
            rc = tidy(st, ids->element[i]->str, err);
        else
            count++;
    }
    store__batch_done(&batch);
    freeReplyObject(ids);
    if (rc != 0) return -1;
    qsort(workers, count, sizeof *workers, by_id);
    *ret = workers;
    *ret_count = count;
    return 0;
}
