/* The simulated Redis against a real one.
 *
 * A store talks to both at once, through a transport that sends each command to each and compares the replies byte by
 * byte. For that the two must see the same time: the scripts' call of TIME is replaced, in both, by a read of a hash
 * that the test sets. Names of scripts differ (the simulation has no SHA-1) and are translated; INFO is not compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "penstock/log.h"
#include "penstock/store_outbox.h"
#include "penstock/store_policy.h"
#include "sim_redis_internal.h"
#include "sim_rng.h"
#include "testlib.h"

#define SEQUENCES  12
#define CALLS      400
#define JOBS       16
#define WORKERS    3
#define HELD       64
#define START_MS   INT64_C(1790000000000)
#define REAL_CLOCK "call('TIME')"
#define TEST_CLOCK "call('HMGET', P .. 'clock', 's', 'us')"

/* --- both at once ------------------------------------------------------------------------------------------------ */

struct twin {
    struct store__transport base; /* first: the vtable's self */
    struct store__transport *real, *sim;
    char shas[256][2][41]; /* of the same script: real, sim */
    size_t sha_count;
    uint64_t compared;
};

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static char *reply_text(const redisReply *reply) {
    struct buf out = {0};
    buf_printf(&out, "(%d %lld", reply->type, reply->integer);
    for (size_t i = 0; reply->str && i < reply->len; i++) {
        unsigned char c = (unsigned char)reply->str[i];
        buf_printf(&out, c >= 0x20 && c < 0x7f ? "%c" : "\\%02x", c);
    }
    for (size_t i = 0; i < reply->elements; i++) {
        char *element = reply_text(reply->element[i]);
        buf_printf(&out, " %s", element);
        free(element);
    }
    buf_puts(&out, ")");
    return out.data;
}

/* `width` elements at a time, sorted: hashes and sets have no order. */
static char *sorted_text(const redisReply *reply, size_t width) {
    size_t count = reply->elements / width;
    char **items = mem_calloc(count + 1, sizeof *items);
    struct buf out = {0};
    for (size_t i = 0; i < count; i++) {
        redisReply part = {.type = REDIS_REPLY_ARRAY, .elements = width, .element = reply->element + i * width};
        items[i] = reply_text(&part);
    }
    qsort(items, count, sizeof *items, by_text);
    buf_puts(&out, "sorted");
    for (size_t i = 0; i < count; i++) {
        buf_printf(&out, " %s", items[i]);
        free(items[i]);
    }
    free(items);
    return out.data;
}

static char *comparable(const struct store__args *args, const redisReply *reply) {
    if (reply->type == REDIS_REPLY_ARRAY && strcmp(args->argv[0], "HGETALL") == 0) return sorted_text(reply, 2);
    if (reply->type == REDIS_REPLY_ARRAY && strcmp(args->argv[0], "SMEMBERS") == 0) return sorted_text(reply, 1);
    return reply_text(reply);
}

static void compare(struct twin *twin, const struct store__args *args, const redisReply *real, const redisReply *sim) {
    char *a = comparable(args, real), *b = comparable(args, sim);
    if (strcmp(a, b) != 0) {
        for (size_t i = 0; i < args->count; i++) fprintf(stderr, "%.*s ", (int)args->lens[i], args->argv[i]);
        fail_msg("call %llu: redis says %s, the simulation %s", (unsigned long long)twin->compared, a, b);
    }
    twin->compared++;
    free(a);
    free(b);
}

/* A script's text with the test's clock. Owns: caller. */
static char *with_test_clock(const char *text) {
    const char *at = strstr(text, REAL_CLOCK);
    struct buf out = {0};
    if (!at || strstr(at + 1, REAL_CLOCK)) fail_msg("the scripts do not read the clock in one place");
    buf_append(&out, text, (size_t)(at - text));
    buf_puts(&out, TEST_CLOCK);
    buf_puts(&out, at + strlen(REAL_CLOCK));
    return out.data;
}

static const char *sim_sha(const struct twin *twin, const char *real) {
    for (size_t i = 0; i < twin->sha_count; i++)
        if (strcmp(twin->shas[i][0], real) == 0) return twin->shas[i][1];
    return real;
}

static int twin_call(struct store__transport *tr, const struct store__args *args, redisReply **ret, struct err *err) {
    struct twin *twin = (struct twin *)tr;
    bool load = strcmp(args->argv[0], "SCRIPT") == 0, info = strcmp(args->argv[0], "INFO") == 0;
    struct store__args to_real, to_sim;
    redisReply *sim = NULL;
    char *text = load ? with_test_clock(args->argv[2]) : NULL;
    store__args_init(&to_real);
    store__args_init(&to_sim);
    for (size_t i = 0; i < args->count; i++) {
        bool is_sha = i == 1 && strcmp(args->argv[0], "EVALSHA") == 0;
        const char *arg = load && i == 2 ? text : args->argv[i];
        size_t len = load && i == 2 ? strlen(text) : args->lens[i];
        store__args_bytes(&to_real, arg, len);
        store__args_bytes(&to_sim, is_sha ? sim_sha(twin, arg) : arg, len);
    }
    int rc = twin->real->call(twin->real, &to_real, ret, err);
    if (rc == 0) rc = twin->sim->call(twin->sim, &to_sim, &sim, err);
    if (rc == 0 && load) {
        assert_true(twin->sha_count < sizeof twin->shas / sizeof twin->shas[0]);
        memcpy(twin->shas[twin->sha_count][0], (*ret)->str, 41);
        memcpy(twin->shas[twin->sha_count++][1], sim->str, 41);
    } else if (rc == 0 && !info) {
        compare(twin, &to_real, *ret, sim);
    }
    twin->base.generation = twin->real->generation;
    if (sim) freeReplyObject(sim);
    store__args_done(&to_real);
    store__args_done(&to_sim);
    free(text);
    return rc;
}

/* One by one, without the frame of a transaction: nobody else is there. */
static int twin_calls(struct store__transport *tr, const struct store__args *commands, size_t count, redisReply **ret,
                      struct err *err) {
    for (size_t i = 0; i < count; i++) {
        if (sim_redis__word_is(&commands[i], 0, "MULTI") || sim_redis__word_is(&commands[i], 0, "EXEC"))
            ret[i] = sim_redis__reply_array();
        else if (twin_call(tr, &commands[i], &ret[i], err) != 0)
            return -1;
    }
    return 0;
}

static int twin_fd(struct store__transport *tr) { return -1; }

static int twin_next(struct store__transport *tr, redisReply **ret, struct err *err) {
    *ret = NULL;
    return 0;
}

static void twin_free(struct store__transport *tr) {
    struct twin *twin = (struct twin *)tr;
    twin->real->free(twin->real);
    twin->sim->free(twin->sim);
    free(twin);
}

static struct twin *twin_new(const char *url, struct sim_redis *redis) {
    struct twin *twin = mem_calloc(1, sizeof *twin);
    struct err err;
    twin->base = (struct store__transport){
        .call = twin_call, .calls = twin_calls, .fd = twin_fd, .next = twin_next, .free = twin_free};
    twin->real = store__redis_new(&(struct store_config){.url = url, .timeout_ms = 10000}, &err);
    twin->sim = sim_redis_connect_reliable(redis);
    assert_non_null(twin->real);
    return twin;
}

/* --- a random life ----------------------------------------------------------------------------------------------- */

struct held {
    char id[16], token[40];
    int worker;
};

struct life {
    uint64_t rng;
    struct test_redis *server;
    struct sim_redis *redis;
    struct twin *twin; /* st's */
    struct store *st;
    struct arena arena;
    struct err err;
    int64_t now_ms, next_offset;
    struct held held[HELD]; /* the latest claims, current or lost */
    size_t held_count;
};

/* Over all sequences: what was compared is worth something only if the calls did something. */
static struct { uint64_t replies, accepted[STORE_RELEASED + 1], refused; /* ends of jobs, by outcome */ } seen;

static uint64_t draw(struct life *life, uint64_t n) { return sim_rng_below(&life->rng, n); }

/* A plain command, in words, to both. */
static void command(struct life *life, const char *words) {
    struct store__args args;
    redisReply *reply;
    char *copy = mem_strdup(words), *save = NULL;
    store__args_init(&args);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) store__args_str(&args, word);
    assert_int_equal(twin_call(&life->twin->base, &args, &reply, &life->err), 0);
    freeReplyObject(reply);
    store__args_done(&args);
    free(copy);
}

static void set_clock(struct life *life) {
    char words[96];
    snprintf(words, sizeof words, "HSET penstock:clock s %lld us %lld", (long long)(life->now_ms / 1000),
             (long long)(life->now_ms % 1000 * 1000));
    command(life, words);
}

/* A call may only fail because a script is unknown or fenced, which the next one mends. */
static void expect(struct life *life, int rc) {
    if (rc != 0 && life->err.code != ERR_STORE_FENCED) fail_msg("%s", life->err.msg);
}

static const char *job_name(struct life *life) { return arena_printf(&life->arena, "j%d", (int)draw(life, JOBS)); }
static const char *worker_name(struct life *life, int worker) { return arena_printf(&life->arena, "w%d", worker); }

static struct store_item item(struct life *life) {
    static const char raw[] = "a\0b\n\xff\x1f tail";
    static const struct job_label tenants[] = {{"tenant", "t0"}, {"tenant", "t1"}};
    struct store_item it = {.kind = draw(life, 10) < 6   ? STORE_ITEM_CREATE
                                    : draw(life, 10) < 8 ? STORE_ITEM_CANCEL
                                    : draw(life, 10) < 2 ? STORE_ITEM_MODE
                                                         : STORE_ITEM_REJECT};
    int64_t offset = draw(life, 8) ? life->next_offset++ : (int64_t)draw(life, (uint64_t)life->next_offset + 1);
    if (offset == life->next_offset) life->next_offset++;
    it.source = (struct job_source){"c", 0, offset};
    it.job_id = it.kind == STORE_ITEM_REJECT && draw(life, 2) ? NULL : job_name(life);
    it.traceparent = draw(life, 4) ? NULL : "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    it.raw = raw;
    it.raw_len = it.raw_size = draw(life, sizeof raw);
    it.key = draw(life, 3) ? raw : NULL;
    it.key_len = it.key ? draw(life, 4) : 0;
    it.model = draw(life, 2) ? "m" : "n";
    it.model_version = draw(life, 3) ? NULL : "2";
    it.priority = (int)draw(life, 10);
    it.max_attempts = 1 + (int)draw(life, 3);
    it.timeout_ms = draw(life, 3) ? 0 : (int64_t)draw(life, 50000);
    it.queue_timeout_ms = draw(life, 3) ? 0 : (int64_t)draw(life, 20000);
    it.not_before = draw(life, 4) ? 0 : life->now_ms + (int64_t)draw(life, 5000) - 1000;
    it.labels = &tenants[draw(life, 2)];
    it.label_count = draw(life, 2);
    it.signature = draw(life, 3) ? "" : "other";
    it.backoff_ms = draw(life, 3) ? 0 : 7;
    it.mode = draw(life, 3) ? STORE_MODE_OPEN : draw(life, 2) ? STORE_MODE_PAUSED : STORE_MODE_DRAINING;
    it.spec = draw(life, 4) ? "{\"a\":1}" : "{\"a\":2}";
    it.spec_len = strlen(it.spec);
    it.reason = "why\x1f not";
    it.code = ERR_INVALID_MEMBER;
    it.error = "{}";
    it.error_len = 2;
    return it;
}

static int by_offset(const void *a, const void *b) {
    int64_t x = ((const struct store_item *)a)->source.offset, y = ((const struct store_item *)b)->source.offset;
    return (x > y) - (x < y);
}

static int do_ingest(struct life *life) {
    struct store_item items[12];
    size_t count = 1 + draw(life, 12);
    for (size_t i = 0; i < count; i++) items[i] = item(life);
    qsort(items, count, sizeof items[0], by_offset);
    return store_ingest(life->st, items, count, &life->err);
}

static void keep_claims(struct life *life, int worker, const struct store_claims *claims) {
    for (size_t i = 0; i < claims->count; i++) {
        struct held *held = &life->held[life->held_count++ % HELD];
        snprintf(held->id, sizeof held->id, "%s", claims->jobs[i].job_id);
        snprintf(held->token, sizeof held->token, "%s", claims->jobs[i].token);
        held->worker = worker;
    }
}

static struct store_claim want(struct life *life, int worker) {
    static const char *const models[] = {"m", "n"};
    static const int max_jobs[] = {3, 1};
    return (struct store_claim){.worker = worker_name(life, worker),
                                .models = models,
                                .max_jobs = max_jobs,
                                .model_count = 2,
                                .lease_ms = 1000 + (int64_t)draw(life, 20000)};
}

static int do_claim(struct life *life) {
    int worker = (int)draw(life, WORKERS);
    struct store_claim claim = want(life, worker);
    struct store_claims claims = {0};
    int rc = store_claim(life->st, &claim, &life->arena, &claims, &life->err);
    keep_claims(life, worker, &claims);
    return rc;
}

static const struct held *any_held(struct life *life) {
    size_t count = life->held_count < HELD ? life->held_count : HELD;
    static const struct held nothing = {"j0", "1-1", 0};
    return count ? &life->held[draw(life, count)] : &nothing;
}

static int do_renew(struct life *life) {
    struct store_renewal asks[5];
    size_t count = 1 + draw(life, 5);
    for (size_t i = 0; i < count; i++) {
        const struct held *held = any_held(life);
        asks[i] = (struct store_renewal){.job_id = held->id, .token = held->token, .progress = -1};
        if (draw(life, 2)) asks[i].progress = (double)draw(life, 1000) / 999;
        if (draw(life, 2)) asks[i].progress_message = "on its way";
    }
    return store_renew(life->st, "w", 1000 + (int64_t)draw(life, 20000), asks, count, &life->err);
}

static int do_finish(struct life *life) {
    struct store_finish ends[4];
    struct store_claims claims = {0};
    size_t count = 1 + draw(life, 4);
    int worker = (int)draw(life, WORKERS);
    struct store_claim claim = want(life, worker);
    for (size_t i = 0; i < count; i++) {
        const struct held *held = any_held(life);
        ends[i] = (struct store_finish){.job_id = held->id,
                                        .token = held->token,
                                        .outcome = (enum store_outcome)draw(life, 4),
                                        .doc = "{\"d\":0}",
                                        .doc_len = 7,
                                        .code = ERR_EXECUTION_FAILED,
                                        .retryable = draw(life, 2),
                                        .backoff_ms = (int64_t)draw(life, 3000)};
    }
    bool wants = draw(life, 2);
    int rc = store_finish(life->st, worker_name(life, worker), ends, count, wants ? &claim : NULL, &life->arena,
                          &claims, &life->err);
    keep_claims(life, worker, &claims);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (ends[i].accepted)
            seen.accepted[ends[i].outcome]++;
        else
            seen.refused++;
    }
    return rc;
}

static int do_lost(struct life *life) {
    size_t jobs;
    return store_worker_lost(life->st, worker_name(life, (int)draw(life, WORKERS)), &jobs, &life->err);
}

static int do_policy(struct life *life) {
    const struct store_limit model = {"n", (int64_t)draw(life, 3)}, tenant = {"t0", (int64_t)draw(life, 3)};
    struct store_policy policy = {.tenant_label = draw(life, 5) ? "tenant" : "",
                                  .tenant_max_running = (int64_t)draw(life, 3),
                                  .tenants = &tenant,
                                  .tenant_count = draw(life, 2),
                                  .models = &model,
                                  .model_count = draw(life, 2),
                                  .ageing_ms = draw(life, 2) ? 0 : 1000};
    return store_policy_set(life->st, &policy, false, &life->err);
}

static int do_sweep(struct life *life) {
    size_t done;
    int64_t next_ms;
    return store_sweep(life->st, 1 + draw(life, 20), &done, &next_ms, &life->err);
}

static int do_relay(struct life *life) {
    struct store_outbox_entry *entries;
    size_t count;
    bool is_held;
    if (store_relay_lease(life->st, draw(life, 2) ? "a" : "b", 600000, &is_held, &life->err) != 0) return -1;
    if (store_outbox_read(life->st, "", 1 + draw(life, 10), 0, &life->arena, &entries, &count, &life->err) != 0)
        return -1;
    return count ? store_outbox_trim(life->st, entries[draw(life, count)].id, &life->err) : 0;
}

static int do_look(struct life *life) {
    struct job_record rec;
    struct store_stats stats;
    struct store_worker self = {
        .id = worker_name(life, (int)draw(life, WORKERS)),
        .host = "h",
        .executor = "e",
        .device = "d",
        .models =
            "[{\"name\":\"a model with a description of more than 64 bytes, which is more than a listpack takes\"}]"};
    struct store_worker *workers;
    const char *doc;
    size_t len;
    int64_t offset;
    if (store_worker_register(life->st, &self, 600000, &life->err) != 0) return -1;
    if (draw(life, 4) == 0 && store_worker_unregister(life->st, self.id, &life->err) != 0) return -1;
    if (store_worker_list(life->st, &life->arena, &workers, &len, &life->err) != 0) return -1;
    if (store_job_get(life->st, job_name(life), &life->arena, &rec, &life->err) != 0) return -1;
    if (store_job_doc(life->st, "result", job_name(life), &life->arena, &doc, &len, &life->err) != 0) return -1;
    if (store_ingest_offset(life->st, "c", (int32_t)draw(life, 2), &offset, &life->err) != 0) return -1;
    return store_stats_get(life->st, &stats, &life->err);
}

/* The scripts are forgotten, or belong to another epoch from now on. */
static int do_fence(struct life *life) {
    char reply[64];
    if (draw(life, 10)) return 0;
    if (draw(life, 2)) {
        test_redis_command(life->server, "SCRIPT FLUSH", reply, sizeof reply);
        sim_redis_restart(life->redis);
    } else {
        command(life, draw(life, 2) ? "HSET penstock:meta store_epoch 7" : "HSET penstock:meta store_epoch 8");
    }
    return 0;
}

static void compare_everything(struct life *life) {
    static const char *const queries[] = {"HGETALL penstock:meta",
                                          "HGETALL penstock:ingest",
                                          "HGETALL penstock:tombstone_reasons",
                                          "SMEMBERS penstock:workers",
                                          "XREAD COUNT 10000 STREAMS penstock:outbox 0",
                                          "ZRANGE penstock:timers 0 -1 WITHSCORES",
                                          "ZRANGE penstock:tombstones 0 -1 WITHSCORES",
                                          "ZRANGE penstock:ready:m 0 -1 WITHSCORES",
                                          "ZRANGE penstock:ready:n 0 -1 WITHSCORES",
                                          "ZRANGE penstock:parked:m:t0 0 -1 WITHSCORES",
                                          "ZRANGE penstock:parked:m:t1 0 -1 WITHSCORES",
                                          "ZRANGE penstock:parked:n:t0 0 -1 WITHSCORES",
                                          "ZRANGE penstock:parked:n:t1 0 -1 WITHSCORES",
                                          "HGETALL penstock:counts",
                                          "HGETALL penstock:policy",
                                          "ZRANGE penstock:index:queued 0 -1 WITHSCORES",
                                          "ZRANGE penstock:index:running 0 -1 WITHSCORES",
                                          "ZRANGE penstock:index:completed 0 -1 WITHSCORES",
                                          "ZRANGE penstock:index:failed 0 -1 WITHSCORES",
                                          "ZRANGE penstock:index:cancelled 0 -1 WITHSCORES"};
    static const char *const kinds[] = {"HGETALL penstock:job", "GET penstock:spec", "GET penstock:result",
                                        "GET penstock:error"};
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) command(life, queries[i]);
    for (int worker = 0; worker < WORKERS; worker++)
        command(life, arena_printf(&life->arena, "ZRANGE penstock:held:w%d 0 -1 WITHSCORES", worker));
    for (int job = 0; job < JOBS; job++)
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
            command(life, arena_printf(&life->arena, "%s:j%d", kinds[k], job));
}

static void live(struct test_redis *server, uint64_t seed) {
    static int (*const deeds[])(struct life *) = {do_ingest, do_ingest, do_claim,  do_claim, do_renew,
                                                  do_finish, do_finish, do_policy, do_lost,  do_sweep,
                                                  do_relay,  do_look,   do_fence};
    struct store_config cfg = {.url = "both",
                               .prefix = "penstock:",
                               .retention_ms = 60000,
                               .tombstone_ms = 30000,
                               .max_crashes = 3,
                               .may_recover = true};
    struct life life = {.rng = seed, .server = server, .now_ms = START_MS};
    int64_t now_us = START_MS * 1000;
    char reply[64];
    test_redis_command(server, "FLUSHALL", reply, sizeof reply);
    test_redis_command(server, "SCRIPT FLUSH", reply, sizeof reply);
    life.redis = sim_redis_new(seed, &now_us);
    life.twin = twin_new(test_redis_url(server), life.redis);
    life.st = store__new(&cfg, &life.twin->base);
    arena_init(&life.arena);
    /* An epoch before any clock: the first attach would take the present, which the two do not share. */
    command(&life, "HSET penstock:meta store_epoch 9000000000000");
    for (int i = 0; i < CALLS; i++) {
        life.now_ms += (int64_t)draw(&life, draw(&life, 10) ? 400 : 8000);
        set_clock(&life);
        expect(&life, deeds[draw(&life, sizeof deeds / sizeof deeds[0])](&life));
        arena_reset(&life.arena);
    }
    compare_everything(&life);
    seen.replies += life.twin->compared;
    store_free(life.st);
    sim_redis_free(life.redis);
    arena_done(&life.arena);
}

static void test_the_simulation_answers_what_redis_answers(void **state) {
    struct test_redis *server = test_redis_start();
    for (uint64_t seed = 1; seed <= SEQUENCES; seed++) live(server, seed);
    test_redis_stop(server);
    print_message("%llu replies compared\n", (unsigned long long)seen.replies);
    assert_true(seen.replies > (uint64_t)SEQUENCES * CALLS);
    assert_true(seen.refused > 0);
    for (int i = 0; i <= STORE_RELEASED; i++) assert_true(seen.accepted[i] > 0);
}

int main(void) {
    log_setup(LOG_LEVEL_OFF, LOG_FORMAT_TEXT);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_simulation_answers_what_redis_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
