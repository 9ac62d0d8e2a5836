/* What operators ask: how the house stands, what waits, who works; and the one thing that they may do, modes. */
#include <inttypes.h>
#include <string.h>

#include "http_internal.h"
#include "penstock/clock.h"

static const char *const modes[] = {
    [STORE_MODE_OPEN] = "open", [STORE_MODE_PAUSED] = "paused", [STORE_MODE_DRAINING] = "draining"};

int http__overview(struct http_request *req, struct err *err) {
    struct buf *out = &req->res.body;
    struct store_stats stats;
    struct store_queue *queues;
    struct store_worker *workers;
    size_t queue_count, worker_count;
    enum store_mode all;
    if (http__store(req, err) != 0 || store_stats_get(req->st, &stats, err) != 0 ||
        store_queue_list(req->st, &req->arena, &queues, &queue_count, &all, err) != 0 ||
        store_worker_list(req->st, &req->arena, &workers, &worker_count, err) != 0)
        return -1;
    http__put_text(out, "{\"version\":", req->http->cfg.version);
    http__put_int(out, ",\"at\":", clock_wall_ms(&clock_system));
    http__put_text(out, ",\"mode\":", modes[all]);
    for (enum job_state state = JOB_STATE_QUEUED; state < JOB_STATE_COUNT; state++) {
        http__put_text(out, state == JOB_STATE_QUEUED ? ",\"states\":{" : ",", job_state_name(state));
        http__put_int(out, ":", stats.by_state[state]);
    }
    http__put_int(out, "},\"outbox_entries\":", stats.outbox_entries);
    http__put_int(out, ",\"timers\":", stats.timers);
    http__put_int(out, ",\"store_epoch\":", stats.store_epoch);
    http__put_int(out, ",\"gseq\":", stats.gseq);
    http__put_int(out, ",\"workers\":", (int64_t)worker_count);
    buf_puts(out, http__monitor_kafka(req->http->monitor) ? ",\"kafka\":true}" : ",\"kafka\":false}");
    http__json(req, 200);
    return HTTP_DONE;
}

static void put_queue(struct buf *out, const struct store_queue *queue) {
    http__put_text(out, "{\"model\":", queue->model);
    http__put_int(out, ",\"queued\":", queue->queued);
    http__put_int(out, ",\"ready\":", queue->ready);
    http__put_int(out, ",\"running\":", queue->running);
    http__put_int(out, ",\"max_running\":", queue->max_running);
    if (queue->oldest_ready_at) http__put_int(out, ",\"oldest_ready_at\":", queue->oldest_ready_at);
    http__put_text(out, ",\"mode\":", modes[queue->mode]);
    if (queue->mode_reason && *queue->mode_reason) http__put_text(out, ",\"reason\":", queue->mode_reason);
    buf_puts(out, "}");
}

int http__queues(struct http_request *req, struct err *err) {
    struct store_queue *queues;
    enum store_mode all;
    size_t count;
    if (http__store(req, err) != 0 || store_queue_list(req->st, &req->arena, &queues, &count, &all, err) != 0)
        return -1;
    http__put_text(&req->res.body, "{\"mode\":", modes[all]);
    buf_puts(&req->res.body, ",\"queues\":[");
    for (size_t i = 0; i < count; i++) {
        if (i) buf_puts(&req->res.body, ",");
        put_queue(&req->res.body, &queues[i]);
    }
    buf_puts(&req->res.body, "]}");
    http__json(req, 200);
    return HTTP_DONE;
}

static void put_worker(struct buf *out, const struct store_worker *worker) {
    http__put_text(out, "{\"worker\":", worker->id);
    http__put_text(out, ",\"host\":", worker->host);
    http__put_text(out, ",\"executor\":", worker->executor);
    http__put_text(out, ",\"device\":", worker->device);
    http__put_int(out, ",\"pid\":", worker->pid);
    http__put_int(out, ",\"started_at\":", worker->started_at);
    http__put_int(out, ",\"seen_at\":", worker->seen_at);
    http__put_int(out, ",\"held\":", (int64_t)worker->held);
    buf_puts(out, ",\"jobs\":[");
    for (size_t i = 0; i < worker->job_count; i++) http__put_text(out, i ? "," : "", worker->job_ids[i]);
    buf_printf(out, "],\"models\":%s}", worker->models && *worker->models ? worker->models : "[]");
}

int http__workers(struct http_request *req, struct err *err) {
    struct store_worker *workers;
    size_t count;
    if (http__store(req, err) != 0 || store_worker_list(req->st, &req->arena, &workers, &count, err) != 0) return -1;
    buf_puts(&req->res.body, "{\"workers\":[");
    for (size_t i = 0; i < count; i++) {
        if (i) buf_puts(&req->res.body, ",");
        put_worker(&req->res.body, &workers[i]);
    }
    buf_puts(&req->res.body, "]}");
    http__json(req, 200);
    return HTTP_DONE;
}

int http__server_metadata(struct http_request *req, struct err *err) {
    http__put_text(&req->res.body, "{\"name\":\"penstock\",\"version\":", req->http->cfg.version);
    buf_puts(&req->res.body, ",\"extensions\":[\"binary_tensor_data\",\"model_repository\"]}");
    http__json(req, 200);
    return HTTP_DONE;
}

/* --- modes ---------------------------------------------------------------------------------------------------------
 */

static int mode_sent(struct http_request *req, struct err *err) {
    struct job_command *cmd = req->own;
    static const char *const words[] = {
        [WIRE_COMMAND_PAUSE] = "pause", [WIRE_COMMAND_RESUME] = "resume", [WIRE_COMMAND_DRAIN] = "drain"};
    http__put_text(&req->res.body, "{\"type\":", words[cmd->type]);
    if (cmd->model) http__put_text(&req->res.body, ",\"model\":", cmd->model);
    buf_puts(&req->res.body, "}");
    http__json(req, 202);
    return HTTP_DONE;
}

int http__mode_set(struct http_request *req, struct err *err) {
    const struct http_config *cfg = &req->http->cfg;
    struct wire_message in = {.value = req->body.data, .value_len = req->body.len};
    struct job_command *cmd = arena_alloc(&req->arena, sizeof *cmd);
    struct model_policy ignored;
    if (wire_command_decode(&in, &req->arena, cmd, NULL, err) != 0) return -1;
    if (cmd->type != WIRE_COMMAND_PAUSE && cmd->type != WIRE_COMMAND_RESUME && cmd->type != WIRE_COMMAND_DRAIN)
        return err_set(err, ERR_UNKNOWN_TYPE, "type is pause, resume or drain here");
    if (cmd->model && cfg->model && !cfg->model(cfg->self, cmd->model, NULL, &ignored))
        return err_set(err, ERR_UNKNOWN_MODEL, "there is no model %s", cmd->model);
    req->own = cmd;
    struct bus_out msg = {.topic = cfg->control_topic,
                          .key = cmd->model ? cmd->model : "",
                          .key_len = cmd->model ? strlen(cmd->model) : 0,
                          .value = in.value,
                          .value_len = in.value_len};
    return http__publish(req, &msg, mode_sent, err);
}
