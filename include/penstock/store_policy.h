/* store_policy: limits that the scripts enforce, kept in Redis so that every process obeys the same. A control process
 * writes them when it starts; the last one wins. See store.h.
 *
 *     struct store_policy policy = {.tenant_label = "tenant", .tenant_max_running = 8};
 *     if (store_policy_set(st, &policy, false, &err) != 0) ...
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
/* With `only_if_lost`: does nothing unless the store has no policy, as after a Redis that lost everything. */
int store_policy_set(struct store *st, const struct store_policy *policy, bool only_if_lost, struct err *err) MUSTCHECK;

/* How long the record of a job that ended in `state` is kept; 0: for ever. */
int64_t store_retention_ms(const struct store_config *cfg, enum job_state state);

struct store_depth {
    const char *model;
    int64_t queued; /* delayed jobs and those held back by a limit included */
};
/* How much waits: what ingest looks at before it takes more. */
struct store_backlog {
    struct store_depth *models; /* that have queued jobs; arena */
    size_t count;
    bool draining; /* everything, that is: nothing new is to be taken */
};
int store_backlog_get(struct store *st, struct arena *arena, struct store_backlog *ret, struct err *err) MUSTCHECK;

/* The mode of a model (NULL: of everything), who or why, and how many jobs it has (NULL: all models). A paused or
 * draining model is so beside the mode of everything. */
struct store_mode_view {
    enum store_mode mode;
    const char *reason; /* "" if none was given; arena */
    int64_t queued, running;
};
int store_mode_get(struct store *st, const char *model, struct arena *arena, struct store_mode_view *ret,
                   struct err *err) MUSTCHECK;

#endif
