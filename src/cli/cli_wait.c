/* Waiting for jobs to end, by looking at their records.
 *
 * There may be many thousands: each pass looks at the first WINDOW jobs that have not ended, in the order given, which
 * is about the order in which they run. The pause grows while nothing happens, so that waiting for a long job costs
 * Redis next to nothing, and is short again after each change. A job without a record counts as not ended: its command
 * may still be on its way. Redis may be away for a moment; only when it stays away does waiting fail. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli_jobs.h"
#include "penstock/clock.h"
#include "penstock/loop.h"

#define WINDOW        ((size_t)256)
#define PAUSE_MIN_MS  5
#define PAUSE_MAX_MS  500
#define GIVE_UP_MS    10000
#define NOTE_AFTER_MS 3000

#define WHERE_REFUSED "`penstock events --from-beginning --state rejected` tells of refused commands"

struct waiting {
    struct cli_context *ctx;
    struct store *st;
    struct cli_wait *wait;
    const char **pending; /* ids not ended, in order */
    size_t count;
    double progress; /* of the pending ones in the window, summed */
    struct cli_progress bar;
    bool noted; /* that some have no record */
    struct arena arena;
};

static void draw(struct waiting *w) {
    cli__progress_show(&w->bar, w->wait->count - w->count, w->progress, w->wait->by_state[JOB_STATE_FAILED]);
}

/* Looks at the window once. Returns how many ended, or -1. */
static int pass(struct waiting *w, struct err *err) {
    size_t window = w->count < WINDOW ? w->count : WINDOW, kept = 0, i = 0;
    int rc = 0;
    w->progress = 0;
    w->wait->absent = 0;
    for (; i < window; i++) {
        struct job_record rec;
        arena_reset(&w->arena);
        if (store_job_get(w->st, w->pending[i], &w->arena, &rec, err) != 0) {
            rc = -1;
            break;
        }
        if (job_state_is_terminal(rec.state)) {
            if (w->wait->print) cli__progress_clear(&w->bar);
            if (w->wait->print && cli__print_ended(w->ctx, w->st, &rec, err) != 0) {
                rc = -1;
                break;
            }
            w->wait->by_state[rec.state]++;
            continue;
        }
        w->wait->absent += rec.state == JOB_STATE_NONE;
        w->progress += rec.progress;
        w->pending[kept++] = w->pending[i];
    }
    size_t ended = i - kept;
    memmove(w->pending + kept, w->pending + i, (w->count - i) * sizeof *w->pending);
    w->count -= ended;
    return rc != 0 ? -1 : (int)ended;
}

static int timed_out(const struct waiting *w, struct err *err) {
    size_t absent = w->wait->absent;
    if (w->wait->count == 1)
        return err_set(err, ERR_TIMED_OUT_WAITING, "job %s has %s after %" PRId64 " ms%s", w->pending[0],
                       absent ? "no record" : "not ended", w->wait->timeout_ms, absent ? "; " WHERE_REFUSED : "");
    return err_set(err, ERR_TIMED_OUT_WAITING, "%zu of %zu jobs have not ended after %" PRId64 " ms%s", w->count,
                   w->wait->count, w->wait->timeout_ms, absent ? " (some have no record)" : "");
}

/* A refused command leaves no record: whoever waits for one should not wonder for ever. */
static void note_absent(struct waiting *w) {
    if (w->noted || w->wait->absent == 0 || w->ctx->quiet || w->ctx->json) return;
    w->noted = true;
    cli__progress_clear(&w->bar);
    fprintf(stderr, "%zu of the jobs have no record yet; %s\n", w->wait->absent, WHERE_REFUSED);
}

static int wait_all(struct waiting *w, struct err *err) {
    int64_t start = clock_mono_ms(&clock_system), last_answer = start, pause = PAUSE_MIN_MS;
    while (w->count > 0) {
        int ended = pass(w, err);
        fflush(stdout);
        int64_t now = clock_mono_ms(&clock_system);
        if (ended >= 0)
            last_answer = now;
        else if (err->class != ERR_CLASS_RETRY || now - last_answer > GIVE_UP_MS)
            return -1;
        if (now - start > NOTE_AFTER_MS) note_absent(w);
        draw(w);
        if (w->count == 0) break;
        int64_t left = w->wait->timeout_ms ? start + w->wait->timeout_ms - now : PAUSE_MAX_MS;
        if (left <= 0) {
            cli__progress_clear(&w->bar);
            return timed_out(w, err);
        }
        pause = ended > 0 ? PAUSE_MIN_MS : pause * 3 / 2 + 1;
        if (pause > PAUSE_MAX_MS) pause = PAUSE_MAX_MS;
        loop_sleep(pause < left ? pause : left);
    }
    cli__progress_clear(&w->bar);
    return 0;
}

int cli__wait(struct cli_context *ctx, struct store *st, struct cli_wait *wait, struct err *err) {
    struct waiting w = {.ctx = ctx, .st = st, .wait = wait, .count = wait->count};
    memset(wait->by_state, 0, sizeof wait->by_state);
    w.pending = mem_calloc(wait->count, sizeof *w.pending);
    if (wait->count) memcpy(w.pending, wait->ids, wait->count * sizeof *w.pending);
    cli__progress_init(&w.bar, ctx, "ended", wait->count);
    arena_init(&w.arena);
    int rc = wait_all(&w, err);
    wait->by_state[JOB_STATE_NONE] = w.count;
    arena_done(&w.arena);
    free(w.pending);
    return rc;
}

int cli__wait_exit_code(const struct cli_wait *wait) {
    return wait->by_state[JOB_STATE_COMPLETED] == wait->count ? CLI_OK : CLI_FAILED;
}
