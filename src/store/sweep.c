/* Deadlines and lost workers. */
#include "store_internal.h"

#define LOST_BATCH 100 /* jobs of a dead worker handled in one script */

int store_sweep(struct store *st, size_t limit, size_t *ret_done, int64_t *ret_next_ms, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    int rc = store__call_begin(st, SCRIPT_SWEEP, &args, err);
    if (rc != 0) goto out;
    store__args_int(&args, (int64_t)limit);
    rc = store__call(st, "sweep", &args, &reply, err);
    if (rc != 0) goto out;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        rc = store__bad_reply("sweep", err);
        goto out;
    }
    *ret_done = (size_t)reply->element[0]->integer;
    *ret_next_ms = reply->element[1]->integer;
out:
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

static int lose_some(struct store *st, const char *worker, size_t *ret_jobs, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    int rc = store__call_begin(st, SCRIPT_LOST, &args, err);
    if (rc != 0) goto out;
    store__args_str(&args, worker);
    store__args_int(&args, LOST_BATCH);
    rc = store__call(st, "lost", &args, &reply, err);
    if (rc == 0 && reply->type != REDIS_REPLY_INTEGER) rc = store__bad_reply("lost", err);
    if (rc == 0) *ret_jobs = (size_t)reply->integer;
out:
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_worker_lost(struct store *st, const char *worker, size_t *ret_jobs, struct err *err) {
    size_t total = 0, some;
    do {
        if (lose_some(st, worker, &some, err) != 0) return -1;
        total += some;
    } while (some > 0);
    *ret_jobs = total;
    return 0;
}
