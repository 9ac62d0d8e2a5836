/* The executor thread: one batch handed over at a time, its end told through an eventfd, so that the main thread can
 * wait for it and for Redis in one poll(). Nothing else is shared. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "worker_internal.h"

struct runner_thread {
    struct worker_runner base; /* first: the vtable's self */
    const struct clock *clock;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct worker_batch *todo; /* NULL: none */
    bool quit;
    int done_fd;
};

static void *run_thread(void *arg) {
    struct runner_thread *runner = arg;
    pthread_mutex_lock(&runner->lock);
    for (;;) {
        while (!runner->todo && !runner->quit) pthread_cond_wait(&runner->changed, &runner->lock);
        if (!runner->todo) break;
        struct worker_batch *batch = runner->todo;
        pthread_mutex_unlock(&runner->lock);
        worker_batch_run(batch, runner->clock);
        pthread_mutex_lock(&runner->lock);
        runner->todo = NULL;
        if (eventfd_write(runner->done_fd, 1) != 0) err_bug("eventfd_write", __FILE__, __LINE__);
    }
    pthread_mutex_unlock(&runner->lock);
    return NULL;
}

static void thread_start(struct worker_runner *base, struct worker_batch *batch) {
    struct runner_thread *runner = (struct runner_thread *)base;
    pthread_mutex_lock(&runner->lock);
    BUG_ON(runner->todo);
    runner->todo = batch;
    pthread_cond_signal(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
}

static bool thread_done(struct worker_runner *base) {
    struct runner_thread *runner = (struct runner_thread *)base;
    eventfd_t count;
    return eventfd_read(runner->done_fd, &count) == 0;
}

static int thread_fd(struct worker_runner *base) { return ((struct runner_thread *)base)->done_fd; }

static void thread_free(struct worker_runner *base) {
    struct runner_thread *runner = (struct runner_thread *)base;
    pthread_mutex_lock(&runner->lock);
    runner->quit = true;
    pthread_cond_signal(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
    pthread_join(runner->thread, NULL);
    pthread_cond_destroy(&runner->changed);
    pthread_mutex_destroy(&runner->lock);
    close(runner->done_fd);
    free(runner);
}

struct worker_runner *worker_thread_new(const struct clock *clock) {
    struct runner_thread *runner = mem_calloc(1, sizeof *runner);
    runner->base = (struct worker_runner){thread_start, thread_done, thread_fd, thread_free};
    runner->clock = clock;
    runner->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    BUG_ON(runner->done_fd < 0);
    pthread_mutex_init(&runner->lock, NULL);
    pthread_cond_init(&runner->changed, NULL);
    BUG_ON(pthread_create(&runner->thread, NULL, run_thread, runner) != 0);
    return &runner->base;
}
