/* Limits that the scripts enforce: the arguments of policy.lua. */
#include "store_internal.h"

static void put_limits(struct store__args *args, const char *kind, const struct store_limit *limits, size_t count) {
    for (size_t i = 0; i < count; i++) {
        store__args_str(args, kind);
        store__args_str(args, limits[i].name);
        store__args_int(args, limits[i].max_running);
    }
}

int store_policy_set(struct store *st, const struct store_policy *policy, struct err *err) {
    struct store__args args;
    redisReply *reply = NULL;
    int rc = store__call_begin(st, SCRIPT_POLICY, &args, err);
    if (rc != 0) goto out;
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
