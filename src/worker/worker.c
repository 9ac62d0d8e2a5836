/* The worker's loop.
 *
 * Problem: a job may be cancelled, time out, or be given to another worker while it runs here; the process may be
 * stopped at any point; and the executor must not wait for Redis between batches. Design: one batch runs in the runner,
 * at most one more is claimed ahead, at most one is finished but not yet told to the store. Each step looks at all
 * three: collect what ended, start what is ready, tell the store (finishing and claiming in one call), renew the leases
 * of everything held, end what must not go on. The step never blocks except in Redis calls, and it keeps what it could
 * not tell the store until it can. A batch is claimed ahead on the guess that the running one is quick; when the guess
 * was wrong it is given back, because its jobs would wait here, marked as running, while other workers have nothing to
 * do. A run that does not obey should_stop within the grace period cannot be stopped from
 * within the process: the step saves what it can and asks for the process to end. A cancelled job among those is not
 * reported cancelled by us: the supervisor (or the lease) does it once this process is dead, when the work has really
 * stopped. What breaks if changed: claiming before the running batch is known to be healthy, or renewing what was lost,
 * would let two workers believe that they hold the same job; only the token in the store decides, and everything here
 * is written so that a lost lease costs work, never truth. */
#include "penstock/worker.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "penstock/log.h"
#include "penstock/store_view.h"
#include "penstock/store_watch.h"
#include "worker_internal.h"

#define ROLE                "worker"
#define IDLE_CLAIM_MS       250 /* claim this often although nothing was told: messages may be lost */
#define PROGRESS_MS         500 /* progress reaches the record at most this often */
#define REGISTER_TTL_LEASES 3
#define AHEAD_PATIENCE      4   /* what is claimed ahead waits so many times prefetch_below_ms, then it goes back */
#define RETRY_CALL_MS       100 /* after the store was not there */
#define SECOND_LOOK_MS      50

struct worker {
    struct worker_config cfg;
    struct store *st;
    struct worker_models *models;
    struct worker_runner *runner;
    const struct clock *clock;
    struct worker_batch *running, *ahead, *ended; /* in the runner; claimed ahead; finished, not yet told */
    struct arena arena;                           /* receives claims */
    bool draining, woken, renew_now, stuck;
    pthread_mutex_t guard_lock; /* of the two that follow: see worker_must_end */
    const struct worker_batch *guarded;
    int64_t end_by_ms;
    int64_t claim_at_ms, renew_at_ms, register_at_ms, progress_at_ms, started_at;
    int64_t overdue_ms;  /* when a run was first seen that should be over; INT64_MAX: none is */
    int64_t patience_ms; /* the moment at which the running batch is no longer quick */
    int64_t batch_us;    /* smoothed time of a batch; -1: none yet */
    uint64_t seed;
    struct worker_stats stats;
};

static int64_t now_ms(const struct worker *worker) { return clock_mono_ms(worker->clock); }

/* xorshift64*: jitter needs spread, not secrecy. */
static uint64_t draw(struct worker *worker, uint64_t below) {
    worker->seed ^= worker->seed >> 12;
    worker->seed ^= worker->seed << 25;
    worker->seed ^= worker->seed >> 27;
    return below ? (worker->seed * UINT64_C(2685821657736338717) >> 16) % below : 0;
}

static int64_t first_said(int64_t job, int64_t model, int64_t configured) {
    return job ? job : model ? model : configured;
}

/* Exponential with full jitter: uniform in [0, base * 2^(attempt - 1)], capped. Source: M. Brooker, "Exponential
 * Backoff and Jitter". What the job says goes before what its model says, and that before the configuration. */
static int64_t backoff_ms(struct worker *worker, const struct worker__job *job) {
    static const struct model_policy nothing_said;
    const struct model_policy *policy = job->model ? &job->model->entry.policy : &nothing_said;
    int64_t most = first_said(job->claim.backoff_ms, policy->backoff_ms, worker->cfg.backoff_ms);
    int64_t cap = first_said(job->claim.backoff_max_ms, policy->backoff_max_ms, worker->cfg.backoff_max_ms);
    for (int i = 1; i < job->claim.attempt && most < cap; i++) most *= 2;
    if (most > cap) most = cap;
    return (int64_t)draw(worker, (uint64_t)most + 1);
}

static size_t batch_count(const struct worker_batch *batch) { return batch ? batch->count : 0; }

static int64_t first_lost_ms(const struct worker_batch *batch) {
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < batch_count(batch); i++) {
        int64_t lost_ms = atomic_load(&batch->jobs[i].leased_us) / 1000;
        if (lost_ms < first) first = lost_ms;
    }
    return first;
}

/* What another worker may have by now is worked on for a quarter of a lease at most. By then the process must have
 * ended, even if its main thread waits for a store that does not answer. */
static void set_end_by(struct worker *worker) {
    struct worker_batch *batch = worker->running;
    int64_t end_by_ms = batch ? first_lost_ms(batch) + worker->cfg.lease_ms / 4 : INT64_MAX;
    pthread_mutex_lock(&worker->guard_lock);
    worker->guarded = batch;
    worker->end_by_ms = end_by_ms;
    pthread_mutex_unlock(&worker->guard_lock);
}

bool worker_must_end(struct worker *worker) {
    pthread_mutex_lock(&worker->guard_lock);
    bool runs = worker->guarded && !atomic_load(&worker->guarded->over);
    bool must = runs && now_ms(worker) >= worker->end_by_ms;
    pthread_mutex_unlock(&worker->guard_lock);
    return must;
}

/* --- finishing ---------------------------------------------------------------------------------------------------- */

static enum store_outcome outcome_of(const struct worker__job *job) {
    int stop = atomic_load(&job->stop);
    if (job->error.code == ERR_NONE) return STORE_COMPLETED;
    if (job->error.code != ERR_CANCELLED) return STORE_FAILED;
    return stop == STOP_CANCEL ? STORE_CANCELLED : STORE_RELEASED;
}

static void describe_end(struct worker *worker, struct worker__job *job, struct store_finish *ret) {
    /* A batch whose executor broke down has jobs that never ran: they are not to blame. */
    bool untouched = !job->ran && job->error.code == ERR_NONE;
    *ret = (struct store_finish){.job_id = job->claim.job_id, .token = job->claim.token};
    ret->outcome = untouched ? STORE_RELEASED : outcome_of(job);
    if (ret->outcome == STORE_FAILED) {
        buf_reset(&job->result);
        wire_error_encode(job->error.code, job->error.msg, job->retryable, &job->result);
        ret->code = job->error.code;
        ret->retryable = job->retryable;
        ret->backoff_ms = backoff_ms(worker, job);
    }
    ret->doc = job->result.data;
    ret->doc_len = job->result.len;
}

static void count_end(struct worker *worker, const struct store_finish *job) {
    if (!job->accepted) {
        worker->stats.refused++;
        log_warn(ROLE, "job %s: late result refused, the lease was lost (token %s)", job->job_id, job->token);
    } else if (job->outcome == STORE_COMPLETED)
        worker->stats.completed++;
    else if (job->outcome == STORE_FAILED)
        worker->stats.failed++;
    else if (job->outcome == STORE_CANCELLED)
        worker->stats.cancelled++;
}

/* May a batch be claimed ahead of the running one's end? Not beside a job that a worker died of: if it kills this one,
 * too, what is held ahead would be charged with a crash. (Such a job is always alone in its batch.) */
static bool may_claim_ahead(const struct worker *worker) {
    bool quick = worker->batch_us >= 0 && worker->batch_us < worker->cfg.prefetch_below_ms * 1000;
    return !worker->ahead && quick && now_ms(worker) < worker->patience_ms &&
           worker->running->jobs[0].claim.crashes == 0;
}

static void start_batch(struct worker *worker, struct worker_batch *batch) {
    worker->running = batch;
    worker->patience_ms = now_ms(worker) + worker->cfg.prefetch_below_ms * AHEAD_PATIENCE;
    worker->runner->start(worker->runner, batch);
}

/* What to ask for with the next claim. False: nothing now. */
static bool want_claim(const struct worker *worker, struct store_claim *ret) {
    if (worker->draining || worker->stuck) return false;
    if (worker->running && !may_claim_ahead(worker)) return false;
    *ret = (struct store_claim){.worker = worker->cfg.id, .lease_ms = worker->cfg.lease_ms};
    worker__model_names(worker->models, ret);
    return ret->model_count > 0;
}

/* Nothing was there: when to look again without being told. An incomplete batch says when it will not wait longer. */
static void look_again_later(struct worker *worker, int64_t wait_us) {
    int64_t ms = wait_us >= 0 ? (wait_us + 999) / 1000 : IDLE_CLAIM_MS;
    worker->claim_at_ms = now_ms(worker) + (ms < IDLE_CLAIM_MS ? ms : IDLE_CLAIM_MS);
}

/* The lease is counted from before it was asked for, so that we think it over before the store does. */
static void set_leased(struct worker *worker, struct worker__job *job, int64_t asked_us) {
    atomic_store_explicit(&job->leased_us, asked_us + worker->cfg.lease_ms * 1000, memory_order_relaxed);
}

/* Takes what was claimed: into the runner if it is free, else ahead. */
static void take_claims(struct worker *worker, const struct store_claims *claims, int64_t asked_us) {
    if (claims->count == 0) {
        arena_reset(&worker->arena);
        look_again_later(worker, claims->wait_us);
        return;
    }
    worker->stats.claimed += claims->count;
    struct worker_batch *batch = worker__batch_new(&worker->arena, claims, worker->models, &worker->cfg);
    for (size_t i = 0; i < batch->count; i++) set_leased(worker, &batch->jobs[i], asked_us);
    if (worker->running)
        worker->ahead = batch;
    else
        start_batch(worker, batch);
}

/* Tells the store how the ended batch ended and claims the next in the same call. The batch is kept if that fails. */
static int finish_ended(struct worker *worker, size_t *ret_done, struct err *err) {
    struct worker_batch *batch = worker->ended;
    struct store_finish *ends = arena_alloc(&batch->arena, batch->count * sizeof *ends);
    struct store_claim want;
    struct store_claims claims = {0};
    bool wants = want_claim(worker, &want);
    int64_t asked_us = clock_mono_us(worker->clock);
    for (size_t i = 0; i < batch->count; i++) describe_end(worker, &batch->jobs[i], &ends[i]);
    if (store_finish(worker->st, worker->cfg.id, ends, batch->count, wants ? &want : NULL, &worker->arena, &claims,
                     err) != 0)
        return -1;
    for (size_t i = 0; i < batch->count; i++) count_end(worker, &ends[i]);
    *ret_done += batch->count + claims.count;
    worker->ended = NULL;
    worker__batch_free(batch);
    if (wants) take_claims(worker, &claims, asked_us);
    return 0;
}

static int claim_more(struct worker *worker, size_t *ret_done, struct err *err) {
    struct store_claim want;
    struct store_claims claims = {0};
    if (!want_claim(worker, &want)) return 0;
    if (!worker->woken && now_ms(worker) < worker->claim_at_ms) return 0;
    worker->woken = false;
    int64_t asked_us = clock_mono_us(worker->clock);
    if (store_claim(worker->st, &want, &worker->arena, &claims, err) != 0) return -1;
    /* While there was something there may be more: only an empty answer makes us wait. */
    *ret_done += claims.count;
    take_claims(worker, &claims, asked_us);
    return 0;
}

static bool is_leased(const struct worker *worker, const struct worker_batch *batch) {
    return clock_mono_us(worker->clock) < atomic_load_explicit(&batch->jobs[0].leased_us, memory_order_relaxed);
}

static void note_lost(struct worker_batch *batch) {
    int64_t ended_us = batch->started_us + batch->run_us;
    for (size_t i = 0; i < batch->count; i++) {
        int64_t late_us = ended_us - atomic_load(&batch->jobs[i].leased_us);
        if (atomic_load(&batch->jobs[i].stop) != STOP_LOST) continue;
        log_warn(ROLE, "job %s: stopped, since its lease is lost%s", batch->jobs[i].claim.job_id,
                 late_us < 0 ? "" : arena_printf(&batch->arena, " for %" PRId64 " ms", late_us / 1000));
    }
}

/* Moves the batches on: running -> ended, ahead -> running. */
static void advance(struct worker *worker) {
    if (worker->running && worker->runner->done(worker->runner)) {
        BUG_ON(worker->ended);
        worker->ended = worker->running;
        worker->running = NULL;
        set_end_by(worker);
        int64_t took = worker->ended->run_us;
        worker->batch_us = worker->batch_us < 0 ? took : (worker->batch_us * 7 + took) / 8;
        if (worker->ended->sticky) worker->stuck = true;
        note_lost(worker->ended);
    }
    if (!worker->running && worker->ahead && !worker->stuck && !worker->draining) {
        struct worker_batch *batch = worker->ahead;
        worker->ahead = NULL;
        if (is_leased(worker, batch)) {
            start_batch(worker, batch);
            return;
        }
        log_warn(ROLE, "%zu jobs that were claimed ahead are lost: their lease ran out", batch->count);
        worker__batch_free(batch);
    }
}

static int release_ahead_when_due(struct worker *worker, struct err *err) {
    struct worker_batch *batch = worker->ahead;
    if (!batch || now_ms(worker) < worker->patience_ms) return 0;
    struct store_finish *ends = arena_alloc(&batch->arena, batch->count * sizeof *ends);
    for (size_t i = 0; i < batch->count; i++) {
        const struct store_claimed *claim = &batch->jobs[i].claim;
        ends[i] = (struct store_finish){.job_id = claim->job_id, .token = claim->token, .outcome = STORE_RELEASED};
    }
    if (store_finish(worker->st, worker->cfg.id, ends, batch->count, NULL, NULL, NULL, err) != 0) return -1;
    worker->ahead = NULL;
    worker__batch_free(batch);
    return 0;
}

/* --- leases ------------------------------------------------------------------------------------------------------- */

static void stop_job(struct worker *worker, struct worker__job *job, enum worker__stop why) {
    if (!job->stop_at_ms || (why == STOP_LOST && atomic_load(&job->stop) == STOP_CANCEL))
        job->stop_at_ms = now_ms(worker);
    atomic_store(&job->stop, why);
}

static bool progress_is_new(struct worker__job *job) {
    double progress = atomic_load_explicit(&job->progress, memory_order_relaxed);
    return progress > job->progress_told || worker__job_has_message(job);
}

static void ask_renewal(struct worker__job *job, struct store_renewal *ret) {
    *ret = (struct store_renewal){.job_id = job->claim.job_id, .token = job->claim.token, .progress = -1};
    if (!progress_is_new(job)) return;
    ret->progress = atomic_load_explicit(&job->progress, memory_order_relaxed);
    ret->progress_message = worker__job_message(job);
    job->progress_told = ret->progress;
}

static bool any_progress(const struct worker *worker) {
    for (size_t i = 0; i < batch_count(worker->running); i++)
        if (progress_is_new(&worker->running->jobs[i])) return true;
    return false;
}

static int renew_held(struct worker *worker, struct err *err) {
    struct worker_batch *held[] = {worker->running, worker->ahead, worker->ended};
    size_t count = batch_count(held[0]) + batch_count(held[1]) + batch_count(held[2]), n = 0;
    if (count == 0) return 0;
    struct store_renewal *asks = mem_calloc(count, sizeof *asks);
    struct worker__job **jobs = mem_calloc(count, sizeof(struct worker__job *));
    for (size_t b = 0; b < 3; b++)
        for (size_t i = 0; i < batch_count(held[b]); i++) {
            jobs[n] = &held[b]->jobs[i];
            ask_renewal(jobs[n], &asks[n]);
            n++;
        }
    int64_t asked_us = clock_mono_us(worker->clock);
    int rc = store_renew(worker->st, worker->cfg.id, worker->cfg.lease_ms, asks, count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (asks[i].answer != STORE_LEASE_LOST) set_leased(worker, jobs[i], asked_us);
        if (asks[i].answer == STORE_LEASE_LOST) stop_job(worker, jobs[i], STOP_LOST);
        if (asks[i].answer == STORE_LEASE_CANCEL_REQUESTED) stop_job(worker, jobs[i], STOP_CANCEL);
    }
    free(asks);
    free(jobs);
    return rc;
}

static int renew_when_due(struct worker *worker, struct err *err) {
    int64_t now = now_ms(worker);
    bool progress = now >= worker->progress_at_ms && any_progress(worker);
    if (!worker->renew_now && !progress && now < worker->renew_at_ms) return 0;
    if (renew_held(worker, err) != 0) return -1;
    worker->renew_now = false;
    worker->renew_at_ms = now + worker->cfg.lease_ms / 3;
    worker->progress_at_ms = now + PROGRESS_MS;
    return 0;
}

static int register_when_due(struct worker *worker, struct err *err) {
    int64_t now = now_ms(worker);
    if (now < worker->register_at_ms) return 0;
    struct store_worker self = {
        .id = worker->cfg.id,
        .host = worker->cfg.host,
        .executor = worker->cfg.executor,
        .device = worker_models_device(worker->models),
        .pid = getpid(),
        .started_at = worker->started_at,
        .seen_at = clock_wall_ms(worker->clock),
        .models = worker_models_json(worker->models),
    };
    if (store_worker_register(worker->st, &self, worker->cfg.lease_ms * REGISTER_TTL_LEASES, err) != 0) return -1;
    worker->register_at_ms = now + worker->cfg.lease_ms;
    return 0;
}

/* --- what does not stop ------------------------------------------------------------------------------------------- */

/* Jobs whose lease has run out are told to stop, if the runner has not seen it itself. From now on they have little
 * time: from now, not from then, since a process that stood still has not had any. */
static void stop_lost(struct worker *worker) {
    for (size_t i = 0; i < batch_count(worker->running); i++) {
        struct worker__job *job = &worker->running->jobs[i];
        if (clock_mono_us(worker->clock) >= atomic_load(&job->leased_us)) stop_job(worker, job, STOP_LOST);
    }
}

/* When the work on a job must be over, if it has to be: told to stop, or past its deadline. */
static int64_t over_at_ms(const struct worker *worker, const struct worker__job *job) {
    int64_t deadline_us = atomic_load(&job->deadline_us), grace_ms = worker->cfg.grace_ms;
    int64_t over = deadline_us == INT64_MAX ? INT64_MAX : deadline_us / 1000 + grace_ms;
    if (atomic_load(&job->stop) == STOP_LOST && worker->cfg.lease_ms / 4 < grace_ms)
        grace_ms = worker->cfg.lease_ms / 4;
    if (job->stop_at_ms && job->stop_at_ms + grace_ms < over) over = job->stop_at_ms + grace_ms;
    return over;
}

static int64_t batch_over_at_ms(const struct worker *worker) {
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < batch_count(worker->running); i++) {
        int64_t over = over_at_ms(worker, &worker->running->jobs[i]);
        if (over < first) first = over;
    }
    return first;
}

/* A run that should be over and is not: seen twice, so that a process that stood still gets a moment to end it. */
static bool is_stuck(struct worker *worker) {
    int64_t now = now_ms(worker);
    if (now < batch_over_at_ms(worker))
        worker->overdue_ms = INT64_MAX;
    else if (worker->overdue_ms == INT64_MAX)
        worker->overdue_ms = now;
    return worker->overdue_ms != INT64_MAX && now >= worker->overdue_ms + SECOND_LOOK_MS;
}

/* The runs that will not end: what each job of theirs deserves. A cancelled one is left to whoever sees us die. */
static void describe_stuck(const struct worker *worker, struct worker__job *job, const struct buf *timeout_error,
                           struct store_finish *ends, size_t *count) {
    int stop = atomic_load(&job->stop);
    if (stop == STOP_CANCEL || stop == STOP_LOST) return;
    struct store_finish *end = &ends[(*count)++];
    *end = (struct store_finish){.job_id = job->claim.job_id, .token = job->claim.token, .outcome = STORE_RELEASED};
    int64_t deadline_us = atomic_load(&job->deadline_us);
    if (deadline_us == INT64_MAX || clock_mono_us(worker->clock) < deadline_us) return;
    end->outcome = STORE_FAILED;
    end->code = ERR_TIMEOUT;
    end->doc = timeout_error->data;
    end->doc_len = timeout_error->len;
}

/* Gives back or fails everything that is held and not yet ended. */
static int let_go(struct worker *worker, struct err *err) {
    struct worker_batch *held[] = {worker->running, worker->ahead};
    size_t total = batch_count(held[0]) + batch_count(held[1]), count = 0;
    if (total == 0) return 0;
    struct store_finish *ends = mem_calloc(total, sizeof *ends);
    struct buf timeout_error = {0};
    wire_error_encode(ERR_TIMEOUT, "the run took longer than timeout_ms and did not stop; its process was ended", false,
                      &timeout_error);
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < batch_count(held[b]); i++)
            describe_stuck(worker, &held[b]->jobs[i], &timeout_error, ends, &count);
    int rc = count ? store_finish(worker->st, worker->cfg.id, ends, count, NULL, NULL, NULL, err) : 0;
    free(ends);
    buf_done(&timeout_error);
    return rc;
}

static int end_process(struct worker *worker, struct err *err) {
    const char *why = worker->running ? "a run does not stop" : "the executor is broken";
    struct err ignored; /* the lease will do what we could not */
    if (worker->ended) {
        size_t done = 0;
        (void)!finish_ended(worker, &done, &ignored);
    }
    (void)!let_go(worker, &ignored);
    err_set(err, ERR_EXECUTION_FAILED, "%s: this worker process ends", why);
    err->class = ERR_CLASS_FATAL;
    return -1;
}

int worker_release(struct worker *worker, struct err *err) {
    size_t done = 0;
    worker->draining = true;
    if (worker->ended && finish_ended(worker, &done, err) != 0) return -1;
    return let_go(worker, err);
}

/* --- the step ----------------------------------------------------------------------------------------------------- */

static int listen_to_store(struct worker *worker, struct err *err) {
    bool ready, cancel;
    if (store_watch_read(worker->st, &ready, &cancel, err) != 0) return -1;
    worker->woken |= ready;
    worker->renew_now |= cancel;
    return 0;
}

static int step(struct worker *worker, size_t *ret_done, struct err *err) {
    if (!worker->ended) advance(worker);
    stop_lost(worker);
    if (worker->stuck || is_stuck(worker)) {
        worker->stuck = true;
        return end_process(worker, err);
    }
    if (listen_to_store(worker, err) != 0) return -1;
    if (renew_when_due(worker, err) != 0) return -1; /* before what may fail, or a lease would run out for that */
    if (worker->ended && finish_ended(worker, ret_done, err) != 0) return -1;
    if (release_ahead_when_due(worker, err) != 0) return -1;
    if (claim_more(worker, ret_done, err) != 0) return -1;
    return register_when_due(worker, err);
}

int worker_step(void *self, struct err *err) {
    struct worker *worker = self;
    size_t done = 0;
    int rc = step(worker, &done, err);
    set_end_by(worker);
    return rc == 0 ? (int)done : -1;
}

/* How long nothing is due. */
static int64_t wait_ms(const struct worker *worker) {
    int64_t now = now_ms(worker), until = worker->register_at_ms;
    struct store_claim want;
    if (worker->ended) return 0;
    if (worker->running && worker->renew_at_ms < until) until = worker->renew_at_ms;
    if (worker->ahead && worker->patience_ms < until) until = worker->patience_ms;
    if (want_claim(worker, &want) && worker->claim_at_ms < until) until = worker->claim_at_ms;
    int64_t over = batch_over_at_ms(worker), lost = first_lost_ms(worker->running);
    if (over < until) until = worker->overdue_ms == INT64_MAX ? over : worker->overdue_ms + SECOND_LOOK_MS;
    if (lost >= now && lost < until) until = lost;
    if (worker->running && until > now + PROGRESS_MS) until = now + PROGRESS_MS;
    return until > now ? until - now : 0;
}

void worker_wait(struct worker *worker) {
    struct err err;
    int watch_fd = -1;
    int64_t ms = wait_ms(worker);
    if (store_watch(worker->st, worker->cfg.id, &watch_fd, &err) != 0 && ms > RETRY_CALL_MS) ms = RETRY_CALL_MS;
    struct pollfd fds[] = {{.fd = worker->runner->fd(worker->runner), .events = POLLIN},
                           {.fd = watch_fd, .events = POLLIN}};
    poll(fds, 2, (int)(ms > 1000 ? 1000 : ms)); /* a signal, or at most a second: the caller looks at its stop flag */
}

/* What was claimed keeps the models that it had. */
void worker_use_models(struct worker *worker, struct worker_models *models) {
    worker->models = models;
    worker->register_at_ms = worker->claim_at_ms = now_ms(worker);
}

/* What was claimed ahead goes back with the next step. */
void worker_drain(struct worker *worker) {
    worker->draining = true;
    worker->patience_ms = now_ms(worker);
}

void worker_stop_runs(struct worker *worker) {
    for (size_t i = 0; i < batch_count(worker->running); i++)
        if (atomic_load(&worker->running->jobs[i].stop) == STOP_NO)
            stop_job(worker, &worker->running->jobs[i], STOP_SHUTDOWN);
}

bool worker_is_idle(const struct worker *worker) { return !worker->running && !worker->ahead && !worker->ended; }
struct worker_stats worker_stats_get(const struct worker *worker) {
    return worker->stats;
}

struct worker *worker_new(const struct worker_config *cfg, struct store *st, struct worker_models *models,
                          struct worker_runner *runner, const struct clock *clock) {
    struct worker *worker = mem_calloc(1, sizeof *worker);
    worker->cfg = *cfg;
    worker->st = st;
    worker->models = models;
    worker->runner = runner;
    worker->clock = clock;
    worker->batch_us = -1;
    worker->overdue_ms = INT64_MAX;
    pthread_mutex_init(&worker->guard_lock, NULL);
    worker->seed = cfg->seed | 1;
    worker->started_at = clock_wall_ms(clock);
    arena_init(&worker->arena);
    return worker;
}

void worker_free(struct worker *worker) {
    if (!worker) return;
    worker__batch_free(worker->running);
    worker__batch_free(worker->ahead);
    worker__batch_free(worker->ended);
    arena_done(&worker->arena);
    pthread_mutex_destroy(&worker->guard_lock);
    free(worker);
}
