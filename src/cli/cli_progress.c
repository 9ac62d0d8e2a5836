/* How far a long piece of work is: a bar with rate and time left on a terminal, a plain line now and then elsewhere (a
 * log that is silent for an hour looks like a hang). All of it goes to standard error.
 *
 * The rate is that of the last seconds, not of the whole time: jobs that waited for a model to be loaded say nothing
 * about how fast the rest will go. Nothing is shown of what is over at once, and no more than can be read. */
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli_jobs.h"
#include "penstock/clock.h"

#define BAR_MAX       30
#define BAR_MIN       6
#define DRAW_MS       100 /* what is over by then shows no bar */
#define LINE_MS       10000
#define SAMPLE_MS     1000
#define COLUMNS_LEAST 20

void cli__progress_init(struct cli_progress *progress, const struct cli_context *ctx, const char *verb, size_t total) {
    *progress = (struct cli_progress){.ctx = ctx, .verb = verb, .total = total};
    progress->samples[0].at_ms = progress->told_ms = clock_mono_ms(&clock_system);
    progress->sample_count = 1;
}

/* Keeps the newest samples, a second apart. */
static void take_sample(struct cli_progress *progress, int64_t now_ms, size_t done) {
    size_t count = progress->sample_count;
    if (now_ms - progress->samples[count - 1].at_ms < SAMPLE_MS) return;
    if (count == CLI_PROGRESS_SAMPLES) {
        memmove(progress->samples, progress->samples + 1, (count - 1) * sizeof progress->samples[0]);
        count--;
    }
    progress->samples[count].at_ms = now_ms;
    progress->samples[count].done = done;
    progress->sample_count = count + 1;
}

/* Per second; 0 while there is nothing to tell. */
static double rate(const struct cli_progress *progress, int64_t now_ms, size_t done) {
    int64_t ms = now_ms - progress->samples[0].at_ms;
    return ms < SAMPLE_MS ? 0 : (double)(done - progress->samples[0].done) * 1000 / (double)ms;
}

/* "812/1000 ended, 3 failed, 87.5/s, 2.1 s left" */
static void put_text(const struct cli_progress *progress, int64_t now_ms, size_t done, size_t failed, struct buf *out) {
    double per_second = rate(progress, now_ms, done);
    buf_printf(out, "%zu/%zu %s", done, progress->total, progress->verb);
    if (failed) buf_printf(out, ", %zu failed", failed);
    if (per_second <= 0) return;
    char left[16];
    cli__format_ms((int64_t)((double)(progress->total - done) * 1000 / per_second), left);
    buf_printf(out, per_second < 10 ? ", %.1f/s, %s left" : ", %.0f/s, %s left", per_second, left);
}

static size_t columns(void) {
    struct winsize size = {0};
    bool told = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return !told ? 80 : size.ws_col > COLUMNS_LEAST ? size.ws_col : COLUMNS_LEAST;
}

/* The last column stays free: a terminal would begin a new line behind it. */
static void draw(const char *text, double fraction) {
    static const char full[] = "##############################";
    size_t width = columns() - 1, len = strlen(text), bar = width > len + 3 ? width - len - 3 : 0;
    if (bar > BAR_MAX) bar = BAR_MAX;
    int filled = (int)(fraction * (double)bar);
    if (bar >= BAR_MIN)
        fprintf(stderr, "\r[%.*s%*s] %s\033[K", filled, full, (int)bar - filled, "", text);
    else
        fprintf(stderr, "\r%.*s\033[K", (int)width, text);
}

void cli__progress_show(struct cli_progress *progress, size_t done, double begun, size_t failed) {
    const struct cli_context *ctx = progress->ctx;
    int64_t now_ms = clock_mono_ms(&clock_system), pause = ctx->terminal ? DRAW_MS : LINE_MS;
    if (ctx->quiet || progress->total == 0) return;
    take_sample(progress, now_ms, done);
    if (now_ms - progress->told_ms < pause || (!ctx->terminal && ctx->json)) return;
    progress->told_ms = now_ms;
    progress->drawn = ctx->terminal;
    struct buf text = {0};
    put_text(progress, now_ms, done, failed, &text);
    if (ctx->terminal)
        draw(text.data, ((double)done + begun) / (double)progress->total);
    else
        fprintf(stderr, "%s\n", text.data);
    buf_done(&text);
}

void cli__progress_clear(struct cli_progress *progress) {
    if (!progress->drawn) return;
    fputs("\r\033[K", stderr);
    progress->drawn = false;
    progress->told_ms = 0; /* so that it is back at the next occasion */
}
