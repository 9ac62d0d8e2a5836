/* Under ThreadSanitizer only: librdkafka's C11 threads as POSIX ones.
 *
 * librdkafka starts its threads with thrd_create and locks with mtx_lock. ThreadSanitizer does not know these: a thread
 * that it has not seen start crashes in the first function that it does know. So, in such a build, these definitions
 * take the place of the C library's for the whole program and pass on to the POSIX functions, which it intercepts; with
 * that it also sees librdkafka's locks, and an exchange under them is no race. glibc's mtx_t, cnd_t, thrd_t and
 * once_flag are its pthread types under other names, which is what makes the casts sound; other builds do not contain
 * this file's code. */
#include "bus_internal.h"

#ifdef __SANITIZE_THREAD__
#include <errno.h>
#include <stdlib.h>
#include <threads.h>

#include "penstock/mem.h"

/* librdkafka destroys the lock of an object with the last reference to it, which it counts with atomics that stand in
 * code without instrumentation: the order is there, ThreadSanitizer cannot see it. We use no rwlock ourselves. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) { return "race:pthread_rwlock_destroy\n"; }

struct start {
    thrd_start_t func;
    void *arg;
};

static void *run(void *arg) {
    struct start start = *(struct start *)arg;
    free(arg);
    return (void *)(intptr_t)start.func(start.arg);
}

static int result_of(int errnum) {
    switch (errnum) {
    case 0:
        return thrd_success;
    case EBUSY:
        return thrd_busy;
    case ETIMEDOUT:
        return thrd_timedout;
    case ENOMEM:
        return thrd_nomem;
    default:
        return thrd_error;
    }
}

int thrd_create(thrd_t *ret, thrd_start_t func, void *arg) {
    struct start *start = mem_alloc(sizeof *start);
    *start = (struct start){func, arg};
    return result_of(pthread_create(ret, NULL, run, start));
}

int thrd_join(thrd_t thread, int *ret) {
    void *value;
    int rc = result_of(pthread_join(thread, &value));
    if (ret && rc == thrd_success) *ret = (int)(intptr_t)value;
    return rc;
}

/* The library's own global lock is made by whichever thread comes first. */
void call_once(once_flag *flag, void (*func)(void)) { pthread_once((pthread_once_t *)flag, func); }

int mtx_init(mtx_t *mutex, int type) {
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    if (type & mtx_recursive) pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    int rc = pthread_mutex_init((pthread_mutex_t *)mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    return result_of(rc);
}

int mtx_lock(mtx_t *mutex) { return result_of(pthread_mutex_lock((pthread_mutex_t *)mutex)); }
int mtx_unlock(mtx_t *mutex) { return result_of(pthread_mutex_unlock((pthread_mutex_t *)mutex)); }
void mtx_destroy(mtx_t *mutex) { pthread_mutex_destroy((pthread_mutex_t *)mutex); }
int cnd_init(cnd_t *cond) { return result_of(pthread_cond_init((pthread_cond_t *)cond, NULL)); }
int cnd_signal(cnd_t *cond) { return result_of(pthread_cond_signal((pthread_cond_t *)cond)); }
int cnd_broadcast(cnd_t *cond) { return result_of(pthread_cond_broadcast((pthread_cond_t *)cond)); }
void cnd_destroy(cnd_t *cond) { pthread_cond_destroy((pthread_cond_t *)cond); }

int cnd_wait(cnd_t *cond, mtx_t *mutex) {
    return result_of(pthread_cond_wait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(cnd_t *cond, mtx_t *mutex, const struct timespec *until) {
    return result_of(pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, until));
}
#endif

/* A file without a symbol that somebody refers to would not be taken out of the static library. */
const char bus__tsan = 0;
