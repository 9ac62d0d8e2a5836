/* Asking with plain commands, one or many in one round trip, and reading the replies. */
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

int store__ask(struct store *st, const struct store__args *args, int type, redisReply **ret, struct err *err) {
    if (store__command(st, args, ret, err) != 0) return -1;
    if ((*ret)->type == type) return 0;
    freeReplyObject(*ret);
    *ret = NULL;
    return store__bad_reply(args->argv[0], err);
}

/* --- many at once ------------------------------------------------------------------------------------------------- */

struct store__args *store__batch_add(struct store__batch *batch) {
    if (batch->count == batch->cap) {
        batch->cap = batch->cap ? 2 * batch->cap : 16;
        batch->commands = mem_realloc(batch->commands, batch->cap * sizeof *batch->commands);
    }
    store__args_init(&batch->commands[batch->count]);
    return &batch->commands[batch->count++];
}

void store__batch_key(struct store__batch *batch, const struct store *st, const char *command, const char *key) {
    struct store__args *args = store__batch_add(batch);
    store__args_str(args, command);
    store__args_key(args, st, arena_strdup(&args->arena, key));
}

int store__batch_send(struct store__batch *batch, struct store *st, struct err *err) {
    batch->replies = mem_calloc(batch->count + 1, sizeof(redisReply *));
    int rc = st->conn->calls(st->conn, batch->commands, batch->count, batch->replies, err);
    for (size_t i = 0; i < batch->count && rc == 0; i++)
        if (batch->replies[i]->type == REDIS_REPLY_ERROR)
            rc = store__error_reply(st, batch->commands[i].argv[0], batch->replies[i], err);
    return rc;
}

const redisReply *store__batch_reply(const struct store__batch *batch, size_t index, int type) {
    const redisReply *reply = batch->replies[index];
    return reply->type == type ? reply : NULL;
}

void store__batch_done(struct store__batch *batch) {
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->replies && batch->replies[i]) freeReplyObject(batch->replies[i]);
        store__args_done(&batch->commands[i]);
    }
    free(batch->commands);
    free(batch->replies);
    *batch = (struct store__batch){0};
}

/* --- members of a HGETALL reply ----------------------------------------------------------------------------------- */

const redisReply *store__member(const redisReply *hash, const char *name) {
    for (size_t i = 0; i + 1 < hash->elements; i += 2)
        if (strcmp(hash->element[i]->str, name) == 0) return hash->element[i + 1];
    return NULL;
}

const char *store__text_member(const redisReply *hash, const char *name, struct arena *arena) {
    const redisReply *value = store__member(hash, name);
    return value && value->len ? arena_strndup(arena, value->str, value->len) : NULL;
}

int64_t store__int_member(const redisReply *hash, const char *name) {
    const redisReply *value = store__member(hash, name);
    return value ? strtoll(value->str, NULL, 10) : 0;
}
