/* Pub/sub, to hear of ready jobs and of cancels within milliseconds instead of at the next poll. Redis forgets a
 * message that nobody hears, so nothing depends on one: a worker also claims when idle for a while and learns of
 * cancels when it renews. It is a connection of its own because a subscribed connection takes no other commands. */
#include <string.h>

#include "store_internal.h"

static int subscribe(struct store *st, const char *worker, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "SUBSCRIBE");
    store__args_key(&args, st, "wake");
    store__args_key(&args, st, arena_printf(&args.arena, "wake:%s", worker));
    int rc = st->sub->call(st->sub, &args, &reply, err);
    if (rc == 0 && reply->type == REDIS_REPLY_ERROR)
        rc = err_set(err, ERR_STORE_UNFIT, "redis SUBSCRIBE: %.300s", reply->str);
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_watch(struct store *st, const char *worker, int *ret_fd, struct err *err) {
    if (!st->sub) st->sub = store__redis_new(&st->cfg, err);
    if (!st->sub) return -1;
    if (st->sub->fd(st->sub) < 0 && subscribe(st, worker, err) != 0) return -1;
    *ret_fd = st->sub->fd(st->sub);
    return 0;
}

int store_watch_read(struct store *st, bool *ret_ready, bool *ret_cancel, struct err *err) {
    redisReply *msg;
    *ret_ready = *ret_cancel = false;
    /* Not connected is told once, by the call that saw it happen: the caller goes on and store_watch connects again.
     * Were it an error each time, a loop that reads before it watches would never come to watching. */
    if (!st->sub || st->sub->fd(st->sub) < 0) return 0;
    for (;;) {
        if (st->sub->next(st->sub, &msg, err) != 0) return -1;
        if (!msg) return 0;
        /* ["message", channel, payload]; the answers to SUBSCRIBE have another first word. */
        if (msg->type == REDIS_REPLY_ARRAY && msg->elements == 3 && msg->element[0]->str &&
            strcmp(msg->element[0]->str, "message") == 0 && msg->element[1]->str) {
            bool mine = strncmp(msg->element[1]->str + strlen(st->cfg.prefix), "wake:", 5) == 0;
            *(mine ? ret_cancel : ret_ready) = true;
        }
        freeReplyObject(msg);
    }
}
