/* Limits that the scripts enforce: the arguments of policy.lua; and the counts that ingest measures itself by. */
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

static void put_limits(struct store__args *args, const char *kind, const struct store_limit *limits, size_t count) {
    for (size_t i = 0; i < count; i++) {
        store__args_str(args, kind);
        store__args_str(args, limits[i].name);
        store__args_int(args, limits[i].max_running);
    }
}

int store_policy_set(struct store *st, const struct store_policy *policy, bool only_if_lost, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    int rc = store__call_begin(st, SCRIPT_POLICY, &args, err);
    if (rc != 0) goto out;
    store__args_int(&args, only_if_lost);
    store__args_str(&args, policy->tenant_label);
    store__args_int(&args, policy->tenant_max_running);
    store__args_int(&args, policy->ageing_ms * 1000);
    put_limits(&args, "tenant", policy->tenants, policy->tenant_count);
    put_limits(&args, "model", policy->models, policy->model_count);
    rc = store__call(st, "policy", &args, &reply, err);
out:
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

int64_t store_retention_ms(const struct store_config *cfg, enum job_state state) {
    return cfg->retention_by_state_ms[state] ? cfg->retention_by_state_ms[state] : cfg->retention_ms;
}

static int ask(struct store *st, const char *what, const char *key, const char *field, int type, redisReply **ret,
               struct err *err) {
    struct store__args args;
    store__args_init(&args);
    store__args_str(&args, what);
    store__args_key(&args, st, key);
    if (field) store__args_str(&args, field);
    int rc = store__command(st, &args, ret, err);
    store__args_done(&args);
    if (rc == 0 && (*ret)->type != type && (*ret)->type != REDIS_REPLY_NIL) rc = store__bad_reply(what, err);
    return rc;
}

int store_backlog_get(struct store *st, struct arena *arena, struct store_backlog *ret, struct err *err) {
    static const char prefix[] = "queued:";
    const size_t prefix_len = sizeof prefix - 1;
    redisReply *mode = NULL, *counts = NULL;
    *ret = (struct store_backlog){0};
    int rc = ask(st, "HGET", "policy", "mode:*", REDIS_REPLY_STRING, &mode, err);
    if (rc == 0) rc = ask(st, "HGETALL", "counts", NULL, REDIS_REPLY_ARRAY, &counts, err);
    if (rc != 0) goto out;
    ret->draining = mode->type == REDIS_REPLY_STRING && strcmp(mode->str, "draining") == 0;
    ret->models = arena_alloc(arena, (counts->elements / 2 + 1) * sizeof *ret->models);
    for (size_t i = 0; i + 1 < counts->elements; i += 2) {
        const redisReply *name = counts->element[i], *count = counts->element[i + 1];
        if (name->len <= prefix_len || memcmp(name->str, prefix, prefix_len) != 0) continue;
        ret->models[ret->count++] = (struct store_depth){
            arena_strndup(arena, name->str + prefix_len, name->len - prefix_len), strtoll(count->str, NULL, 10)};
    }
out:
    if (mode) freeReplyObject(mode);
    if (counts) freeReplyObject(counts);
    return rc;
}
