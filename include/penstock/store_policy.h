/* store_policy: limits that the scripts enforce, kept in Redis so that every process obeys the same. A control process
 * writes them when it starts; the last one wins. See store.h.
 *
 *     struct store_policy policy = {.tenant_label = "tenant", .tenant_max_running = 8};
 *     if (store_policy_set(st, &policy, &err) != 0) ...
 */
#ifndef PENSTOCK_STORE_POLICY_H
#define PENSTOCK_STORE_POLICY_H

#include "penstock/store.h"

/* A limit of 0 is none. */
struct store_limit {
    const char *name; /* model, or tenant */
    int64_t max_running;
};

struct store_policy {
    const char *tenant_label;   /* the label whose value names a job's tenant; "": tenants are not told apart */
    int64_t tenant_max_running; /* of each tenant that `tenants` does not name */
    const struct store_limit *tenants;
    size_t tenant_count;
    const struct store_limit *models;
    size_t model_count;
    int64_t ageing_ms; /* a job that waited this long goes before newer ones of the next higher priority; 0: never */
};
int store_policy_set(struct store *st, const struct store_policy *policy, struct err *err) MUSTCHECK;

#endif
