/* What Redis says about its own durability. INFO, which every user of ours may ask, has all of it but one word: how often
 * the append-only file is synchronised stands in the configuration alone, and CONFIG is a right that need not be given
 * and that hosted Redis does not have. So that word may stay unknown, with Redis' own reason; nothing else fails by it. */
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

static const char *info_word(const char *info, const char *name, struct arena *arena) {
    char word[64] = "";
    return store__info_field(info, name, word, sizeof word) ? arena_strdup(arena, word) : "";
}

/* An error reply is an answer here, so this goes past store__command. */
static int read_appendfsync(struct store *st, struct arena *arena, struct store_durability *ret, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "CONFIG");
    store__args_str(&args, "GET");
    store__args_str(&args, "appendfsync");
    int rc = st->conn->call(st->conn, &args, &reply, err);
    if (rc == 0 && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[1]->str)
        ret->appendfsync = arena_strdup(arena, reply->element[1]->str);
    else if (rc == 0)
        ret->unknown = arena_printf(arena, "CONFIG GET appendfsync: %.200s",
                                    reply->type == REDIS_REPLY_ERROR ? reply->str : "Redis has no such setting");
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_durability_get(struct store *st, struct arena *arena, struct store_durability *ret, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "INFO");
    int rc = store__ask(st, &args, REDIS_REPLY_STRING, &reply, err);
    if (rc == 0) {
        *ret = (struct store_durability){
            .version = info_word(reply->str, "redis_version", arena),
            .role = info_word(reply->str, "role", arena),
            .maxmemory_policy = info_word(reply->str, "maxmemory_policy", arena),
            .appendonly = strcmp(info_word(reply->str, "aof_enabled", arena), "1") == 0,
            .append_fails = strcmp(info_word(reply->str, "aof_last_write_status", arena), "err") == 0,
            .replicas = strtoll(info_word(reply->str, "connected_slaves", arena), NULL, 10),
        };
        rc = read_appendfsync(st, arena, ret, err);
    }
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}
