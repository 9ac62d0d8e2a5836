/* The world and its scheduler.
 *
 * Problem: the promises must hold wherever a process is killed, however late it goes on and whoever gets ahead of it.
 * Design: whoever has a step function is an actor with a Redis connection of its own. The scheduler picks one at random
 * and lets time pass. Before each Redis call another actor may step first, to a depth of two, so that steps interleave
 * at every call as processes do. Killing an actor dooms its connection at some call, before or after the call's effect;
 * when its step comes back it is freed without a farewell and a new one starts under a new name. After the rough part
 * the faults end and the world must come to rest within bounds: liveness is a promise too. What breaks if changed:
 * anything here that depends on an address, the real time or the order of a hash table makes a seed irreproducible;
 * every seed is run twice to see that nothing does. */
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_world_internal.h"

#define START_US        INT64_C(1790000000000000) /* September 2026 */
#define ROUGH_ROUNDS    500
#define CALM_ROUNDS     20000 /* at most; reaching them means that something hangs */
#define REST_LOOK       16    /* rounds between looks whether all is at rest */
#define WORKER_LEASE_MS 5000
#define RELAY_LEASE_MS  3000
#define GRACE_MS        2000
#define RETENTION_MS    (INT64_C(7) * 24 * 3600 * 1000)
#define TOMBSTONE_MS    (INT64_C(24) * 3600 * 1000)
#define MAX_CRASHES     3
#define LONG_ROLLS      10 /* restarts of all control processes while a long job runs */
#define RETIRES         3
#define SKEWS           5
#define STALL_STEPS     40 /* of others, while a process stands still, at most */
#define MAX_QUEUED      6  /* of one model: few enough for back-pressure to be at work */

const char *const sim_count_names[SIM_COUNT_COUNT] = {
    "jobs",           "runs",          "completed",    "failed",      "cancelled",
    "rejected",       "retry",         "release",      "worker_lost", "worker_lost for good",
    "timeout",        "queue_timeout", "job_conflict", "too_late",    "tombstone",
    "repeated event", "late result",   "crash",        "restart",     "steps"};

void sim_world__fail(struct sim_world *world, const char *fmt, ...) {
    va_list ap;
    if (sim_world__failed(world)) return;
    va_start(ap, fmt);
    vsnprintf(world->result->failure, sizeof world->result->failure, fmt, ap);
    va_end(ap);
}

bool sim_world__failed(const struct sim_world *world) { return world->result->failure[0] != '\0'; }

struct sim_job *sim_world__job(struct sim_world *world, const char *id, size_t len) {
    for (size_t i = 0; i < world->job_count; i++)
        if (strlen(world->jobs[i].id) == len && memcmp(world->jobs[i].id, id, len) == 0) return &world->jobs[i];
    return NULL;
}

static uint64_t draw(struct sim_world *world, uint64_t n) { return sim_rng_below(&world->rng, n); }
static bool chance(struct sim_world *world, unsigned per_mille) { return sim_rng_chance(&world->rng, per_mille); }

/* --- clock and runner -------------------------------------------------------------------------------------------- */

static int64_t clock_us(const struct clock *base) {
    struct sim_clock *clock = (struct sim_clock *)(uintptr_t)base;
    int64_t now = clock->first_us ? clock->first_us : *clock->now_us;
    clock->first_us = 0;
    return now;
}

static int64_t clock_ms(const struct clock *base) { return *((const struct sim_clock *)base)->now_us / 1000; }

static struct sim_clock clock_new(const int64_t *now_us) {
    return (struct sim_clock){.base = {clock_us, clock_ms}, .now_us = now_us};
}

static void runner_start(struct worker_runner *base, struct worker_batch *batch) {
    struct sim_runner *runner = (struct sim_runner *)base;
    struct sim_world *world = runner->world;
    runner->batch = batch;
    runner->start_us = world->now_us;
    int64_t run_us = world->run_us ? world->run_us : (int64_t)draw(world, chance(world, 200) ? 5000000 : 100000);
    runner->end_us = world->now_us + run_us;
    runner->hangs = !world->calm && !world->run_us && chance(world, 15);
}

/* Does the worker hold a job that kills it? */
static bool holds_poison(struct sim_world *world, const struct sim_runner *runner) {
    const struct sim_actor *actor =
        (const struct sim_actor *)((const char *)runner - offsetof(struct sim_actor, runner));
    redisReply *held = sim_redis_query(world->redis, "ZRANGE " SIM_PREFIX "held:%s 0 -1", actor->name);
    bool poison = false;
    for (size_t i = 0; i < held->elements; i++) {
        const struct sim_job *job = sim_world__job(world, held->element[i]->str, held->element[i]->len);
        poison |= job && job->poison;
    }
    freeReplyObject(held);
    return poison;
}

/* The batch runs in the moment of its end; the first reading of its clock is the moment of its start, so that deadlines
 * are judged as if it had run all the time. */
static bool runner_done(struct worker_runner *base) {
    struct sim_runner *runner = (struct sim_runner *)base;
    if (!runner->batch || runner->hangs || runner->world->now_us < runner->end_us) return false;
    runner->kills = holds_poison(runner->world, runner);
    if (runner->kills) return false;
    runner->clock.first_us = runner->start_us;
    worker_batch_run(runner->batch, &runner->clock.base);
    runner->batch = NULL;
    return true;
}

static int runner_fd(struct worker_runner *base) { return -1; }
static void runner_free(struct worker_runner *base) { (void)base; } /* part of its actor */

struct worker_models *sim_models_load(void) {
    struct worker_model_options options = {.repository = SOURCE_DIR "/tests/sim/models", .onnx_executor = "onnx-cpu"};
    struct worker_models *models;
    struct err err;
    if (worker_models_load(&options, &models, &err) == 0 && worker_models_count(models) == 2) return models;
    fprintf(stderr, "the models of the simulation cannot be loaded\n");
    abort();
}

/* --- actors ------------------------------------------------------------------------------------------------------ */

static int make_producer(void *ctx, bus_delivered_fn *on_delivered, void *self, struct bus_producer **ret,
                         struct err *err) {
    struct sim_world *world = ctx;
    if (sim_rng_chance(&world->bus->rng, world->bus->faults.unavailable))
        return err_set(err, ERR_BUS_UNAVAILABLE, "kafka (simulated): no broker answers");
    *ret = sim_bus_producer(world->bus, on_delivered, self);
    return 0;
}

static void start_ingest(struct sim_world *world, struct sim_actor *actor) {
    struct ingest_config cfg = {.batch = 5,
                                .max_attempts = 3,
                                .timeout_ms = 20000,
                                .queue_timeout_ms = 600000,
                                .pausable_topic = SIM_COMMANDS,
                                .max_queued = MAX_QUEUED,
                                .clock = &world->clock.base};
    actor->ingest = ingest_new(&cfg, actor->st);
    actor->consumer = sim_bus_consumer(world->bus, ingest_assign_ops(actor->ingest));
    ingest_use_consumer(actor->ingest, actor->consumer);
}

static void start_relay(struct sim_world *world, struct sim_actor *actor) {
    struct relay_config cfg = {.id = actor->name,
                               .events_topic = SIM_EVENTS,
                               .dlq_topic = SIM_DLQ,
                               .source = "/sim",
                               .lease_ms = RELAY_LEASE_MS,
                               .batch = 4,
                               .make_producer = make_producer,
                               .ctx = world};
    actor->relay = relay_new(&cfg, actor->st, &world->clock.base);
}

static void start_worker(struct sim_world *world, struct sim_actor *actor) {
    struct worker_config cfg = {.id = actor->name,
                                .host = "sim",
                                .executor = "fake",
                                .lease_ms = world->lease_ms,
                                .grace_ms = GRACE_MS,
                                .prefetch_below_ms = 500,
                                .backoff_ms = 100,
                                .backoff_max_ms = 1000,
                                .max_result_bytes = 65536,
                                .seed = sim_rng_next(&world->rng)};
    actor->runner = (struct sim_runner){.base = {runner_start, runner_done, runner_fd, runner_free}, .world = world};
    actor->runner.clock = clock_new(&world->now_us);
    actor->worker = worker_new(&cfg, actor->st, world->models, &actor->runner.base, &world->clock.base);
}

static void actor_start(struct sim_world *world, struct sim_actor *actor) {
    static const char *const names[] = {"ingest", "relay", "sweeper", "supervisor", "worker"};
    struct store_config cfg = {.url = "sim",
                               .prefix = SIM_PREFIX,
                               .retention_ms = RETENTION_MS,
                               .tombstone_ms = TOMBSTONE_MS,
                               .max_crashes = MAX_CRASHES,
                               .may_recover = actor->kind != ACTOR_WORKER};
    snprintf(actor->name, sizeof actor->name, "%s%d-%d", names[actor->kind], actor->number, ++actor->life);
    actor->conn = sim_redis_connect(world->redis);
    actor->st = store__new(&cfg, actor->conn);
    if (actor->kind == ACTOR_INGEST)
        start_ingest(world, actor);
    else if (actor->kind == ACTOR_RELAY)
        start_relay(world, actor);
    else if (actor->kind == ACTOR_WORKER)
        start_worker(world, actor);
    else
        actor->sweeper = (struct sweeper){.st = actor->st, .limit = 5};
}

/* As kill -9 does it: memory and connections are gone, nobody is told. */
static void actor_stop(struct sim_actor *actor) {
    ingest_free(actor->ingest);
    bus_consumer_free(actor->consumer);
    relay_free(actor->relay);
    worker_free(actor->worker);
    store_free(actor->st);
    actor->ingest = NULL;
    actor->consumer = NULL;
    actor->relay = NULL;
    actor->worker = NULL;
}

/* A supervisor reports a dead worker; but it may have died too, and then the leases must do. */
static void actor_crash(struct sim_world *world, struct sim_actor *actor) {
    bool room = world->lost_count < sizeof world->lost / sizeof world->lost[0];
    if (actor->kind == ACTOR_WORKER && room && chance(world, 600))
        memcpy(world->lost[world->lost_count++], actor->name, sizeof actor->name);
    if (world->print) printf("%11" PRId64 " %s dies\n", world->now_us / 1000 % 100000000, actor->name);
    world->result->counts[SIM_COUNT_CRASH]++;
    actor_stop(actor);
    actor_start(world, actor);
}

/* A stop whose deadline has come: a worker gives back what it holds, as far as Redis lets it. */
static void actor_retire(struct sim_world *world, struct sim_actor *actor) {
    struct err ignored;
    if (world->print) printf("%11" PRId64 " %s stops\n", world->now_us / 1000 % 100000000, actor->name);
    actor->busy = true;
    if (actor->worker) (void)!worker_release(actor->worker, &ignored);
    actor->busy = false;
    actor_stop(actor);
    actor_start(world, actor);
}

static int supervise(struct sim_world *world, struct sim_actor *actor, struct err *err) {
    size_t jobs;
    char name[sizeof world->lost[0]];
    if (world->lost_count == 0) return 0;
    memcpy(name, world->lost[0], sizeof name);
    if (store_worker_lost(actor->st, name, &jobs, err) != 0) return -1;
    memmove(world->lost[0], world->lost[1], --world->lost_count * sizeof world->lost[0]);
    return (int)jobs;
}

static int actor_call(struct sim_world *world, struct sim_actor *actor, struct err *err) {
    switch (actor->kind) {
    case ACTOR_INGEST:
        return ingest_step(actor->ingest, err);
    case ACTOR_RELAY:
        return relay_step(actor->relay, err);
    case ACTOR_SWEEPER:
        return sweeper_step(&actor->sweeper, err);
    case ACTOR_SUPERVISOR:
        return supervise(world, actor, err);
    case ACTOR_WORKER:
        return worker_step(actor->worker, err);
    }
    return -1;
}

static void actor_step(struct sim_world *world, struct sim_actor *actor) {
    struct err err;
    if (actor->busy || world->now_us < actor->ready_at_us || sim_world__failed(world)) return;
    if (!world->calm && chance(world, world->crashes))
        sim_redis_doom(actor->conn, (int)draw(world, 4), chance(world, 500));
    uint64_t refused = actor->worker ? worker_stats_get(actor->worker).refused : 0;
    world->result->counts[SIM_COUNT_STEPS]++;
    actor->busy = true;
    int rc = actor_call(world, actor, &err);
    actor->busy = false;
    if (actor->worker)
        world->result->counts[SIM_COUNT_LATE_RESULT] += worker_stats_get(actor->worker).refused - refused;
    bool ends =
        rc < 0 && err.class == ERR_CLASS_FATAL && err.code == ERR_EXECUTION_FAILED && actor->kind == ACTOR_WORKER;
    if (ends || sim_redis_is_dead(actor->conn) || actor->runner.kills) {
        actor_crash(world, actor);
        return;
    }
    if (rc >= 0 && !world->calm && chance(world, world->retires)) actor_retire(world, actor);
    if (rc >= 0) return;
    if (err.class != ERR_CLASS_RETRY)
        sim_world__fail(world, "%s: %s: %s", actor->name, err_code_name(err.code), err.msg);
    actor->ready_at_us = world->now_us + 1000 * (int64_t)(1 + draw(world, 100));
}

/* --- the scheduler ----------------------------------------------------------------------------------------------- */

static void pass_time(struct sim_world *world) {
    uint64_t kind = draw(world, 1000);
    if (world->run_us) /* no process stands still for long */
        world->now_us += (int64_t)draw(world, (world->depth ? 10 : 200) * (uint64_t)world->lease_ms);
    else if (world->calm)
        world->now_us += (int64_t)draw(world, kind < 50 ? 5000000 : 100000);
    else if (kind < 700)
        world->now_us += (int64_t)draw(world, 3000);
    else if (kind < 960)
        world->now_us += (int64_t)draw(world, 300000);
    else if (kind < 995)
        world->now_us += (int64_t)draw(world, 3000000);
    else
        world->now_us += (int64_t)draw(world, 20000000);
    /* The wall clock of the machine that Redis runs on may be set, forwards or backwards. */
    if (!world->calm && chance(world, world->skews))
        world->redis->skew_us = ((int64_t)draw(world, 20000) - 10000) * 1000;
}

static void step_anyone(struct sim_world *world) {
    sim_bus_tick(world->bus);
    actor_step(world, &world->actors[draw(world, SIM_ACTORS)]);
}

/* Somebody gets ahead of a call; or, as with SIGSTOP, everybody does for a while: partitions move, leases end, and then
 * the call is made after all. */
static void before_call(void *self) {
    struct sim_world *world = self;
    if (world->depth == 2 || world->calm || !chance(world, world->overtakes)) return;
    world->depth++;
    for (uint64_t steps = chance(world, world->stalls) ? 1 + draw(world, STALL_STEPS) : 1; steps > 0; steps--) {
        pass_time(world);
        step_anyone(world);
    }
    world->depth--;
}

/* Each seed has its own weather: a kind of fault that never happens lets others go deeper than all of them at once. */
static unsigned weather(struct sim_world *world, unsigned usual) {
    static const unsigned factors[] = {0, 1, 1, 4};
    return usual * factors[draw(world, sizeof factors / sizeof factors[0])];
}

static void make_weather(struct sim_world *world) {
    struct sim_redis_faults *redis = &world->redis->faults;
    struct sim_bus_faults *bus = &world->bus->faults;
    redis->lost_request = weather(world, 10);
    redis->lost_reply = weather(world, 15);
    redis->delayed = weather(world, 8);
    redis->restart = weather(world, 2);
    bus->unavailable = weather(world, 20);
    bus->rebalance = weather(world, 10);
    bus->fail = weather(world, 15);
    bus->unknown = weather(world, 15);
    world->crashes = weather(world, 12);
    world->overtakes = weather(world, 60);
    world->stalls = weather(world, 50);
}

static void clear_weather(struct sim_world *world) {
    bool gaps = world->bus->faults.gaps, skips = world->bus->faults.skips;
    world->calm = true;
    world->redis->faults = (struct sim_redis_faults){0};
    world->redis->skew_us = 0;
    world->bus->faults = (struct sim_bus_faults){.gaps = gaps, .skips = skips};
}

static void world_new(struct sim_world *world) {
    static const enum sim_actor_kind kinds[SIM_ACTORS] = {ACTOR_INGEST,  ACTOR_INGEST,     ACTOR_RELAY,  ACTOR_RELAY,
                                                          ACTOR_SWEEPER, ACTOR_SUPERVISOR, ACTOR_WORKER, ACTOR_WORKER};
    struct store_config cfg = {.url = "sim", .prefix = SIM_PREFIX, .may_recover = true};
    world->now_us = START_US;
    world->clock = clock_new(&world->now_us);
    world->redis = sim_redis_new(sim_rng_next(&world->rng), &world->now_us);
    world->redis->hooks = (struct sim_redis_hooks){world, before_call, sim_check__after, sim_mutant__rewrite};
    world->bus = sim_bus_new(sim_rng_next(&world->rng));
    sim_bus_topic_add(world->bus, SIM_COMMANDS, 2, true);
    sim_bus_topic_add(world->bus, SIM_CONTROL, 1, true);
    sim_bus_topic_add(world->bus, SIM_EVENTS, 2, false);
    sim_bus_topic_add(world->bus, SIM_DLQ, 1, false);
    arena_init(&world->arena);
    world->eye = store__new(&cfg, sim_redis_connect_reliable(world->redis));
    for (int i = 0; i < SIM_ACTORS; i++) {
        world->actors[i].kind = kinds[i];
        world->actors[i].number = i > 0 && kinds[i - 1] == kinds[i];
        actor_start(world, &world->actors[i]);
    }
    world->bus->faults.gaps = world->mutant == SIM_MUTANT_PRODUCER_GAPS;
    world->bus->faults.skips = world->mutant == SIM_MUTANT_READER_SKIPS;
    make_weather(world);
}

static void world_free(struct sim_world *world) {
    for (int i = 0; i < SIM_ACTORS; i++) actor_stop(&world->actors[i]);
    store_free(world->eye);
    sim_bus_free(world->bus);
    sim_redis_free(world->redis);
    arena_done(&world->arena);
    free(world);
}

static void run_rough(struct sim_world *world) {
    for (int round = 0; round < ROUGH_ROUNDS && !sim_world__failed(world); round++) {
        if (chance(world, 200)) sim_client__submit(world);
        pass_time(world);
        step_anyone(world);
        sim_check__step(world);
    }
}

static void run_calm(struct sim_world *world) {
    clear_weather(world);
    for (int round = 0; !sim_world__failed(world); round++) {
        if (round % REST_LOOK == 0 && sim_check__at_rest(world)) return;
        if (round == CALM_ROUNDS) sim_world__fail(world, "the world does not come to rest");
        pass_time(world);
        step_anyone(world);
        sim_check__step(world);
    }
}

static struct sim_world *world_alloc(uint64_t seed, struct worker_models *models, struct sim_result *ret) {
    struct sim_world *world = mem_calloc(1, sizeof *world);
    *ret = (struct sim_result){.hash = SIM_HASH_START};
    world->seed = world->rng = seed;
    world->models = models;
    world->lease_ms = WORKER_LEASE_MS;
    world->retires = RETIRES;
    world->skews = SKEWS;
    world->result = ret;
    return world;
}

static void come_to_rest(struct sim_world *world) {
    run_calm(world);
    if (!sim_world__failed(world)) sim_check__all(world);
    world->result->counts[SIM_COUNT_RESTART] = world->redis->incarnation - 1;
    world_free(world);
}

void sim_run(uint64_t seed, enum sim_mutant mutant, struct worker_models *models, bool print, struct sim_result *ret) {
    struct sim_world *world = world_alloc(seed, models, ret);
    world->mutant = mutant;
    world->print = print;
    world_new(world);
    run_rough(world);
    come_to_rest(world);
}

/* --- a long job -------------------------------------------------------------------------------------------------- */

static void make_long_weather(struct sim_world *world) {
    world->redis->faults = (struct sim_redis_faults){.lost_request = 10, .lost_reply = 10, .delayed = 5};
    world->bus->faults = (struct sim_bus_faults){.unavailable = 20, .rebalance = 20, .unknown = 10};
    world->crashes = world->stalls = world->retires = world->skews = 0;
    world->overtakes = 30;
}

/* Every process but the workers, one after the other. */
static void roll_controls(struct sim_world *world) {
    for (int i = 0; i < SIM_ACTORS; i++)
        if (world->actors[i].kind != ACTOR_WORKER) actor_retire(world, &world->actors[i]);
}

/* Sound processes: each gets its turn several times in a lease. */
static void step_everyone(struct sim_world *world) {
    sim_bus_tick(world->bus);
    for (int i = 0; i < SIM_ACTORS; i++) actor_step(world, &world->actors[i]);
}

void sim_run_long(uint64_t seed, int64_t lease_ms, int64_t run_ms, struct worker_models *models,
                  struct sim_result *ret) {
    struct sim_world *world = world_alloc(seed, models, ret);
    world->lease_ms = lease_ms;
    world->run_us = run_ms * 1000;
    world_new(world);
    make_long_weather(world);
    sim_client__submit_long(world);
    int64_t each_us = world->run_us / LONG_ROLLS, end_us = world->now_us + world->run_us + each_us;
    int64_t roll_us = world->now_us + each_us;
    while (world->now_us < end_us && !sim_world__failed(world)) {
        pass_time(world);
        step_everyone(world);
        sim_check__step(world);
        if (world->now_us >= roll_us) {
            roll_controls(world);
            roll_us += each_us;
        }
    }
    come_to_rest(world);
}
