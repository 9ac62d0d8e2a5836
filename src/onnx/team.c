/* A team: the threads of one session, which share out the work of one kernel at a time.
 *
 * A kernel cuts its work into tasks that write to different places, and whoever is free takes the next: the caller is
 * one of the team. Helpers that are still asleep when the last task is taken are not waited for, so that a machine with
 * other work on it costs a run no more than the help itself; they only ever enter a round that is still open. Between
 * rounds a helper looks for the next one for some microseconds before it sleeps, since kernels follow each other
 * closely.
 *
 * Why not the threads of BLAS: they help BLAS alone, and sleep and wake in their own time beside any others. Here BLAS
 * is called from the tasks, one thread each, so that there is one set of threads, for every kernel. What breaks if this
 * is changed: `open` and `inside` only change under the mutex, or a late helper could take tasks of a round whose
 * kernel has returned.
 */
#include "onnx_internal.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#define LOOKS_BEFORE_SLEEP 2000 /* some 20 us: longer than the gap between two kernels, shorter than anyone notices */

struct onnx__team {
    int helpers;
    pthread_t *threads;
    pthread_mutex_t mutex;
    pthread_cond_t begun, ended;
    atomic_ulong round;
    atomic_bool leaves;
    bool open;
    int inside; /* helpers at work in the open round */
    onnx__task_fn *task;
    void *ctx;
    int64_t count;
    atomic_llong next;
};

struct helper {
    struct onnx__team *team;
    int number;
};

static void work(struct onnx__team *team, onnx__task_fn *task, void *ctx, int64_t count, int worker) {
    for (;;) {
        int64_t number = atomic_fetch_add(&team->next, 1);
        if (number >= count) return;
        task(ctx, number, worker);
    }
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Waits for a round after `seen`. */
static unsigned long await_round(struct onnx__team *team, unsigned long seen) {
    for (int i = 0; i < LOOKS_BEFORE_SLEEP; i++) {
        if (atomic_load(&team->round) != seen || atomic_load(&team->leaves)) break;
        relax();
    }
    pthread_mutex_lock(&team->mutex);
    while (atomic_load(&team->round) == seen && !atomic_load(&team->leaves))
        pthread_cond_wait(&team->begun, &team->mutex);
    pthread_mutex_unlock(&team->mutex);
    return atomic_load(&team->round);
}

/* Signals are for the threads that wait for them. */
static void *help(void *arg) {
    struct helper me = *(struct helper *)arg;
    struct onnx__team *team = me.team;
    unsigned long seen = 0;
    sigset_t all;
    free(arg);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (;;) {
        seen = await_round(team, seen);
        if (atomic_load(&team->leaves)) return NULL;
        pthread_mutex_lock(&team->mutex);
        bool enters = team->open;
        onnx__task_fn *task = team->task;
        void *ctx = team->ctx;
        int64_t count = team->count;
        if (enters) {
            team->inside++;
            seen = atomic_load(&team->round);
        }
        pthread_mutex_unlock(&team->mutex);
        if (!enters) continue;
        work(team, task, ctx, count, me.number);
        pthread_mutex_lock(&team->mutex);
        if (--team->inside == 0) pthread_cond_signal(&team->ended);
        pthread_mutex_unlock(&team->mutex);
    }
}

/* A helper that the system refuses is done without: the work is the same. */
struct onnx__team *onnx__team_new(int threads) {
    struct onnx__team *team = mem_calloc(1, sizeof *team);
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->begun, NULL);
    pthread_cond_init(&team->ended, NULL);
    team->threads = mem_calloc((size_t)threads, sizeof *team->threads);
    while (team->helpers < threads - 1) {
        struct helper *helper = mem_alloc(sizeof *helper);
        *helper = (struct helper){team, team->helpers + 1};
        if (pthread_create(&team->threads[team->helpers], NULL, help, helper) != 0) {
            free(helper);
            break;
        }
        team->helpers++;
    }
    return team;
}

void onnx__team_free(struct onnx__team *team) {
    if (!team) return;
    pthread_mutex_lock(&team->mutex);
    atomic_store(&team->leaves, true);
    pthread_cond_broadcast(&team->begun);
    pthread_mutex_unlock(&team->mutex);
    for (int i = 0; i < team->helpers; i++) pthread_join(team->threads[i], NULL);
    pthread_cond_destroy(&team->begun);
    pthread_cond_destroy(&team->ended);
    pthread_mutex_destroy(&team->mutex);
    free(team->threads);
    free(team);
}

int onnx__team_size(const struct onnx__team *team) { return team ? team->helpers + 1 : 1; }

void onnx__team_run(struct onnx__team *team, int64_t count, onnx__task_fn *task, void *ctx) {
    if (!team || team->helpers == 0 || count < 2) {
        for (int64_t i = 0; i < count; i++) task(ctx, i, 0);
        return;
    }
    pthread_mutex_lock(&team->mutex);
    team->open = true;
    team->task = task;
    team->ctx = ctx;
    team->count = count;
    atomic_store(&team->next, 0);
    atomic_fetch_add(&team->round, 1);
    pthread_cond_broadcast(&team->begun);
    pthread_mutex_unlock(&team->mutex);
    work(team, task, ctx, count, 0);
    pthread_mutex_lock(&team->mutex);
    team->open = false;
    while (team->inside > 0) pthread_cond_wait(&team->ended, &team->mutex);
    pthread_mutex_unlock(&team->mutex);
}
