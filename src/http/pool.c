/* The workers: a few threads, each with a connection to Redis, that run the handlers, so that a slow Redis holds up
 * neither the connections' threads nor what needs no Redis (health, files, refusals).
 *
 * While Redis is away nobody is kept waiting for it: the first request that finds out says so for all others for a
 * while, and each of those is answered 503 at once. */
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"
#include "penstock/clock.h"

#define QUEUE_MAX_MS  5000 /* who waited so long for a worker is told to come again */
#define STORE_WAIT_MS 2000 /* the longest wait for Redis, whatever store.timeout_ms says */

struct worker {
    struct http_pool *pool;
    struct store *st;
    pthread_t thread;
};
struct http_pool {
    struct http *http;
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct http_request *first, **last; /* the queue */
    bool stopping;
    struct worker *workers;
    int count, started;
};

static struct http_request *take(struct http_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    while (!pool->first && !pool->stopping) pthread_cond_wait(&pool->filled, &pool->lock);
    struct http_request *req = pool->first;
    if (req) {
        pool->first = req->next;
        if (!pool->first) pool->last = &pool->first;
    }
    pthread_mutex_unlock(&pool->lock);
    return req;
}

static int call(struct worker *worker, struct http_request *req, struct err *err) {
    int64_t now = clock_mono_ms(&clock_system);
    if (now - req->queued_ms > QUEUE_MAX_MS)
        return err_set(err, ERR_OVERLOADED, "no worker was free for %d s", QUEUE_MAX_MS / 1000);
    req->st = worker->st;
    int verdict = req->step(req, err);
    if (verdict < 0 && err->code == ERR_STORE_UNAVAILABLE)
        atomic_store(&req->http->store_down_until, now + HTTP_STORE_DOWN_MS);
    return verdict;
}

static void *run(void *arg) {
    struct worker *worker = arg;
    struct http_request *req;
    while ((req = take(worker->pool))) {
        struct err err;
        int verdict = call(worker, req, &err);
        if (verdict < 0) http__fail(req, &err);
        if (verdict != HTTP_LATER) http__answer(req);
    }
    return NULL;
}

void http__continue(struct http_request *req, http_handler_fn *step) {
    struct http_pool *pool = req->http->pool;
    req->step = step;
    req->next = NULL;
    req->queued_ms = clock_mono_ms(&clock_system);
    pthread_mutex_lock(&pool->lock);
    *pool->last = req;
    pool->last = &req->next;
    pthread_cond_signal(&pool->filled);
    pthread_mutex_unlock(&pool->lock);
}

int http__store(struct http_request *req, struct err *err) {
    if (clock_mono_ms(&clock_system) >= atomic_load(&req->http->store_down_until)) return 0;
    return err_set(err, ERR_STORE_UNAVAILABLE, "redis did not answer a moment ago");
}

int http__store_open(struct http *http, struct store **ret, struct err *err) {
    struct store_config cfg = http->cfg.store;
    cfg.may_recover = false;
    if (cfg.timeout_ms > STORE_WAIT_MS) cfg.timeout_ms = STORE_WAIT_MS;
    return store_open(&cfg, ret, err);
}

int http__pool_new(struct http *http, struct http_pool **ret, struct err *err) {
    struct http_pool *pool = mem_calloc(1, sizeof *pool);
    pool->http = http;
    pool->last = &pool->first;
    pool->count = http->cfg.threads;
    pool->workers = mem_calloc((size_t)pool->count, sizeof *pool->workers);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->filled, NULL);
    for (int i = 0; i < pool->count; i++) {
        pool->workers[i].pool = pool;
        if (http__store_open(http, &pool->workers[i].st, err) != 0) {
            http__pool_stop(pool);
            return -1;
        }
    }
    for (; pool->started < pool->count; pool->started++)
        http__thread(&pool->workers[pool->started].thread, run, &pool->workers[pool->started]);
    *ret = pool;
    return 0;
}

void http__pool_stop(struct http_pool *pool) {
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->filled);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->started; i++) pthread_join(pool->workers[i].thread, NULL);
    for (int i = 0; i < pool->count; i++) store_free(pool->workers[i].st);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->filled);
    free(pool->workers);
    free(pool);
}
