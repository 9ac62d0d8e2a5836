/* What happened, for Prometheus: counted from the events that this process hears, since it began to hear them.
 *
 * Every control process hears every event, so each tells the same about the time that it was there for: of several the
 * largest is to be taken, not the sum. Counters only grow; a restart begins at 0, which Prometheus knows how to read.
 *
 * Two things an event does not say: which model its job is of (only the first one does), and when the step before it was.
 * Both are remembered by job, in a table of fixed size whose oldest entry makes room for the newest. The same table
 * tells a repeat, which is what a relay may send after a failure, from news: a job's seq has been there already. Refused
 * commands, claimed batches and lost workers are counted once each in the same way, under keys of their own. Of a job that
 * the table does not have, because it began before this process or too many came since, the store is asked for the
 * model, and its waiting time is left out.
 *
 * Names of models come from outside where no repository is seen: beyond SERIES_MAX they are counted together. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"
#include "penstock/clock.h"
#include "penstock/fnv.h"

#define REMEMBERED ((size_t)1 << 17) /* entries, of 48 bytes; memory that is not used yet is not there yet */
#define SERIES_MAX 256
#define ANY_OTHER  "_other"
#define LATEST     "latest" /* the version of a job that asks for none */

static const double bounds_s[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600};
#define BOUNDS (sizeof bounds_s / sizeof bounds_s[0])

struct histogram {
    uint64_t of[BOUNDS + 1]; /* up to the bound and over the one before; the last: over all */
    int64_t sum_ms;
};
struct series {
    char *model, *version;
    bool used;
    uint64_t requests, inferences, executions, retries, finished[JOB_STATE_COUNT];
    int64_t compute_ms;
    struct histogram queue, run;
};
struct seen {
    uint64_t key;
    int64_t at, ready_at, started_at; /* of the last event; 0: not known */
    int32_t seq;
    uint32_t next;   /* in its bucket: an index + 1; 0: the end */
    uint16_t series; /* an index */
};
struct http_tally {
    pthread_mutex_t lock;
    uint64_t seed;
    struct seen *entries;
    uint32_t *buckets; /* REMEMBERED of them */
    size_t count, oldest;
    struct series series[SERIES_MAX + 1]; /* the last: ANY_OTHER */
    size_t series_count;
    uint64_t rejected[ERR_CODE_COUNT], heard, lease_losses, crashes;
};

struct http_tally *http__tally_new(void) {
    struct http_tally *tally = mem_calloc(1, sizeof *tally);
    pthread_mutex_init(&tally->lock, NULL);
    tally->seed = (uint64_t)clock_mono_us(&clock_system) ^ (uint64_t)(uintptr_t)tally;
    tally->entries = mem_calloc(REMEMBERED, sizeof *tally->entries);
    tally->buckets = mem_calloc(REMEMBERED, sizeof *tally->buckets);
    tally->series[SERIES_MAX].model = mem_strdup(ANY_OTHER);
    tally->series[SERIES_MAX].version = mem_strdup(ANY_OTHER);
    return tally;
}

void http__tally_free(struct http_tally *tally) {
    if (!tally) return;
    for (size_t i = 0; i <= SERIES_MAX; i++) {
        free(tally->series[i].model);
        free(tally->series[i].version);
    }
    pthread_mutex_destroy(&tally->lock);
    free(tally->entries);
    free(tally->buckets);
    free(tally);
}

/* --- the table -----------------------------------------------------------------------------------------------------
 */

/* FNV-1a from a seed that nobody outside knows, then MurmurHash3's last step, so that the low bits depend on all. */
static uint64_t key_of(const struct http_tally *tally, char kind, const char *text, int64_t a, int64_t b) {
    uint64_t hash = tally->seed ^ (uint64_t)kind;
    hash = fnv1a(hash, text, strlen(text));
    hash = fnv1a(hash, &a, sizeof a);
    hash = fnv1a(hash, &b, sizeof b);
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53u;
    return hash ^ hash >> 33;
}

static struct seen *find(struct http_tally *tally, uint64_t key) {
    uint32_t at = tally->buckets[key % REMEMBERED];
    while (at && tally->entries[at - 1].key != key) at = tally->entries[at - 1].next;
    return at ? &tally->entries[at - 1] : NULL;
}

static void forget(struct http_tally *tally, uint32_t index) {
    uint32_t *link = &tally->buckets[tally->entries[index].key % REMEMBERED];
    while (*link != index + 1) link = &tally->entries[*link - 1].next;
    *link = tally->entries[index].next;
}

static struct seen *remember(struct http_tally *tally, uint64_t key) {
    uint32_t index = (uint32_t)tally->count;
    if (tally->count < REMEMBERED) {
        tally->count++;
    } else {
        index = (uint32_t)tally->oldest;
        forget(tally, index);
        tally->oldest = (tally->oldest + 1) % REMEMBERED;
    }
    uint32_t *bucket = &tally->buckets[key % REMEMBERED];
    tally->entries[index] = (struct seen){.key = key, .next = *bucket};
    *bucket = index + 1;
    return &tally->entries[index];
}

/* Is it the first time that this is heard of? */
static bool is_news(struct http_tally *tally, char kind, const char *text, int64_t a, int64_t b) {
    uint64_t key = key_of(tally, kind, text, a, b);
    if (find(tally, key)) return false;
    remember(tally, key);
    return true;
}

static uint16_t series_of(struct http_tally *tally, const char *model, const char *version) {
    if (!model) return SERIES_MAX;
    if (!version || !*version) version = LATEST;
    size_t i = 0;
    while (i < tally->series_count &&
           (strcmp(tally->series[i].model, model) != 0 || strcmp(tally->series[i].version, version) != 0))
        i++;
    if (i == tally->series_count && i < SERIES_MAX) {
        tally->series[i].model = mem_strdup(model);
        tally->series[i].version = mem_strdup(version);
        tally->series_count++;
    }
    return (uint16_t)i;
}

/* --- counting ------------------------------------------------------------------------------------------------------
 */

static void observe(struct histogram *hist, int64_t ms) {
    size_t bucket = 0;
    if (ms < 0) ms = 0;
    while (bucket < BOUNDS && (double)ms > bounds_s[bucket] * 1000) bucket++;
    hist->of[bucket]++;
    hist->sum_ms += ms;
}

static void end_run(struct http_tally *tally, const struct job_event *ev, const struct seen *job) {
    struct series *series = &tally->series[job->series];
    if (job->started_at) {
        observe(&series->run, ev->at - job->started_at);
        if (ev->to == JOB_STATE_COMPLETED) series->compute_ms += ev->at - job->started_at;
    }
    series->inferences += ev->to == JOB_STATE_COMPLETED;
    series->retries += ev->reason && ev->to == JOB_STATE_QUEUED && strcmp(ev->reason, "retry") == 0;
    if (!ev->reason || strcmp(ev->reason, "worker_lost") != 0) return;
    tally->lease_losses++;
    tally->crashes += ev->worker && is_news(tally, 'w', ev->worker, 0, 0);
}

static void begin_run(struct http_tally *tally, const struct job_event *ev, const struct seen *job) {
    struct series *series = &tally->series[job->series];
    if (job->ready_at) observe(&series->queue, ev->at - job->ready_at);
    /* One script call claims one batch: what a worker got at one instant. */
    series->executions += ev->worker && is_news(tally, 'b', ev->worker, ev->at, job->series);
}

/* `job` is a copy: what is counted may make room for itself in the table. */
static void count_step(struct http_tally *tally, const struct job_event *ev, struct seen job, uint64_t key) {
    struct series *series = &tally->series[job.series];
    if (ev->from == JOB_STATE_RUNNING) end_run(tally, ev, &job);
    if (ev->to == JOB_STATE_RUNNING) begin_run(tally, ev, &job);
    series->used = true;
    series->requests += ev->from == JOB_STATE_NONE;
    series->finished[ev->to] += job_state_is_terminal(ev->to);
    struct seen *kept = find(tally, key);
    if (!kept) kept = remember(tally, key);
    kept->series = job.series;
    kept->seq = (int32_t)ev->seq;
    kept->at = ev->at;
    kept->ready_at = ev->to != JOB_STATE_QUEUED ? 0 : ev->not_before > ev->at ? ev->not_before : ev->at;
    kept->started_at = ev->to == JOB_STATE_RUNNING ? ev->at : 0;
}

void http__tally_count(struct http_tally *tally, const struct job_event *ev, http_model_of_fn *model_of, void *self) {
    const struct job_source *source = &ev->source;
    pthread_mutex_lock(&tally->lock);
    tally->heard++;
    if (ev->to == JOB_STATE_REJECTED) {
        if (is_news(tally, 'r', source->topic ? source->topic : "", source->partition, source->offset))
            tally->rejected[err_code_from_name(ev->reason ? ev->reason : "")]++;
    } else if (ev->job_id) {
        uint64_t key = key_of(tally, 'j', ev->job_id, 0, 0);
        const struct seen *known = find(tally, key);
        struct seen job = known ? *known : (struct seen){.series = SERIES_MAX};
        bool anew = ev->from == JOB_STATE_NONE && ev->at > job.at; /* the id of a job that is long forgotten */
        if (!known || anew || ev->seq > job.seq) {
            char model[JOB_MODEL_MAX + 1] = "", version[JOB_MODEL_MAX + 1] = "";
            if (ev->from == JOB_STATE_NONE)
                job.series = series_of(tally, ev->model, ev->model_version);
            else if (!known && model_of && model_of(self, ev->job_id, model, version))
                job.series = series_of(tally, model, version);
            count_step(tally, ev, job, key);
        }
    }
    pthread_mutex_unlock(&tally->lock);
}

/* --- telling -------------------------------------------------------------------------------------------------------
 */

static void put_series(struct buf *out, const char *name, const struct series *series) {
    buf_puts(out, name);
    http__metrics_label(out, "{model=", series->model);
    http__metrics_label(out, ",version=", series->version);
}

static void put_count(struct buf *out, const char *name, const struct series *series, uint64_t count) {
    put_series(out, name, series);
    buf_printf(out, "} %" PRIu64 "\n", count);
}

static void put_finished(struct buf *out, const char *name, const struct series *series) {
    for (enum job_state state = JOB_STATE_NONE; state < JOB_STATE_COUNT; state++) {
        if (!job_state_is_terminal(state)) continue;
        put_series(out, name, series);
        http__metrics_label(out, ",state=", job_state_name(state));
        buf_printf(out, "} %" PRIu64 "\n", series->finished[state]);
    }
}

static void put_histogram(struct buf *out, const char *name, const struct series *series,
                          const struct histogram *hist) {
    char line[64];
    uint64_t total = 0;
    snprintf(line, sizeof line, "%s_bucket", name);
    for (size_t i = 0; i <= BOUNDS; i++) {
        total += hist->of[i];
        put_series(out, line, series);
        if (i < BOUNDS)
            buf_printf(out, ",le=\"%g\"} %" PRIu64 "\n", bounds_s[i], total);
        else
            buf_printf(out, ",le=\"+Inf\"} %" PRIu64 "\n", total);
    }
    snprintf(line, sizeof line, "%s_sum", name);
    put_series(out, line, series);
    buf_printf(out, "} %.3f\n", (double)hist->sum_ms / 1000);
    snprintf(line, sizeof line, "%s_count", name);
    put_count(out, line, series, total);
}

/* The families, in the order in which they are told: all series of one stand together. */
static const struct {
    const char *name, *type, *help;
} families[] = {
    {"penstock_jobs_finished_total", "counter", "Jobs that reached a terminal state."},
    {"penstock_job_retries_total", "counter", "Runs that failed and are tried again."},
    {"penstock_job_queue_seconds", "histogram", "From ready to running, once for each run."},
    {"penstock_job_run_seconds", "histogram", "Of each run, from its claim to its end."},
    {"penstock_inference_request_total", "counter", "Jobs asked for."},
    {"penstock_inference_count_total", "counter", "Runs that completed, each of a batch."},
    {"penstock_inference_exec_total", "counter", "Batches that were claimed."},
    {"penstock_inference_queue_seconds_total", "counter", "Time that runs waited for, together."},
    {"penstock_inference_compute_seconds_total", "counter", "Time that completed runs took, together."},
};

static void put_family(struct buf *out, size_t family, const struct series *series) {
    const char *name = families[family].name;
    if (family == 0) put_finished(out, name, series);
    if (family == 1) put_count(out, name, series, series->retries);
    if (family == 2) put_histogram(out, name, series, &series->queue);
    if (family == 3) put_histogram(out, name, series, &series->run);
    if (family == 4) put_count(out, name, series, series->requests);
    if (family == 5) put_count(out, name, series, series->inferences);
    if (family == 6) put_count(out, name, series, series->executions);
    if (family < 7) return;
    put_series(out, name, series);
    buf_printf(out, "} %.3f\n", (double)(family == 7 ? series->queue.sum_ms : series->compute_ms) / 1000);
}

void http__tally_put(struct http_tally *tally, struct buf *out) {
    pthread_mutex_lock(&tally->lock);
    for (size_t family = 0; family < sizeof families / sizeof families[0]; family++) {
        http__metrics_head(out, families[family].name, families[family].type, families[family].help);
        for (size_t i = 0; i <= SERIES_MAX; i++)
            if (tally->series[i].used) put_family(out, family, &tally->series[i]);
    }
    http__metrics_head(out, "penstock_jobs_rejected_total", "counter", "Commands that were refused.");
    for (enum err_code code = ERR_NONE; code < ERR_CODE_COUNT; code++) {
        if (tally->rejected[code] == 0) continue;
        http__metrics_label(out, "penstock_jobs_rejected_total{code=", err_code_name(code));
        buf_printf(out, "} %" PRIu64 "\n", tally->rejected[code]);
    }
    http__metrics_plain(out, "penstock_lease_losses_total", "counter",
                        "Runs whose worker died or was silent for too long.", (int64_t)tally->lease_losses);
    http__metrics_plain(out, "penstock_worker_crashes_total", "counter",
                        "Workers that died or were silent for too long while they had jobs.", (int64_t)tally->crashes);
    http__metrics_plain(out, "penstock_relay_published_total", "counter", "Events heard, repeats included.",
                        (int64_t)tally->heard);
    pthread_mutex_unlock(&tally->lock);
}
