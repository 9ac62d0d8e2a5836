/* Looking for new models while jobs run.
 *
 * Polling, as Triton does it: a repository may lie on any file system, and most that are shared tell nobody of changes.
 * The loader's thread makes a new set of models from the last one it made; the main thread fetches it between two
 * steps. A set that was not fetched when the next one is ready is dropped, since the next one has all of it.
 * `before` is touched by this thread alone; what it points to lives, because the main thread lets go of a set only for
 * a later one, and that is in `before` by then. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "penstock/log.h"
#include "worker_internal.h"

#define ROLE "worker"

struct worker_loader {
    struct worker_model_options options;
    int64_t poll_ms;
    pthread_t thread;
    struct worker_models *before; /* what the next set is compared with */
    struct err complaint;         /* the last one: told once */

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct worker_models *fresh; /* not yet taken */
    bool quit;
};

static void offer(struct worker_loader *loader, struct worker_models *fresh) {
    pthread_mutex_lock(&loader->lock);
    struct worker_models *missed = loader->fresh;
    loader->before = fresh;
    loader->fresh = fresh;
    pthread_mutex_unlock(&loader->lock);
    worker_models_free(missed);
}

static void look(struct worker_loader *loader) {
    struct worker_models *fresh;
    struct err err;
    if (worker__models_next(loader->before, &loader->options, &fresh, &err) == 0) {
        loader->complaint.msg[0] = '\0';
        if (fresh) offer(loader, fresh);
    } else if (strcmp(loader->complaint.msg, err.msg) != 0) {
        log_err(ROLE, &err);
        loader->complaint = err;
    }
    worker__models_collect(loader->before);
}

/* Waits for the next look; false: it is time to end. */
static bool wait_for_look(struct worker_loader *loader) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + loader->poll_ms % 1000 * 1000000;
    until.tv_sec += loader->poll_ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&loader->lock);
    int rc = 0;
    while (!loader->quit && rc != ETIMEDOUT) rc = pthread_cond_timedwait(&loader->changed, &loader->lock, &until);
    bool quit = loader->quit;
    pthread_mutex_unlock(&loader->lock);
    return !quit;
}

static void *run_loader(void *self) {
    struct worker_loader *loader = self;
    while (wait_for_look(loader)) look(loader);
    return NULL;
}

struct worker_loader *worker_loader_new(const struct worker_model_options *options, struct worker_models *now,
                                        int64_t poll_ms) {
    struct worker_loader *loader = mem_calloc(1, sizeof *loader);
    pthread_condattr_t attr;
    loader->options = *options;
    loader->before = now;
    loader->poll_ms = poll_ms;
    pthread_mutex_init(&loader->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&loader->changed, &attr);
    pthread_condattr_destroy(&attr);
    BUG_ON(pthread_create(&loader->thread, NULL, run_loader, loader) != 0);
    return loader;
}

struct worker_models *worker_loader_take(struct worker_loader *loader) {
    pthread_mutex_lock(&loader->lock);
    struct worker_models *fresh = loader->fresh;
    loader->fresh = NULL;
    pthread_mutex_unlock(&loader->lock);
    return fresh;
}

void worker_loader_free(struct worker_loader *loader) {
    if (!loader) return;
    pthread_mutex_lock(&loader->lock);
    loader->quit = true;
    pthread_cond_signal(&loader->changed);
    pthread_mutex_unlock(&loader->lock);
    pthread_join(loader->thread, NULL);
    worker_models_free(loader->fresh);
    pthread_mutex_destroy(&loader->lock);
    pthread_cond_destroy(&loader->changed);
    free(loader);
}
