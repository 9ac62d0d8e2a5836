/* Requests that wait for a job to end: one thread looks at the records, the requests cost no thread. It looks soon
 * after the start, since most jobs are short, and then less and less often; the more wait, the longer the pauses, so
 * that waiting never costs Redis more than some thousand looks a second. Who knows that a job has ended says so
 * (http__wait_hint), and then it is looked at at once. */
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"
#include "penstock/clock.h"

#define PAUSE_FIRST_MS 4
#define PAUSE_MAX_MS   200
#define LOOKS_PER_MS   2
#define STORE_PAUSE_MS 200 /* while Redis does not answer */

struct wait {
    struct http_request *req;
    http_handler_fn *step;
    int64_t deadline_ms, look_ms, pause_ms;
    struct wait *next;
};
struct http_waiter {
    struct http *http;
    struct store *st;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct wait *waits;
    size_t count;
    bool stopping, running;
    pthread_t thread;
};

int http__wait(struct http_request *req, http_handler_fn *step) {
    struct http_waiter *waiter = req->http->waiter;
    struct wait *wait = mem_calloc(1, sizeof *wait);
    int64_t now = clock_mono_ms(&clock_system);
    *wait = (struct wait){
        .req = req, .step = step, .deadline_ms = now + req->wait_ms, .look_ms = now, .pause_ms = PAUSE_FIRST_MS};
    pthread_mutex_lock(&waiter->lock);
    bool stopping = waiter->stopping;
    if (!stopping) {
        wait->next = waiter->waits;
        waiter->waits = wait;
        waiter->count++;
        pthread_cond_signal(&waiter->changed);
    }
    pthread_mutex_unlock(&waiter->lock);
    if (stopping) {
        free(wait);
        http__continue(req, step);
    }
    return HTTP_LATER;
}

void http__wait_hint(struct http *http, const char *job_id) {
    struct http_waiter *waiter = http->waiter;
    pthread_mutex_lock(&waiter->lock);
    for (struct wait *wait = waiter->waits; wait; wait = wait->next)
        if (strcmp(wait->req->job_id, job_id) == 0) {
            wait->look_ms = 0;
            pthread_cond_signal(&waiter->changed);
        }
    pthread_mutex_unlock(&waiter->lock);
}

/* Sleeps until one is due; takes those that are off the list. Under the lock. */
static struct wait *take_due(struct http_waiter *waiter) {
    int64_t now = clock_mono_ms(&clock_system), next = now + 1000;
    for (struct wait *wait = waiter->waits; wait; wait = wait->next)
        if (wait->look_ms < next) next = wait->look_ms;
    if (!waiter->stopping && next > now) {
        struct timespec at;
        clock_gettime(CLOCK_MONOTONIC, &at);
        at.tv_nsec += (next - now) % 1000 * 1000000;
        at.tv_sec += (next - now) / 1000 + at.tv_nsec / 1000000000;
        at.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&waiter->changed, &waiter->lock, &at);
    }
    struct wait *due = NULL;
    now = clock_mono_ms(&clock_system);
    for (struct wait **link = &waiter->waits; *link;) {
        struct wait *wait = *link;
        if (wait->look_ms > now && !waiter->stopping) {
            link = &wait->next;
            continue;
        }
        *link = wait->next;
        wait->next = due;
        due = wait;
    }
    return due;
}

static bool has_ended(struct http_waiter *waiter, struct wait *wait, struct arena *arena, bool *store_down) {
    struct job_record rec;
    struct err err;
    if (*store_down) return false;
    if (store_job_get(waiter->st, wait->req->job_id, arena, &rec, &err) != 0) {
        *store_down = true; /* asking for the others would only take as long again */
        return false;
    }
    return job_state_is_terminal(rec.state);
}

static void look_at(struct http_waiter *waiter, struct wait *due) {
    struct arena arena;
    bool store_down = false;
    arena_init(&arena);
    while (due) {
        struct wait *wait = due;
        due = wait->next;
        arena_reset(&arena);
        bool over = waiter->stopping || has_ended(waiter, wait, &arena, &store_down);
        int64_t now = clock_mono_ms(&clock_system);
        pthread_mutex_lock(&waiter->lock);
        if (over || now >= wait->deadline_ms) {
            waiter->count--;
        } else {
            int64_t slowest = PAUSE_MAX_MS + (int64_t)waiter->count / LOOKS_PER_MS;
            wait->pause_ms = store_down ? STORE_PAUSE_MS : wait->pause_ms * 3 / 2;
            if (wait->pause_ms > slowest) wait->pause_ms = slowest;
            wait->look_ms = now + wait->pause_ms < wait->deadline_ms ? now + wait->pause_ms : wait->deadline_ms;
            wait->next = waiter->waits;
            waiter->waits = wait;
            wait = NULL;
        }
        pthread_mutex_unlock(&waiter->lock);
        if (wait) http__continue(wait->req, wait->step);
        free(wait);
    }
    arena_done(&arena);
}

static void *run(void *arg) {
    struct http_waiter *waiter = arg;
    bool over = false;
    while (!over) {
        pthread_mutex_lock(&waiter->lock);
        struct wait *due = take_due(waiter);
        over = waiter->stopping;
        pthread_mutex_unlock(&waiter->lock);
        look_at(waiter, due);
    }
    return NULL;
}

int http__waiter_new(struct http *http, struct http_waiter **ret, struct err *err) {
    struct http_waiter *waiter = mem_calloc(1, sizeof *waiter);
    pthread_condattr_t attr;
    waiter->http = http;
    if (http__store_open(http, &waiter->st, err) != 0) {
        free(waiter);
        return -1;
    }
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&waiter->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&waiter->lock, NULL);
    http__thread(&waiter->thread, run, waiter);
    waiter->running = true;
    *ret = waiter;
    return 0;
}

void http__waiter_stop(struct http_waiter *waiter) {
    pthread_mutex_lock(&waiter->lock);
    waiter->stopping = true;
    pthread_cond_signal(&waiter->changed);
    pthread_mutex_unlock(&waiter->lock);
    pthread_join(waiter->thread, NULL);
    waiter->running = false;
}

void http__waiter_free(struct http_waiter *waiter) {
    if (!waiter) return;
    if (waiter->running) http__waiter_stop(waiter);
    store_free(waiter->st);
    pthread_cond_destroy(&waiter->changed);
    pthread_mutex_destroy(&waiter->lock);
    free(waiter);
}
