/* GET /metrics, for Prometheus: what stands in Redis and Kafka, read when it is asked for, and what this process has
 * answered.
 *
 * Every control process tells the same about Redis, so what is asked of several is to be taken once (max), not added up;
 * the counters of answers are each process's own; those of what happened are tally.c's. Counting costs an atomic addition a request: the slots are laid out
 * for every route and status there can be. Source: Prometheus' text exposition format, version 0.0.4. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"
#include "penstock/clock.h"
#include "penstock/store_outbox.h"
#include "penstock/wire_json.h"

#define CLASSES     5  /* 1xx to 5xx */
#define IN_CLASS    32 /* 431 is the highest that is given */
#define STATUSES    (CLASSES * IN_CLASS)
#define OTHER_ROUTE "none" /* nothing at that path, or no request that can be read */

static const double bounds_s[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
#define BOUNDS (sizeof bounds_s / sizeof bounds_s[0])

struct http_metrics {
    size_t routes;             /* in the table; one more is OTHER_ROUTE */
    atomic_ullong *counts;     /* [routes + 1][STATUSES] */
    atomic_ullong slower;      /* than the last bound */
    atomic_ullong of[BOUNDS];  /* answers that took up to the bound and longer than the one before */
    atomic_ullong duration_us; /* of all */
};

struct http_metrics *http__metrics_new(void) {
    struct http_metrics *metrics = mem_calloc(1, sizeof *metrics);
    while (http__route_at(metrics->routes)) metrics->routes++;
    metrics->counts = mem_calloc((metrics->routes + 1) * STATUSES, sizeof *metrics->counts);
    return metrics;
}

void http__metrics_free(struct http_metrics *metrics) {
    if (!metrics) return;
    free(metrics->counts);
    free(metrics);
}

/* --- counting ----------------------------------------------------------------------------------------------------- */

void http__metrics_count(struct http_metrics *metrics, const struct http_request *req) {
    int status = req->res.status, class = status / 100 - 1, rest = status % 100;
    if (class < 0 || class >= CLASSES || rest >= IN_CLASS) return; /* it was broken off before there was an answer */
    size_t route = req->route ? (size_t)(req->route - http__route_at(0)) : metrics->routes;
    atomic_fetch_add(&metrics->counts[route * STATUSES + (size_t)(class * IN_CLASS + rest)], 1);
    if (req->res.stream) return; /* a stream takes as long as its reader wants */
    int64_t took_us = clock_mono_us(&clock_system) - req->began_us;
    size_t bucket = 0;
    while (bucket < BOUNDS && (double)took_us > bounds_s[bucket] * 1e6) bucket++;
    atomic_fetch_add(bucket < BOUNDS ? &metrics->of[bucket] : &metrics->slower, 1);
    atomic_fetch_add(&metrics->duration_us, (unsigned long long)took_us);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

void http__metrics_head(struct buf *out, const char *name, const char *type, const char *help) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void http__metrics_plain(struct buf *out, const char *name, const char *type, const char *help, int64_t value) {
    http__metrics_head(out, name, type, help);
    buf_printf(out, "%s %" PRId64 "\n", name, value);
}

void http__metrics_label(struct buf *out, const char *before, const char *value) {
    buf_puts(out, before);
    buf_puts(out, "\"");
    for (const char *c = value; *c; c++) {
        if (*c == '"' || *c == '\\') buf_puts(out, "\\");
        buf_printf(out, *c == '\n' ? "\\n" : "%c", *c);
    }
    buf_puts(out, "\"");
}

static void put_method(struct buf *out, const struct http_route *route) {
    const char *name = !route                       ? "none"
                       : route->method == HTTP_GET  ? "GET"
                       : route->method == HTTP_POST ? "POST"
                                                    : "DELETE";
    http__metrics_label(out, ",method=", name);
}

static void put_answers(struct buf *out, struct http_metrics *metrics) {
    http__metrics_head(out, "penstock_http_requests_total", "counter", "Answers of this process.");
    for (size_t i = 0; i < (metrics->routes + 1) * STATUSES; i++) {
        unsigned long long count = atomic_load(&metrics->counts[i]);
        if (count == 0) continue;
        const struct http_route *route = http__route_at(i / STATUSES);
        size_t slot = i % STATUSES;
        http__metrics_label(out, "penstock_http_requests_total{route=", route ? route->path : OTHER_ROUTE);
        put_method(out, route);
        buf_printf(out, ",status=\"%zu\"} %llu\n", (slot / IN_CLASS + 1) * 100 + slot % IN_CLASS, count);
    }
    http__metrics_head(out, "penstock_http_request_seconds", "histogram",
                       "From the first line of a request to its last byte.");
    unsigned long long total = 0;
    for (size_t i = 0; i < BOUNDS; i++) {
        total += atomic_load(&metrics->of[i]);
        buf_printf(out, "penstock_http_request_seconds_bucket{le=\"%g\"} %llu\n", bounds_s[i], total);
    }
    total += atomic_load(&metrics->slower);
    buf_printf(out, "penstock_http_request_seconds_bucket{le=\"+Inf\"} %llu\n", total);
    buf_printf(out, "penstock_http_request_seconds_sum %.6f\npenstock_http_request_seconds_count %llu\n",
               (double)atomic_load(&metrics->duration_us) / 1e6, total);
}

/* --- of Redis and Kafka ------------------------------------------------------------------------------------------- */

static void put_queues(struct buf *out, const struct store_queue *queues, size_t count) {
    int64_t now = clock_wall_ms(&clock_system);
    http__metrics_head(out, "penstock_queue_depth", "gauge", "Jobs of a model that wait.");
    for (size_t i = 0; i < count; i++) {
        http__metrics_label(out, "penstock_queue_depth{model=", queues[i].model);
        buf_printf(out, "} %" PRId64 "\n", queues[i].queued);
    }
    http__metrics_head(out, "penstock_queue_running", "gauge", "Jobs of a model that run.");
    for (size_t i = 0; i < count; i++) {
        http__metrics_label(out, "penstock_queue_running{model=", queues[i].model);
        buf_printf(out, "} %" PRId64 "\n", queues[i].running);
    }
    http__metrics_head(out, "penstock_queue_oldest_age_seconds", "gauge",
                       "How long the oldest ready job of a model has waited.");
    for (size_t i = 0; i < count; i++) {
        int64_t age =
            queues[i].oldest_ready_at && queues[i].oldest_ready_at < now ? now - queues[i].oldest_ready_at : 0;
        http__metrics_label(out, "penstock_queue_oldest_age_seconds{model=", queues[i].model);
        buf_printf(out, "} %.3f\n", (double)age / 1000);
    }
}

static int64_t memory_of(const struct store_worker *worker) {
    struct wire_slice rest = {worker->models, worker->models ? strlen(worker->models) : 0}, model, bytes;
    int64_t sum = 0;
    while (rest.len && wire_json_element(&rest, &model))
        if (wire_json_member(model, "memory_bytes", &bytes)) sum += strtoll(bytes.at, NULL, 10);
    return sum;
}

static void put_workers(struct buf *out, const struct store_worker *workers, size_t count) {
    size_t busy = 0;
    for (size_t i = 0; i < count; i++) busy += workers[i].held > 0;
    http__metrics_head(out, "penstock_workers", "gauge", "Registered workers.");
    buf_printf(out, "penstock_workers{state=\"busy\"} %zu\npenstock_workers{state=\"idle\"} %zu\n", busy, count - busy);
    http__metrics_head(out, "penstock_worker_memory_bytes", "gauge",
                       "What a worker's models take, on a GPU where its device is one.");
    for (size_t i = 0; i < count; i++) {
        http__metrics_label(out, "penstock_worker_memory_bytes{worker=", workers[i].id);
        http__metrics_label(out, ",executor=", workers[i].executor ? workers[i].executor : "");
        http__metrics_label(out, ",device=", workers[i].device ? workers[i].device : "");
        buf_printf(out, "} %" PRId64 "\n", memory_of(&workers[i]));
    }
}

/* The first entry has the oldest events. */
static int outbox_age_ms(struct http_request *req, int64_t *ret, struct err *err) {
    struct store_outbox_entry *entries;
    size_t count;
    if (store_outbox_read(req->st, "", 1, 0, &req->arena, &entries, &count, err) != 0) return -1;
    int64_t age = count && entries[0].count ? clock_wall_ms(&clock_system) - entries[0].events[0].at : 0;
    *ret = age > 0 ? age : 0;
    return 0;
}

/* What is in Kafka and not yet in Redis. Nothing is told while Kafka is away: the lag is not known then. */
static void put_lag(struct http_request *req, struct buf *out) {
    const char *topics[] = {req->http->cfg.commands_topic, req->http->cfg.control_topic};
    struct bus_log_end *ends;
    struct err ignored;
    size_t count;
    http__metrics_head(out, "penstock_consumer_lag", "gauge", "Messages that are in Kafka and not yet in Redis.");
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        if (!http__monitor_kafka(req->http->monitor) ||
            http__publisher_ends(req->http->publisher, topics[i], &req->arena, &ends, &count, &ignored) != 0)
            continue;
        for (size_t p = 0; p < count; p++) {
            int64_t next;
            if (store_ingest_offset(req->st, topics[i], (int32_t)p, &next, &ignored) != 0) return;
            if (next < ends[p].low) next = ends[p].low;
            http__metrics_label(out, "penstock_consumer_lag{topic=", topics[i]);
            buf_printf(out, ",partition=\"%zu\"} %" PRId64 "\n", p, ends[p].high > next ? ends[p].high - next : 0);
        }
    }
}

/* Of Redis. False: it does not answer; then the process tells of itself only. */
static bool put_store(struct http_request *req, struct buf *out) {
    struct store_stats stats;
    struct store_queue *queues;
    struct store_worker *workers;
    size_t queue_count, worker_count;
    enum store_mode all;
    int64_t age_ms;
    struct err ignored;
    if (http__store(req, &ignored) != 0 || store_stats_get(req->st, &stats, &ignored) != 0 ||
        store_queue_list(req->st, &req->arena, &queues, &queue_count, &all, &ignored) != 0 ||
        store_worker_list(req->st, &req->arena, &workers, &worker_count, &ignored) != 0 ||
        outbox_age_ms(req, &age_ms, &ignored) != 0)
        return false;
    http__metrics_head(out, "penstock_jobs", "gauge", "Records by state.");
    for (enum job_state state = JOB_STATE_QUEUED; state < JOB_STATE_COUNT; state++)
        buf_printf(out, "penstock_jobs{state=\"%s\"} %" PRId64 "\n", job_state_name(state), stats.by_state[state]);
    put_queues(out, queues, queue_count);
    http__metrics_plain(out, "penstock_outbox_entries", "gauge", "Batches of events that Kafka has not acknowledged.",
                        stats.outbox_entries);
    http__metrics_head(out, "penstock_outbox_oldest_age_seconds", "gauge", "How long the oldest of them has waited.");
    buf_printf(out, "penstock_outbox_oldest_age_seconds %.3f\n", (double)age_ms / 1000);
    put_workers(out, workers, worker_count);
    put_lag(req, out);
    return true;
}

int http__metrics_get(struct http_request *req, struct err *err) {
    struct buf *out = &req->res.body;
    http__metrics_head(out, "penstock_build_info", "gauge", "1.");
    http__metrics_label(out, "penstock_build_info{version=", req->http->cfg.version);
    buf_puts(out, "} 1\n");
    http__metrics_plain(out, "penstock_kafka_up", "gauge", "1: Kafka answers this process.",
                        http__monitor_kafka(req->http->monitor));
    bool redis = put_store(req, out);
    http__metrics_plain(out, "penstock_redis_up", "gauge", "1: Redis answers this process.", redis);
    http__hub_put_tally(req->http->hub, out);
    put_answers(out, req->http->metrics);
    req->res.status = 200;
    req->res.type = "text/plain; version=0.0.4; charset=utf-8";
    return HTTP_DONE;
}
