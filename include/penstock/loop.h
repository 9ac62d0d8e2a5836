/* loop: the one place where an error's class becomes an action.
 *
 * A role (ingest, sweeper, relay, supervisor) is a step function; loop_run calls it until the stop flag is set or a
 * FATAL error comes back. RETRY backs off exponentially (from 10 ms on) and tries the same step again: the step keeps
 * what it has not acknowledged. REJECT is handled inside a step and is a bug here. A trouble that lasts is told when it
 * begins, now and then while it lasts, and when it is over.
 *
 *     struct loop loop = {.role = "relay", .step = relay_step, .self = relay, .clock = &clock_system};
 *     int rc = loop_run(&loop, &err);          // 0 when stopped, -1 on a fatal error
 */
#ifndef PENSTOCK_LOOP_H
#define PENSTOCK_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "penstock/clock.h"
#include "penstock/err.h"

/* One bounded piece of work. Returns the number of things done (0 = idle; the step itself waits a little, at most
 * some 100 ms, when it has nothing to do), or -1 with *err. */
typedef int loop_step_fn(void *self, struct err *err);

/* When an error of one code was last told, and what it said. */
struct loop_told {
    int64_t at_ms; /* 0: not in this trouble */
    uint64_t digest;
};

struct loop {
    const char *role;
    loop_step_fn *step;
    void *self;
    const struct clock *clock;
    int64_t max_backoff_ms; /* 0: 5 s */
    int64_t backoff_ms;     /* current; 0 after a success */
    int64_t trouble_at_ms;  /* since when no step has succeeded; 0: there is no trouble */
    struct loop_told told[ERR_CODE_COUNT];
};

int loop_run(struct loop *loop, struct err *err) MUSTCHECK;

/* Logs what loop_run would: for whoever calls the step itself, after the stop. */
void loop_tell(struct loop *loop, const struct err *err);

/* The process-wide stop flag: set by signal handlers and by a role that dies; async-signal-safe. */
void loop_request_stop(void);
bool loop_stop_requested(void);

/* Sleeps up to `ms`, less if a stop is requested. */
void loop_sleep(int64_t ms);

#endif
