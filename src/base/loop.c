/* Role loops: where an error's class turns into waiting or ending. The stop flag is the only thing that the threads of
 * a control process share; it is lock-free and written from signal handlers.
 *
 * Five roles that each try again every few seconds while Redis is away would fill a log with one sentence, and bury the
 * line that says why. So an error is told again only after a while, or when it says something else; one is remembered
 * for each code, since a role may meet two in turns (Redis and Kafka both away). Digits do not count: messages carry
 * ports, counters and times. */
#include "penstock/loop.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "penstock/fnv.h"
#include "penstock/log.h"

#define BACKOFF_MIN_MS 10
#define BACKOFF_MAX_MS 5000
#define SLEEP_SLICE_MS 50 /* how soon a stop request is seen */
#define TELL_AGAIN_MS  30000

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

/* Of everything but digits. */
static uint64_t digest_of(const char *text) {
    uint64_t digest = FNV1A;
    for (; *text; text++)
        if (!isdigit((unsigned char)*text)) digest = fnv1a(digest, text, 1);
    return digest;
}

void loop_tell(struct loop *loop, const struct err *err) {
    int64_t now_ms = clock_mono_ms(loop->clock);
    struct loop_told *told = &loop->told[err->code];
    uint64_t digest = digest_of(err->msg);
    if (!loop->trouble_at_ms) loop->trouble_at_ms = now_ms;
    bool known = told->at_ms && told->digest == digest && now_ms - told->at_ms < TELL_AGAIN_MS;
    if (known && err->class != ERR_CLASS_FATAL) return;
    *told = (struct loop_told){now_ms, digest};
    log_err(loop->role, err);
}

static void trouble_is_over(struct loop *loop) {
    log_info(loop->role, "works again, after %" PRId64 " ms", clock_mono_ms(loop->clock) - loop->trouble_at_ms);
    loop->trouble_at_ms = 0;
    memset(loop->told, 0, sizeof loop->told);
}

int loop_run(struct loop *loop, struct err *err) {
    while (!loop_stop_requested()) {
        if (loop->step(loop->self, err) >= 0) {
            loop->backoff_ms = 0;
            if (loop->trouble_at_ms) trouble_is_over(loop);
            continue;
        }
        BUG_ON(err->class == ERR_CLASS_REJECT);
        loop_tell(loop, err);
        if (err->class == ERR_CLASS_FATAL) return -1;
        loop->backoff_ms = loop->backoff_ms ? loop->backoff_ms * 2 : BACKOFF_MIN_MS;
        int64_t most = loop->max_backoff_ms ? loop->max_backoff_ms : BACKOFF_MAX_MS;
        if (loop->backoff_ms > most) loop->backoff_ms = most;
        loop_sleep(loop->backoff_ms);
    }
    return 0;
}
