/* How many jobs a second one Redis carries, and what a job costs it. A private redis-server (append-only file, fsync
 * every second), one client, batches as in production: 128 commands an ingest, 64 jobs a claim, 64 results a finish
 * with the next claim in it, 16 outbox entries a read, each read trimmed.
 *
 *     bench_store [jobs]
 *
 * Three rounds, the median of each figure. "redis us/job" is the server's own processor time (INFO cpu): the number
 * that limits how far one Redis goes, whereas jobs/s also waits for this one client. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/clock.h"
#include "penstock/store_outbox.h"
#include "testlib.h"

#define ROUNDS       3
#define INGEST_BATCH 128
#define WORK_BATCH   64
#define READ_ENTRIES 16
#define SPEC_BYTES   600
#define RESULT_BYTES 300

enum phase { CREATE, CLAIM_AND_FINISH, PUBLISH, PHASE_COUNT };
static const char *const phase_names[] = {"create", "finish + claim", "outbox read + trim"};

struct bench {
    struct test_redis *redis;
    struct store *st;
    struct arena arena;
    int jobs;
    char spec[SPEC_BYTES + 1], result[RESULT_BYTES + 1];
    double jobs_per_s[PHASE_COUNT][ROUNDS], redis_us[PHASE_COUNT][ROUNDS];
};

static void must(int rc, const struct err *err) {
    if (rc == 0) return;
    fprintf(stderr, "bench_store: %s\n", err->msg);
    exit(1);
}

static double redis_cpu_s(const struct test_redis *redis) {
    char reply[1024];
    test_redis_command(redis, "INFO cpu", reply, sizeof reply);
    const char *user = strstr(reply, "used_cpu_user:"), *sys = strstr(reply, "used_cpu_sys:");
    if (!user || !sys) must(-1, &(struct err){.msg = "INFO cpu: no figures"});
    return strtod(user + strlen("used_cpu_user:"), NULL) + strtod(sys + strlen("used_cpu_sys:"), NULL);
}

/* --- the phases --------------------------------------------------------------------------------------------------- */

static void create(struct bench *b) {
    struct err err;
    struct store_item items[INGEST_BATCH];
    for (int first = 0; first < b->jobs; first += INGEST_BATCH) {
        size_t count = 0;
        for (int n = first; n < b->jobs && count < INGEST_BATCH; n++, count++) {
            const char *id = arena_printf(&b->arena, "01J9ZK4T6W8Q2M5N7P%08d", n);
            items[count] = (struct store_item){.kind = STORE_ITEM_CREATE,
                                               .source = {"penstock.commands", 0, n},
                                               .job_id = id,
                                               .key = id,
                                               .key_len = strlen(id),
                                               .raw = b->spec,
                                               .raw_len = SPEC_BYTES,
                                               .raw_size = SPEC_BYTES,
                                               .model = "digits",
                                               .model_version = "1",
                                               .priority = n % 10,
                                               .max_attempts = 3,
                                               .timeout_ms = 300000,
                                               .queue_timeout_ms = 86400000,
                                               .spec = b->spec,
                                               .spec_len = SPEC_BYTES};
        }
        must(store_ingest(b->st, items, count, &err), &err);
        arena_reset(&b->arena);
    }
}

static void claim_and_finish(struct bench *b) {
    struct err err;
    const char *const models[] = {"digits"};
    const int max_jobs[] = {WORK_BATCH};
    const struct store_claim want = {
        .worker = "bench-worker", .models = models, .max_jobs = max_jobs, .model_count = 1, .lease_ms = 60000};
    struct store_claims claims;
    must(store_claim(b->st, &want, &b->arena, &claims, &err), &err);
    while (claims.count > 0) {
        struct store_finish done[WORK_BATCH];
        for (size_t i = 0; i < claims.count; i++)
            done[i] = (struct store_finish){.job_id = claims.jobs[i].job_id,
                                            .token = claims.jobs[i].token,
                                            .outcome = STORE_COMPLETED,
                                            .doc = b->result,
                                            .doc_len = RESULT_BYTES};
        struct arena next;
        arena_init(&next);
        must(store_finish(b->st, "bench-worker", done, claims.count, &want, &next, &claims, &err), &err);
        arena_done(&b->arena);
        b->arena = next;
    }
}

static void publish(struct bench *b) {
    struct err err;
    const char *after = "";
    char last[32];
    size_t count, events = 0;
    for (;;) {
        struct store_outbox_entry *entries;
        must(store_outbox_read(b->st, after, READ_ENTRIES, 0, &b->arena, &entries, &count, &err), &err);
        if (count == 0) break;
        for (size_t i = 0; i < count; i++) events += entries[i].count;
        snprintf(last, sizeof last, "%s", entries[count - 1].id);
        must(store_outbox_trim(b->st, last, &err), &err);
        after = last;
        arena_reset(&b->arena);
    }
    if (events != 3 * (size_t)b->jobs)
        must(-1, &(struct err){.msg = "not three events a job: the figures mean nothing"});
}

/* --- measuring ---------------------------------------------------------------------------------------------------- */

static void measure(struct bench *b, int round) {
    static void (*const phases[])(struct bench *) = {create, claim_and_finish, publish};
    for (enum phase phase = CREATE; phase < PHASE_COUNT; phase++) {
        double cpu_s = redis_cpu_s(b->redis);
        int64_t start_us = clock_mono_us(&clock_system);
        phases[phase](b);
        double wall_s = (double)(clock_mono_us(&clock_system) - start_us) / 1e6;
        b->jobs_per_s[phase][round] = b->jobs / wall_s;
        b->redis_us[phase][round] = 1e6 * (redis_cpu_s(b->redis) - cpu_s) / b->jobs;
    }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values) {
    qsort(values, ROUNDS, sizeof *values, by_value);
    return values[ROUNDS / 2];
}

int main(int argc, char **argv) {
    struct bench b = {.jobs = argc > 1 ? atoi(argv[1]) : 20000};
    struct err err;
    if (b.jobs < 1) must(-1, &(struct err){.msg = "usage: bench_store [jobs]"});
    memset(b.spec, 's', SPEC_BYTES);
    memset(b.result, 'r', RESULT_BYTES);
    b.redis = test_redis_start();
    struct store_config cfg = {.url = test_redis_url(b.redis),
                               .prefix = "penstock:",
                               .timeout_ms = 30000,
                               .retention_ms = 604800000,
                               .tombstone_ms = 3600000,
                               .may_recover = true,
                               .max_crashes = 3};
    for (int round = 0; round < ROUNDS; round++) {
        char reply[64];
        test_redis_command(b.redis, "FLUSHALL", reply, sizeof reply);
        must(store_open(&cfg, &b.st, &err), &err);
        must(store_attach(b.st, &err), &err);
        measure(&b, round);
        store_free(b.st);
    }
    printf("%d jobs, median of %d rounds\n%-20s %10s %14s\n", b.jobs, ROUNDS, "", "jobs/s", "redis us/job");
    double total_us = 0;
    for (enum phase phase = CREATE; phase < PHASE_COUNT; phase++) {
        double us = median(b.redis_us[phase]);
        total_us += us;
        printf("%-20s %10.0f %14.1f\n", phase_names[phase], median(b.jobs_per_s[phase]), us);
    }
    printf("%-20s %10s %14.1f\n", "a job's whole life", "", total_us);
    arena_done(&b.arena);
    test_redis_stop(b.redis);
    return 0;
}
