/* What a deep queue costs: the store's calls with 200,000 jobs waiting, each against a limit.
 *
 *     bench_depth [jobs]
 *
 * A private redis-server without persistence, ten tenants with a limit of four running jobs each, two models, ten
 * priorities, one job in four delayed. Printed: Redis' memory for each waiting job, over that of its own spec; the
 * median and the slowest of each call; and how many commands took Redis over 10 ms (SLOWLOG), which should be none. The
 * slowest of a call is told with the noise of the machine in it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/clock.h"
#include "penstock/store_policy.h"
#include "penstock/store_view.h"
#include "testlib.h"

#define INGEST_BATCH 128
#define WORK_BATCH   64
#define SWEEP_BATCH  100
#define PAGE         50
#define CALLS        200
#define SPEC_BYTES   600
#define TENANTS      10
#define DAY_MS       INT64_C(86400000)

struct bench {
    struct test_redis *redis;
    struct store *st;
    struct arena arena;
    int jobs;
    int64_t now_ms;
    char spec[SPEC_BYTES + 1];
    double took_ms[CALLS];
};

static void must(int rc, const struct err *err) {
    if (rc == 0) return;
    fprintf(stderr, "bench_depth: %s\n", err->msg);
    exit(1);
}

static double used_memory(const struct bench *b) {
    char reply[8192];
    test_redis_command(b->redis, "INFO memory", reply, sizeof reply);
    const char *used = strstr(reply, "used_memory:");
    if (!used) must(-1, &(struct err){.msg = "INFO memory: no figure"});
    return strtod(used + strlen("used_memory:"), NULL);
}

/* --- filling ------------------------------------------------------------------------------------------------------ */

static struct store_item job(struct bench *b, int n) {
    static const char *const tenants[TENANTS] = {"t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"};
    struct job_label *label = arena_alloc(&b->arena, sizeof *label);
    const char *id = arena_printf(&b->arena, "01J9ZK4T6W8Q2M5N7P%08d", n);
    *label = (struct job_label){"tenant", tenants[n % TENANTS]};
    return (struct store_item){.kind = STORE_ITEM_CREATE,
                               .source = {"penstock.commands", 0, n},
                               .job_id = id,
                               .model = n % 2 ? "digits" : "echo",
                               .model_version = "1",
                               .priority = n % 10,
                               .max_attempts = 3,
                               .timeout_ms = 300000,
                               .queue_timeout_ms = DAY_MS,
                               .not_before = n % 4 ? 0 : b->now_ms + DAY_MS,
                               .signature = "0123456789abcdef",
                               .labels = label,
                               .label_count = 1,
                               .spec = b->spec,
                               .spec_len = SPEC_BYTES};
}

static void fill(struct bench *b) {
    struct err err;
    struct store_item items[INGEST_BATCH];
    for (int n = 0; n < b->jobs;) {
        size_t count = 0;
        while (n < b->jobs && count < INGEST_BATCH) items[count++] = job(b, n++);
        must(store_ingest(b->st, items, count, &err), &err);
        arena_reset(&b->arena);
    }
}

/* --- the calls ---------------------------------------------------------------------------------------------------- */

static void claim_and_release(struct bench *b) {
    static const char *const models[] = {"digits", "echo"};
    static const int max_jobs[] = {WORK_BATCH, WORK_BATCH};
    const struct store_claim want = {
        .worker = "bench-worker", .models = models, .max_jobs = max_jobs, .model_count = 2, .lease_ms = 60000};
    struct store_claims claims;
    struct err err;
    must(store_claim(b->st, &want, &b->arena, &claims, &err), &err);
    struct store_finish ends[WORK_BATCH];
    for (size_t i = 0; i < claims.count; i++)
        ends[i] = (struct store_finish){
            .job_id = claims.jobs[i].job_id, .token = claims.jobs[i].token, .outcome = STORE_RELEASED};
    if (claims.count == 0) must(-1, &(struct err){.msg = "nothing to claim in a full queue"});
    must(store_finish(b->st, "bench-worker", ends, claims.count, NULL, NULL, NULL, &err), &err);
}

static void sweep(struct bench *b) {
    struct err err;
    size_t done;
    int64_t next_ms;
    must(store_sweep(b->st, SWEEP_BATCH, &done, &next_ms, &err), &err);
}

static void page(struct bench *b, const struct store_list *query) {
    struct job_record *jobs;
    size_t count;
    const char *cursor;
    struct err err;
    must(store_job_list(b->st, query, &b->arena, &jobs, &count, &cursor, &err), &err);
    if (count == 0 && !cursor) must(-1, &(struct err){.msg = "an empty page, and the last, of a full queue"});
}

static void page_of_queued(struct bench *b) { page(b, &(struct store_list){.state = JOB_STATE_QUEUED, .limit = PAGE}); }
static void page_of_all(struct bench *b) { page(b, &(struct store_list){.limit = PAGE}); }
static void page_of_model(struct bench *b) { page(b, &(struct store_list){.model = "echo", .limit = PAGE}); }

static void page_of_tenant(struct bench *b) {
    static const struct job_label label = {"tenant", "t3"};
    page(b, &(struct store_list){.labels = &label, .label_count = 1, .limit = PAGE});
}

static void queues(struct bench *b) {
    struct store_queue *all;
    size_t count;
    enum store_mode mode;
    struct err err;
    must(store_queue_list(b->st, &b->arena, &all, &count, &mode, &err), &err);
}

/* Makes a thousand deadlines due, as if a day had passed for them. */
static void make_due(struct bench *b) {
    char reply[64];
    test_redis_command(b->redis,
                       "EVAL \"for _, id in ipairs(redis.call('ZRANGE', 'penstock:timers', 0, 19999)) do "
                       "redis.call('ZADD', 'penstock:timers', 1, id) end return 1\" 0",
                       reply, sizeof reply);
    test_redis_command(b->redis, "SLOWLOG RESET", reply, sizeof reply);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(struct bench *b, const char *what, void (*call)(struct bench *), double limit_ms) {
    for (int i = 0; i < CALLS; i++) {
        int64_t start_us = clock_mono_us(&clock_system);
        call(b);
        b->took_ms[i] = (double)(clock_mono_us(&clock_system) - start_us) / 1000;
        arena_reset(&b->arena);
    }
    qsort(b->took_ms, CALLS, sizeof b->took_ms[0], by_value);
    printf("%-44s %10.2f %10.2f %10.0f\n", what, b->took_ms[CALLS / 2], b->took_ms[CALLS - 1], limit_ms);
}

int main(int argc, char **argv) {
    struct bench b = {.jobs = argc > 1 ? atoi(argv[1]) : 200000};
    struct err err;
    char reply[64];
    if (b.jobs < 1000) must(-1, &(struct err){.msg = "usage: bench_depth [jobs, 1000 or more]"});
    memset(b.spec, 's', SPEC_BYTES);
    arena_init(&b.arena);
    b.redis = test_redis_start();
    b.now_ms = clock_wall_ms(&clock_system);
    test_redis_command(b.redis, "CONFIG SET appendonly no", reply, sizeof reply);
    test_redis_command(b.redis, "CONFIG SET slowlog-log-slower-than 10000", reply, sizeof reply);
    struct store_config cfg = {.url = test_redis_url(b.redis),
                               .prefix = "penstock:",
                               .timeout_ms = 30000,
                               .retention_ms = 604800000,
                               .tombstone_ms = 3600000,
                               .may_recover = true,
                               .max_crashes = 3};
    struct store_policy policy = {.tenant_label = "tenant", .tenant_max_running = 4};
    must(store_open(&cfg, &b.st, &err), &err);
    must(store_policy_set(b.st, &policy, false, &err), &err);
    double before = used_memory(&b);
    fill(&b);
    test_redis_command(b.redis, "DEL penstock:outbox", reply, sizeof reply); /* as if all were published */
    printf("%d jobs wait; %.0f bytes each in Redis, %d of them its spec\n", b.jobs, (used_memory(&b) - before) / b.jobs,
           SPEC_BYTES);
    printf("%-44s %10s %10s %10s\n", "ms", "median", "slowest", "limit");
    measure(&b, "claim of up to 64 jobs, and their release", claim_and_release, 10);
    measure(&b, "a page of 50 queued jobs", page_of_queued, 20);
    measure(&b, "a page of 50 jobs of any state", page_of_all, 20);
    measure(&b, "a page of 50 jobs of one model", page_of_model, 20);
    measure(&b, "a page of 50 jobs of one tenant", page_of_tenant, 20);
    measure(&b, "the queue view", queues, 20);
    make_due(&b);
    measure(&b, "a sweep of 100 due deadlines", sweep, 10);
    test_redis_command(b.redis, "SLOWLOG LEN", reply, sizeof reply);
    printf("commands over 10 ms in Redis: %s", reply[0] == ':' ? reply + 1 : reply);
    store_free(b.st);
    arena_done(&b.arena);
    test_redis_stop(b.redis);
    return 0;
}
