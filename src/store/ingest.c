/* Commands into the store: the arguments of ingest.lua, and the offsets per topic-partition. */
#include <inttypes.h>
#include <stdlib.h>

#include "store_internal.h"

/* The reason is the one free text among an event's scalars: it must not contain their separator. */
static void put_reason(struct store__args *args, const char *reason, const char *def) {
    char *clean = arena_strdup(&args->arena, reason && reason[0] ? reason : def);
    for (char *c = clean; *c; c++)
        if ((unsigned char)*c < 0x20) *c = ' ';
    store__args_str(args, clean);
}

static void put_item(struct store__args *args, const struct store_item *item) {
    static const char *const kinds[] = {"C", "X", "M", "R"};
    static const char *const modes[] = {"", "paused", "draining"};
    store__args_str(args, kinds[item->kind]);
    store__args_str(args, item->source.topic);
    store__args_int(args, item->source.partition);
    store__args_int(args, item->source.offset);
    store__args_str(args, item->job_id);
    store__args_str(args, item->traceparent);
    if (item->key) { /* an empty key and no key are different things to whoever reads the dead letter */
        char *key = arena_alloc(&args->arena, item->key_len + 1);
        key[0] = '=';
        for (size_t i = 0; i < item->key_len; i++) key[i + 1] = item->key[i];
        store__args_bytes(args, key, item->key_len + 1);
    } else {
        store__args_str(args, "");
    }
    store__args_bytes(args, item->raw, item->raw_len);
    store__args_int(args, (int64_t)item->raw_size);
    switch (item->kind) {
    case STORE_ITEM_CREATE:
        store__args_str(args, item->model);
        store__args_str(args, item->model_version);
        store__args_int(args, item->priority);
        store__args_int(args, item->max_attempts);
        store__args_int(args, item->timeout_ms);
        store__args_int(args, item->queue_timeout_ms);
        store__args_int(args, item->not_before);
        store__args_int(args, item->backoff_ms);
        store__args_int(args, item->backoff_max_ms);
        store__args_str(args, item->signature);
        store__args_bytes(args, item->spec, item->spec_len);
        store__args_int(args, (int64_t)item->label_count);
        for (size_t i = 0; i < item->label_count; i++) {
            store__args_str(args, item->labels[i].name);
            store__args_str(args, item->labels[i].value);
        }
        break;
    case STORE_ITEM_CANCEL:
        put_reason(args, item->reason, "cancel");
        break;
    case STORE_ITEM_MODE:
        store__args_str(args, item->model ? item->model : "*");
        store__args_str(args, modes[item->mode]);
        put_reason(args, item->reason, "");
        break;
    case STORE_ITEM_REJECT:
        store__args_str(args, err_code_name(item->code));
        store__args_bytes(args, item->error, item->error_len);
        break;
    }
}

int store_ingest(struct store *st, struct store_item *items, size_t count, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    int rc = store__call_begin(st, SCRIPT_INGEST, &args, err);
    if (rc != 0) goto out;
    for (size_t i = 0; i < count; i++) put_item(&args, &items[i]);
    rc = store__call(st, "ingest", &args, &reply, err);
    if (rc == 0 && (reply->type != REDIS_REPLY_ARRAY || reply->elements != count)) rc = store__bad_reply("ingest", err);
    for (size_t i = 0; rc == 0 && i < count; i++) items[i].verdict = (enum store_verdict)reply->element[i]->integer;
out:
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int store_ingest_offset(struct store *st, const char *topic, int32_t partition, int64_t *ret, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    /* Attached before it is read: should Redis lose this offset afterwards, the next script is fenced. */
    if (!st->attached && store_attach(st, err) != 0) return -1;
    store__args_init(&args);
    store__args_str(&args, "HGET");
    store__args_key(&args, st, "ingest");
    store__args_str(&args, arena_printf(&args.arena, "%s:%" PRId32, topic, partition));
    int rc = store__command(st, &args, &reply, err);
    if (rc == 0) *ret = reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10) : -1;
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}
