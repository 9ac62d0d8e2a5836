/* What a model, or everything, may do at present. Modes are set by ingest.lua, which takes them from the command log
 * like everything else; here they are only read, with the counts that transition() keeps, so that asking costs two
 * plain commands however many jobs there are. */
#include <stdlib.h>
#include <string.h>

#include "penstock/store_policy.h"
#include "store_internal.h"

/* Two fields of a hash, `reply->element` being texts or nil. */
static int get_pair(struct store *st, const char *key, const char *first, const char *second, const char *name,
                    redisReply **ret, struct err *err) {
    struct store__args args;
    store__args_init(&args);
    store__args_str(&args, "HMGET");
    store__args_key(&args, st, key);
    store__args_str(&args, arena_printf(&args.arena, "%s:%s", first, name));
    store__args_str(&args, arena_printf(&args.arena, "%s:%s", second, name));
    int rc = store__command(st, &args, ret, err);
    store__args_done(&args);
    if (rc == 0 && ((*ret)->type != REDIS_REPLY_ARRAY || (*ret)->elements != 2)) rc = store__bad_reply("HMGET", err);
    return rc;
}

static enum store_mode mode_from_text(const char *text) {
    if (text && strcmp(text, "paused") == 0) return STORE_MODE_PAUSED;
    return text && strcmp(text, "draining") == 0 ? STORE_MODE_DRAINING : STORE_MODE_OPEN;
}

/* Of all models together: what the indexes of the two states hold. */
static int count_state(struct store *st, enum job_state state, int64_t *ret, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    store__args_init(&args);
    store__args_str(&args, "ZCARD");
    store__args_key(&args, st, arena_printf(&args.arena, "index:%s", job_state_name(state)));
    int rc = store__command(st, &args, &reply, err);
    if (rc == 0 && reply->type != REDIS_REPLY_INTEGER) rc = store__bad_reply("ZCARD", err);
    if (rc == 0) *ret = reply->integer;
    if (reply) freeReplyObject(reply);
    store__args_done(&args);
    return rc;
}

static int count_model(struct store *st, const char *model, struct store_mode_view *view, struct err *err) {
    redisReply *counts = NULL;
    int rc = get_pair(st, "counts", "queued", "running", model, &counts, err);
    if (rc == 0) {
        view->queued = counts->element[0]->str ? strtoll(counts->element[0]->str, NULL, 10) : 0;
        view->running = counts->element[1]->str ? strtoll(counts->element[1]->str, NULL, 10) : 0;
    }
    if (counts) freeReplyObject(counts);
    return rc;
}

int store_mode_get(struct store *st, const char *model, struct arena *arena, struct store_mode_view *ret,
                   struct err *err) {
    struct store_mode_view view = {0};
    redisReply *policy = NULL;
    int rc = get_pair(st, "policy", "mode", "reason", model ? model : "*", &policy, err);
    if (rc == 0) {
        view.mode = mode_from_text(policy->element[0]->str);
        view.reason = policy->element[1]->str ? arena_strdup(arena, policy->element[1]->str) : "";
        rc = model ? count_model(st, model, &view, err) : count_state(st, JOB_STATE_QUEUED, &view.queued, err);
    }
    if (rc == 0 && !model) rc = count_state(st, JOB_STATE_RUNNING, &view.running, err);
    if (policy) freeReplyObject(policy);
    if (rc == 0) *ret = view;
    return rc;
}
