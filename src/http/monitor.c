/* What is so at present: does Redis answer, does Kafka, what is ready to run, how much waits. Two threads ask, once a
 * second or so; whoever wants to know, health checks above all, gets what it found and waits for nobody. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"
#include "penstock/clock.h"
#include "penstock/store_policy.h"
#include "penstock/wire_json.h"

#define TICK_MS  200
#define LOOK_MS  1000
#define KAFKA_MS 2000

struct http_monitor {
    struct http *http;
    struct store *st;
    pthread_t thread, kafka_thread; /* each waits for nobody but its own */
    atomic_bool stopping;
    pthread_mutex_t lock; /* of what follows */
    bool redis, kafka;
    int64_t models; /* versions that a worker has ready */
    char why[256];  /* Redis does not answer */
    enum store_mode all;
    struct arena arena; /* of queues */
    struct store_queue *queues;
    size_t queue_count;
};

/* --- looking -------------------------------------------------------------------------------------------------------
 */

/* Of one worker, as it registered them: an array of objects. */
static int64_t count_models(const char *json) {
    struct wire_slice rest = {json, json ? strlen(json) : 0}, model;
    int64_t count = 0;
    while (rest.len && wire_json_element(&rest, &model)) count++;
    return count;
}

static void look_at_store(struct http_monitor *monitor) {
    struct arena arena;
    struct store_queue *queues = NULL;
    struct store_worker *workers = NULL;
    size_t queue_count = 0, worker_count = 0;
    enum store_mode all = STORE_MODE_OPEN;
    struct err err;
    arena_init(&arena);
    bool there = store_queue_list(monitor->st, &arena, &queues, &queue_count, &all, &err) == 0 &&
                 store_worker_list(monitor->st, &arena, &workers, &worker_count, &err) == 0;
    int64_t models = 0;
    for (size_t i = 0; there && i < worker_count; i++) models += count_models(workers[i].models);
    pthread_mutex_lock(&monitor->lock);
    monitor->redis = there;
    if (there) {
        struct arena before = monitor->arena;
        monitor->arena = arena;
        arena = before;
        monitor->queues = queues;
        monitor->queue_count = queue_count;
        monitor->models = models;
        monitor->all = all;
    } else {
        snprintf(monitor->why, sizeof monitor->why, "%.*s", (int)sizeof monitor->why - 1, err.msg);
    }
    pthread_mutex_unlock(&monitor->lock);
    if (there) atomic_store(&monitor->http->store_down_until, 0);
    arena_done(&arena);
}

static void look_at_kafka(struct http_monitor *monitor) {
    bool there = http__publisher_probe(monitor->http->publisher);
    pthread_mutex_lock(&monitor->lock);
    monitor->kafka = there;
    pthread_mutex_unlock(&monitor->lock);
}

static void *run_kafka(void *arg) {
    struct http_monitor *monitor = arg;
    int64_t at = 0;
    while (!atomic_load(&monitor->stopping)) {
        int64_t now = clock_mono_ms(&clock_system);
        if (now >= at) {
            look_at_kafka(monitor);
            at = now + KAFKA_MS;
        }
        http__pause_ms(TICK_MS);
    }
    return NULL;
}

static void *run(void *arg) {
    struct http_monitor *monitor = arg;
    int64_t store_at = 0;
    while (!atomic_load(&monitor->stopping)) {
        int64_t now = clock_mono_ms(&clock_system);
        if (now >= store_at) {
            look_at_store(monitor);
            store_at = now + LOOK_MS;
        }
        http__pause_ms(TICK_MS);
    }
    return NULL;
}

int http__monitor_new(struct http *http, struct http_monitor **ret, struct err *err) {
    struct http_monitor *monitor = mem_calloc(1, sizeof *monitor);
    monitor->http = http;
    if (http__store_open(http, &monitor->st, err) != 0) {
        free(monitor);
        return -1;
    }
    strcpy(monitor->why, "not asked yet");
    arena_init(&monitor->arena);
    pthread_mutex_init(&monitor->lock, NULL);
    http__thread(&monitor->thread, run, monitor);
    http__thread(&monitor->kafka_thread, run_kafka, monitor);
    *ret = monitor;
    return 0;
}

void http__monitor_stop(struct http_monitor *monitor) {
    if (!monitor) return;
    atomic_store(&monitor->stopping, true);
    pthread_join(monitor->thread, NULL);
    pthread_join(monitor->kafka_thread, NULL);
    store_free(monitor->st);
    arena_done(&monitor->arena);
    pthread_mutex_destroy(&monitor->lock);
    free(monitor);
}

/* --- telling -------------------------------------------------------------------------------------------------------
 */

int http__monitor_admit(struct http_monitor *monitor, const char *model, struct err *err) {
    const struct http_config *cfg = &monitor->http->cfg;
    struct model_policy policy = {0};
    int rc = 0;
    if (cfg->model) (void)cfg->model(cfg->self, model, NULL, &policy);
    int64_t limit = policy.max_queued ? policy.max_queued : cfg->max_queued;
    pthread_mutex_lock(&monitor->lock);
    if (monitor->all == STORE_MODE_DRAINING) rc = err_set(err, ERR_DRAINING, "everything is draining");
    for (size_t i = 0; rc == 0 && i < monitor->queue_count; i++) {
        const struct store_queue *queue = &monitor->queues[i];
        if (strcmp(queue->model, model) != 0) continue;
        if (queue->mode == STORE_MODE_DRAINING) rc = err_set(err, ERR_DRAINING, "model %s is draining", model);
        if (rc == 0 && limit > 0 && queue->queued >= limit)
            rc = err_set(err, ERR_QUEUE_FULL, "%lld jobs of model %s wait already", (long long)queue->queued, model);
    }
    pthread_mutex_unlock(&monitor->lock);
    return rc;
}

bool http__monitor_kafka(struct http_monitor *monitor) {
    pthread_mutex_lock(&monitor->lock);
    bool there = monitor->kafka;
    pthread_mutex_unlock(&monitor->lock);
    return there;
}

int http__live(struct http_request *req, struct err *err) {
    buf_puts(&req->res.body, "{\"live\":true}");
    http__json(req, 200);
    return HTTP_DONE;
}

int http__ready(struct http_request *req, struct err *err) {
    struct http_monitor *monitor = req->http->monitor;
    struct buf *out = &req->res.body;
    pthread_mutex_lock(&monitor->lock);
    bool ready = monitor->redis && monitor->kafka && monitor->models > 0;
    const char *reason = !monitor->redis   ? monitor->why
                         : !monitor->kafka ? "kafka does not answer"
                                           : "no worker has a model ready";
    buf_printf(out, "{\"ready\":%s,\"redis\":%s,\"kafka\":%s,\"models\":%lld", ready ? "true" : "false",
               monitor->redis ? "true" : "false", monitor->kafka ? "true" : "false", (long long)monitor->models);
    if (!ready) {
        buf_puts(out, ",\"reason\":");
        wire_json_string(reason, strlen(reason), out);
    }
    pthread_mutex_unlock(&monitor->lock);
    buf_puts(out, "}");
    http__json(req, ready ? 200 : 503);
    if (!ready) http__header(req, "Retry-After", "1");
    return HTTP_DONE;
}
