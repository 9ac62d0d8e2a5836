/* Role loops: where an error's class turns into waiting or ending. The stop flag is the only thing that the threads of
 * a control process share; it is lock-free and written from signal handlers. */
#include "penstock/loop.h"

#include <stdatomic.h>
#include <time.h>

#include "penstock/log.h"

#define BACKOFF_MIN_MS 10
#define BACKOFF_MAX_MS 5000
#define SLEEP_SLICE_MS 50 /* how soon a stop request is seen */

static atomic_bool stop_flag;

void loop_request_stop(void) { atomic_store(&stop_flag, true); }
bool loop_stop_requested(void) { return atomic_load(&stop_flag); }

void loop_sleep(int64_t ms) {
    while (ms > 0 && !loop_stop_requested()) {
        int64_t slice = ms < SLEEP_SLICE_MS ? ms : SLEEP_SLICE_MS;
        struct timespec ts = {.tv_sec = 0, .tv_nsec = slice * 1000000};
        nanosleep(&ts, NULL);
        ms -= slice;
    }
}

int loop_run(struct loop *loop, struct err *err) {
    while (!loop_stop_requested()) {
        if (loop->step(loop->self, err) >= 0) {
            loop->backoff_ms = 0;
            continue;
        }
        BUG_ON(err->class == ERR_CLASS_REJECT);
        log_err(loop->role, err);
        if (err->class == ERR_CLASS_FATAL) return -1;
        loop->backoff_ms = loop->backoff_ms ? loop->backoff_ms * 2 : BACKOFF_MIN_MS;
        int64_t most = loop->max_backoff_ms ? loop->max_backoff_ms : BACKOFF_MAX_MS;
        if (loop->backoff_ms > most) loop->backoff_ms = most;
        loop_sleep(loop->backoff_ms);
    }
    return 0;
}
