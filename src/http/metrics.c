/* GET /metrics, for Prometheus: what stands in Redis, read when it is asked for, and what this process has answered.
 *
 * Every control process tells the same about Redis, so what is asked of several is to be taken once (max), not added up;
 * the counters of answers are each process's own. Counting costs an atomic addition a request: the slots are laid out
 * for every route and status there can be. Source: Prometheus' text exposition format, version 0.0.4. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"
#include "penstock/clock.h"

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

static void put_head(struct buf *out, const char *name, const char *type, const char *help) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_plain(struct buf *out, const char *name, const char *type, const char *help, int64_t value) {
    put_head(out, name, type, help);
    buf_printf(out, "%s %" PRId64 "\n", name, value);
}

/* A label's value, with its quotes. */
static void put_label(struct buf *out, const char *before, const char *value) {
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
    put_label(out, ",method=", name);
}

static void put_answers(struct buf *out, struct http_metrics *metrics) {
    put_head(out, "penstock_http_requests_total", "counter", "Answers of this process.");
    for (size_t i = 0; i < (metrics->routes + 1) * STATUSES; i++) {
        unsigned long long count = atomic_load(&metrics->counts[i]);
        if (count == 0) continue;
        const struct http_route *route = http__route_at(i / STATUSES);
        size_t slot = i % STATUSES;
        put_label(out, "penstock_http_requests_total{route=", route ? route->path : OTHER_ROUTE);
        put_method(out, route);
        buf_printf(out, ",status=\"%zu\"} %llu\n", (slot / IN_CLASS + 1) * 100 + slot % IN_CLASS, count);
    }
    put_head(out, "penstock_http_request_seconds", "histogram", "From the first line of a request to its last byte.");
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

static void put_queues(struct buf *out, const struct store_queue *queues, size_t count) {
    int64_t now = clock_wall_ms(&clock_system);
    put_head(out, "penstock_queue_depth", "gauge", "Jobs of a model that wait.");
    for (size_t i = 0; i < count; i++) {
        put_label(out, "penstock_queue_depth{model=", queues[i].model);
        buf_printf(out, "} %" PRId64 "\n", queues[i].queued);
    }
    put_head(out, "penstock_queue_running", "gauge", "Jobs of a model that run.");
    for (size_t i = 0; i < count; i++) {
        put_label(out, "penstock_queue_running{model=", queues[i].model);
        buf_printf(out, "} %" PRId64 "\n", queues[i].running);
    }
    put_head(out, "penstock_queue_oldest_age_seconds", "gauge", "How long the oldest ready job of a model has waited.");
    for (size_t i = 0; i < count; i++) {
        int64_t age =
            queues[i].oldest_ready_at && queues[i].oldest_ready_at < now ? now - queues[i].oldest_ready_at : 0;
        put_label(out, "penstock_queue_oldest_age_seconds{model=", queues[i].model);
        buf_printf(out, "} %.3f\n", (double)age / 1000);
    }
}

/* Of Redis. False: it does not answer; then the process tells of itself only. */
static bool put_store(struct http_request *req, struct buf *out) {
    struct store_stats stats;
    struct store_queue *queues;
    struct store_worker *workers;
    size_t queue_count, worker_count, busy = 0;
    enum store_mode all;
    struct err ignored;
    if (http__store(req, &ignored) != 0 || store_stats_get(req->st, &stats, &ignored) != 0 ||
        store_queue_list(req->st, &req->arena, &queues, &queue_count, &all, &ignored) != 0 ||
        store_worker_list(req->st, &req->arena, &workers, &worker_count, &ignored) != 0)
        return false;
    put_head(out, "penstock_jobs", "gauge", "Records by state.");
    for (enum job_state state = JOB_STATE_QUEUED; state < JOB_STATE_COUNT; state++)
        buf_printf(out, "penstock_jobs{state=\"%s\"} %" PRId64 "\n", job_state_name(state), stats.by_state[state]);
    put_queues(out, queues, queue_count);
    put_plain(out, "penstock_outbox_entries", "gauge", "Batches of events that Kafka has not acknowledged.",
              stats.outbox_entries);
    for (size_t i = 0; i < worker_count; i++) busy += workers[i].held > 0;
    put_head(out, "penstock_workers", "gauge", "Registered workers.");
    buf_printf(out, "penstock_workers{state=\"busy\"} %zu\npenstock_workers{state=\"idle\"} %zu\n", busy,
               worker_count - busy);
    return true;
}

int http__metrics_get(struct http_request *req, struct err *err) {
    struct buf *out = &req->res.body;
    put_head(out, "penstock_build_info", "gauge", "1.");
    put_label(out, "penstock_build_info{version=", req->http->cfg.version);
    buf_puts(out, "} 1\n");
    put_plain(out, "penstock_kafka_up", "gauge", "1: Kafka answers this process.",
              http__monitor_kafka(req->http->monitor));
    bool redis = put_store(req, out);
    put_plain(out, "penstock_redis_up", "gauge", "1: Redis answers this process.", redis);
    put_answers(out, req->http->metrics);
    req->res.status = 200;
    req->res.type = "text/plain; version=0.0.4; charset=utf-8";
    return HTTP_DONE;
}
