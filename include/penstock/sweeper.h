/* sweeper: lets deadlines happen: leases, delays, timeouts, retention. One sweep serves them all.
 *
 *     struct sweeper sweeper = {.st = st, .limit = 100};
 *     while (sweeper_step(&sweeper, &err) >= 0) wait(sweeper.wait_ms);
 */
#ifndef PENSTOCK_SWEEPER_H
#define PENSTOCK_SWEEPER_H

#include "penstock/store.h"

struct sweeper {
    struct store *st;
    size_t limit;    /* deadlines a script call */
    int64_t wait_ms; /* written: how long nothing is due, as far as is known; 0 = more is due now */
};

/* A loop_step_fn: handles at most `limit` due deadlines and returns how many. */
int sweeper_step(void *sweeper, struct err *err) MUSTCHECK;

#endif
