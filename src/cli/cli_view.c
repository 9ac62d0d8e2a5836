/* Queues and workers as rows and as JSON. The members are named as those of GET /v1/queues and /v1/workers. */
#include "cli_view.h"

#include <inttypes.h>
#include <string.h>

enum { SHOWN_JOBS = 3 };

const char *cli__mode_name(enum store_mode mode) {
    static const char *const names[] = {
        [STORE_MODE_OPEN] = "open", [STORE_MODE_PAUSED] = "paused", [STORE_MODE_DRAINING] = "draining"};
    return names[mode];
}

static void put_text(struct buf *out, const char *before, const char *text) {
    buf_puts(out, before);
    wire_json_string(text ? text : "", text ? strlen(text) : 0, out);
}

void cli__queue_json(const struct store_queue *queue, struct buf *out) {
    put_text(out, "{\"model\":", queue->model);
    buf_printf(out, ",\"queued\":%" PRId64 ",\"ready\":%" PRId64 ",\"running\":%" PRId64 ",\"max_running\":%" PRId64,
               queue->queued, queue->ready, queue->running, queue->max_running);
    if (queue->oldest_ready_at) buf_printf(out, ",\"oldest_ready_at\":%" PRId64, queue->oldest_ready_at);
    put_text(out, ",\"mode\":", cli__mode_name(queue->mode));
    if (queue->mode_reason && *queue->mode_reason) put_text(out, ",\"reason\":", queue->mode_reason);
    buf_puts(out, "}");
}

void cli__queue_table_init(struct cli_table *table) {
    static const char *const heads[] = {"MODEL", ">QUEUED", ">READY", ">OLDEST", ">RUNNING", "MODE", "REASON"};
    cli__table_init(table, heads, sizeof heads / sizeof heads[0]);
}

void cli__queue_row(struct cli_table *table, const struct store_queue *queue, int64_t now_ms) {
    char age[16] = "";
    if (queue->oldest_ready_at)
        cli__format_ms(now_ms > queue->oldest_ready_at ? now_ms - queue->oldest_ready_at : 0, age);
    cli__table_add(table, "%s", queue->model);
    cli__table_add(table, "%" PRId64, queue->queued);
    cli__table_add(table, "%" PRId64, queue->ready);
    cli__table_add(table, "%s", age);
    if (queue->max_running)
        cli__table_add(table, "%" PRId64 "/%" PRId64, queue->running, queue->max_running);
    else
        cli__table_add(table, "%" PRId64, queue->running);
    cli__table_add(table, "%s", cli__mode_name(queue->mode));
    cli__table_add(table, "%s", queue->mode_reason ? queue->mode_reason : "");
}

void cli__worker_json(const struct store_worker *worker, struct buf *out) {
    put_text(out, "{\"worker\":", worker->id);
    put_text(out, ",\"host\":", worker->host);
    put_text(out, ",\"executor\":", worker->executor);
    put_text(out, ",\"device\":", worker->device);
    buf_printf(out, ",\"pid\":%" PRId64 ",\"started_at\":%" PRId64 ",\"seen_at\":%" PRId64 ",\"held\":%zu,\"jobs\":[",
               worker->pid, worker->started_at, worker->seen_at, worker->held);
    for (size_t i = 0; i < worker->job_count; i++) put_text(out, i ? "," : "", worker->job_ids[i]);
    buf_puts(out, "]}");
}

void cli__worker_jobs(const struct store_worker *worker, struct buf *out) {
    buf_puts(out, "");
    for (size_t i = 0; i < worker->job_count && i < SHOWN_JOBS; i++)
        buf_printf(out, "%s%s", i ? ", " : "", worker->job_ids[i]);
    if (worker->held > SHOWN_JOBS) buf_printf(out, " and %zu more", worker->held - SHOWN_JOBS);
}
