/* The sweeper has no state: what is due stands in Redis, and Redis TIME judges it. Any number may run at once. */
#include "penstock/sweeper.h"

/* A deadline may be added behind our back that is nearer than the one we know: look this often. */
#define IDLE_MS 1000

int sweeper_step(void *self, struct err *err) {
    struct sweeper *sweeper = self;
    size_t done;
    int64_t next_ms;
    if (store_sweep(sweeper->st, sweeper->limit, &done, &next_ms, err) != 0) return -1;
    sweeper->wait_ms = next_ms < 0 || next_ms > IDLE_MS ? IDLE_MS : next_ms;
    return (int)done;
}
