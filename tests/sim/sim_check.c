/* What must hold.
 *
 * Three kinds of looks. At every command that took effect in Redis, with the eyes of somebody who saw all earlier ones:
 * tokens only grow, a result or a renewal is taken only with the newest token of its job, a command of the log is taken
 * once. After every step: what is ready is queued, what has ended stays ended, nothing queued is being cancelled. At
 * rest: the whole events topic is folded, job by job, and compared with the records, and each command with its fate. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/wire.h"
#include "sim_world_internal.h"

#define ARGV_AT 4 /* EVALSHA sha 1 meta */

/* --- the trace --------------------------------------------------------------------------------------------------- */

static void hash_reply(uint64_t *hash, const redisReply *reply) {
    sim_hash(hash, &reply->type, sizeof reply->type);
    sim_hash(hash, &reply->integer, sizeof reply->integer);
    if (reply->str) sim_hash(hash, reply->str, reply->len);
    for (size_t i = 0; i < reply->elements; i++) hash_reply(hash, reply->element[i]);
}

static void print_reply(const redisReply *reply) {
    if (reply->type == REDIS_REPLY_INTEGER)
        printf(" %lld", reply->integer);
    else if (reply->str)
        printf(" %.60s", reply->str);
    for (size_t i = 0; i < reply->elements && i < 8; i++) print_reply(reply->element[i]);
}

static void print_call(const struct sim_world *world, const struct store__transport *conn, const char *script,
                       const struct store__args *args, const redisReply *reply) {
    const char *who = "(late)";
    for (int i = 0; i < SIM_ACTORS; i++)
        if (world->actors[i].conn == conn) who = world->actors[i].name;
    printf("%11" PRId64 " %s: %s", world->now_us / 1000 % 100000000, who, script ? script : args->argv[0]);
    bool is_text = !script && (strcmp(args->argv[0], "SCRIPT") == 0 || strcmp(args->argv[0], "EVAL") == 0);
    for (size_t i = script ? ARGV_AT : 1; !is_text && i < args->count && i < 24; i++)
        printf(" %.*s", args->lens[i] > 40 ? 40 : (int)args->lens[i], args->argv[i]);
    printf(" ->");
    print_reply(reply);
    putchar('\n');
}

/* --- at every command -------------------------------------------------------------------------------------------- */

static struct sim_job *job_of_arg(struct sim_world *world, const struct store__args *args, size_t at) {
    return sim_world__job(world, args->argv[at], args->lens[at]);
}

static void see_claimed(struct sim_world *world, const redisReply *rows) {
    for (size_t i = 1; i < rows->elements; i++) { /* behind the wait */
        const redisReply *id = rows->element[i]->element[0], *token = rows->element[i]->element[3];
        struct sim_job *job = sim_world__job(world, id->str, id->len);
        uint64_t epoch, n;
        if (!job || sscanf(token->str, "%" SCNu64 "-%" SCNu64, &epoch, &n) != 2) {
            sim_world__fail(world, "claim gave out %s with token %s", id->str, token->str);
            return;
        }
        if (epoch < world->last_epoch || (epoch == world->last_epoch && n <= world->last_n))
            sim_world__fail(world, "token %s does not grow", token->str);
        world->last_epoch = epoch;
        world->last_n = n;
        snprintf(job->token, sizeof job->token, "%s", token->str);
    }
}

static void see_token_use(struct sim_world *world, const char *what, const struct store__args *args, size_t at) {
    const struct sim_job *job = job_of_arg(world, args, at);
    if (!job || strcmp(job->token, args->argv[at + 1]) != 0)
        sim_world__fail(world, "%s of %s was taken with token %s while %s is the newest", what, args->argv[at],
                        args->argv[at + 1], job ? job->token : "none");
}

static void see_finish(struct sim_world *world, const struct store__args *args, const redisReply *reply) {
    size_t count = strtoul(args->argv[ARGV_AT], NULL, 10);
    for (size_t i = 0; i < count && i < reply->element[0]->elements; i++)
        if (reply->element[0]->element[i]->integer == 1) see_token_use(world, "the end", args, ARGV_AT + 1 + 7 * i);
    see_claimed(world, reply->element[1]);
}

static void see_renew(struct sim_world *world, const struct store__args *args, const redisReply *reply) {
    for (size_t i = 0; i < reply->elements; i++)
        if (reply->element[i]->integer != STORE_LEASE_LOST)
            see_token_use(world, "a renewal", args, ARGV_AT + 2 + 4 * i);
}

static struct sim_command *command_at(struct sim_world *world, const char *topic, int32_t partition, int64_t offset) {
    for (size_t i = 0; i < world->command_count; i++) {
        const struct bus_position *at = &world->commands[i].at;
        if (at->offset == offset && at->partition == partition && strcmp(at->topic, topic) == 0)
            return &world->commands[i];
    }
    return NULL;
}

static void see_ingest(struct sim_world *world, const struct store__args *args, const redisReply *reply) {
    size_t at = ARGV_AT;
    for (size_t i = 0; i < reply->elements; i++) {
        struct sim_command *cmd =
            command_at(world, args->argv[at + 1], atoi(args->argv[at + 2]), atoll(args->argv[at + 3]));
        cmd->seen = true;
        if (reply->element[i]->integer != STORE_DUPLICATE) {
            if (cmd->taken)
                sim_world__fail(world, "the command at %s[%d] %" PRId64 " was taken twice", cmd->at.topic,
                                (int)cmd->at.partition, cmd->at.offset);
            cmd->taken = true;
        }
        switch (args->argv[at][0]) {
        case 'C':
            at += 21 + 2 * strtoul(args->argv[at + 20], NULL, 10);
            break;
        case 'X':
            at += 10;
            break;
        case 'M':
            at += 12;
            break;
        default:
            at += 11;
        }
    }
}

/* A relay that forgets what it has read before Kafka has it. */
static void trim_early(struct sim_world *world, const redisReply *reply) {
    const redisReply *rows = reply->element[0]->element[1];
    const char *last = rows->element[rows->elements - 1]->element[0]->str;
    freeReplyObject(
        sim_redis_query(world->redis, "XTRIM " SIM_PREFIX "outbox MINID = %.*s-1", (int)strcspn(last, "-"), last));
    world->result->mutated++;
}

void sim_check__after(void *self, const struct store__transport *conn, const char *script,
                      const struct store__args *args, const redisReply *reply) {
    struct sim_world *world = self;
    for (size_t i = 0; i < args->count; i++) sim_hash(&world->result->hash, args->argv[i], args->lens[i]);
    hash_reply(&world->result->hash, reply);
    if (world->print) print_call(world, conn, script, args, reply);
    if (reply->type == REDIS_REPLY_ERROR) return;
    if (script && strcmp(script, "claim") == 0) see_claimed(world, reply);
    if (script && strcmp(script, "finish") == 0) see_finish(world, args, reply);
    if (script && strcmp(script, "renew") == 0) see_renew(world, args, reply);
    if (script && strcmp(script, "ingest") == 0) see_ingest(world, args, reply);
    if (world->mutant == SIM_MUTANT_TRIM_EARLY && strcmp(args->argv[0], "XREAD") == 0 &&
        reply->type == REDIS_REPLY_ARRAY)
        trim_early(world, reply);
}

/* --- after every step -------------------------------------------------------------------------------------------- */

static void check_ready(struct sim_world *world, const char *model) {
    redisReply *ready = sim_redis_query(world->redis, "ZRANGE " SIM_PREFIX "ready:%s 0 -1", model);
    for (size_t i = 0; i < ready->elements; i++) {
        redisReply *state = sim_redis_query(world->redis, "HGET " SIM_PREFIX "job:%s state", ready->element[i]->str);
        if (!state->str || strcmp(state->str, "queued") != 0)
            sim_world__fail(world, "%s is among the ready ones but %s", ready->element[i]->str,
                            state->str ? state->str : "gone");
        freeReplyObject(state);
    }
    freeReplyObject(ready);
}

static void check_progress(struct sim_world *world, struct sim_job *job) {
    struct arena arena;
    struct job_record rec;
    struct err err;
    arena_init(&arena);
    if (store_job_get(world->eye, job->id, &arena, &rec, &err) != 0)
        sim_world__fail(world, "%s: %s", job->id, err.msg);
    else if (rec.seq < job->seen_seq)
        sim_world__fail(world, "%s: seq went back to %" PRId64, job->id, rec.seq);
    else if (job_state_is_terminal(job->seen_state) && rec.seq != job->seen_seq)
        sim_world__fail(world, "%s was %s and is %s", job->id, job_state_name(job->seen_state),
                        job_state_name(rec.state));
    else if (rec.cancel_requested && rec.state != JOB_STATE_RUNNING)
        sim_world__fail(world, "%s is to be cancelled and %s", job->id, job_state_name(rec.state));
    job->seen_state = rec.state;
    job->seen_seq = rec.seq;
    arena_done(&arena);
}

void sim_check__step(struct sim_world *world) {
    for (size_t i = 0; i < SIM_MODELS; i++) check_ready(world, sim_world__models[i]);
    if (world->job_count)
        check_progress(world, &world->jobs[world->result->counts[SIM_COUNT_STEPS] % world->job_count]);
}

static int64_t ask_int(struct sim_world *world, const char *query) {
    redisReply *reply = sim_redis_query(world->redis, "%s", query);
    int64_t n = reply->type == REDIS_REPLY_INTEGER ? reply->integer : reply->str ? atoll(reply->str) : 0;
    freeReplyObject(reply);
    return n;
}

bool sim_check__at_rest(struct sim_world *world) {
    char query[96];
    for (size_t t = 0; t < world->bus->topic_count; t++)
        for (int p = 0; world->bus->topics[t].consumed && p < world->bus->topics[t].partitions; p++) {
            snprintf(query, sizeof query, "HGET " SIM_PREFIX "ingest %s:%d", world->bus->topics[t].name, p);
            if (ask_int(world, query) != (int64_t)world->bus->topics[t].logs[p].count) return false;
        }
    for (size_t i = 0; i < world->job_count; i++) {
        check_progress(world, &world->jobs[i]);
        if (world->jobs[i].first_create >= 0 && !job_state_is_terminal(world->jobs[i].seen_state)) return false;
    }
    for (int i = 0; i < SIM_ACTORS; i++)
        if (world->actors[i].worker && !worker_is_idle(world->actors[i].worker)) return false;
    return ask_int(world, "XLEN " SIM_PREFIX "outbox") == 0;
}

/* --- at rest: the events ----------------------------------------------------------------------------------------- */

static void count_event(struct sim_world *world, const struct job_event *ev) {
    static const struct {
        enum job_state to;
        const char *reason; /* NULL: any */
        enum sim_count count;
    } table[] = {
        {JOB_STATE_RUNNING, NULL, SIM_COUNT_RUNS},
        {JOB_STATE_COMPLETED, NULL, SIM_COUNT_COMPLETED},
        {JOB_STATE_FAILED, NULL, SIM_COUNT_FAILED},
        {JOB_STATE_CANCELLED, NULL, SIM_COUNT_CANCELLED},
        {JOB_STATE_REJECTED, NULL, SIM_COUNT_REJECTED},
        {JOB_STATE_QUEUED, "retry", SIM_COUNT_RETRY},
        {JOB_STATE_QUEUED, "release", SIM_COUNT_RELEASE},
        {JOB_STATE_QUEUED, "worker_lost", SIM_COUNT_WORKER_LOST},
        {JOB_STATE_FAILED, "worker_lost", SIM_COUNT_WORKER_LOST_FOR_GOOD},
        {JOB_STATE_FAILED, "timeout", SIM_COUNT_TIMEOUT},
        {JOB_STATE_FAILED, "queue_timeout", SIM_COUNT_QUEUE_TIMEOUT},
        {JOB_STATE_REJECTED, "job_conflict", SIM_COUNT_CONFLICT},
        {JOB_STATE_REJECTED, "too_late", SIM_COUNT_TOO_LATE},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (ev->to == table[i].to && (!table[i].reason || strcmp(table[i].reason, ev->reason) == 0))
            world->result->counts[table[i].count]++;
    if (ev->from == JOB_STATE_NONE && ev->to == JOB_STATE_CANCELLED) world->result->counts[SIM_COUNT_TOMBSTONE]++;
}

static bool same_bytes(const char *a, size_t a_len, const char *b, size_t b_len) {
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

static void fold_rejected(struct sim_world *world, const struct job_event *ev) {
    struct sim_command *cmd = command_at(world, ev->source.topic, ev->source.partition, ev->source.offset);
    if (!cmd)
        sim_world__fail(world, "a rejected event names no command of ours");
    else if (cmd->rejected_events++ == 0)
        count_event(world, ev);
    if (cmd) cmd->reason = ev->reason;
}

static void fold_first(struct sim_world *world, struct sim_job *job, const struct job_event *ev,
                       const struct bus_msg *msg) {
    struct err err;
    if (ev->seq > SIM_SEQ_MAX || job_fold(&job->rec, ev, &err) != 0) {
        sim_world__fail(world, "%s", ev->seq > SIM_SEQ_MAX ? "a job without end" : err.msg);
        return;
    }
    job->events[ev->seq - 1] = msg;
    job->last = *ev;
    count_event(world, ev);
    if (ev->seq > 1) return;
    const struct bus_position *at = &world->commands[job->first_create].at;
    if (job->first_create < 0 || ev->source.offset != at->offset || ev->source.partition != at->partition)
        sim_world__fail(world, "%s was not made by the first command that creates it", job->id);
}

static void fold_event(struct sim_world *world, const struct bus_msg *msg) {
    struct job_event ev;
    struct err err;
    if (wire_event_decode(msg->value, msg->value_len, &world->arena, &ev, &err) != 0) {
        sim_world__fail(world, "event: %s", err.msg);
        return;
    }
    if (ev.to == JOB_STATE_REJECTED) {
        fold_rejected(world, &ev);
        return;
    }
    struct sim_job *job = sim_world__job(world, ev.job_id, strlen(ev.job_id));
    if (!job) {
        sim_world__fail(world, "an event of an unknown job %s", ev.job_id);
    } else if (ev.seq > job->rec.seq) {
        fold_first(world, job, &ev, msg);
    } else {
        const struct bus_msg *first = ev.seq > 0 ? job->events[ev.seq - 1] : NULL;
        world->result->counts[SIM_COUNT_REPEATED_EVENT]++;
        if (!first || !same_bytes(first->value, first->value_len, msg->value, msg->value_len))
            sim_world__fail(world, "%s: the repeat of event %" PRId64 " says something else", ev.job_id, ev.seq);
    }
}

static int64_t header_int(const struct bus_msg *msg, const char *name) {
    for (size_t i = 0; i < msg->header_count; i++)
        if (strcmp(msg->headers[i].name, name) == 0) return atoll(msg->headers[i].value);
    return -1;
}

static void see_dead_letter(struct sim_world *world, const struct bus_msg *msg) {
    const char *topic = "";
    for (size_t i = 0; i < msg->header_count; i++)
        if (strcmp(msg->headers[i].name, "penstock_source_topic") == 0) topic = msg->headers[i].value;
    int32_t partition = (int32_t)header_int(msg, "penstock_source_partition");
    struct sim_command *cmd = command_at(world, topic, partition, header_int(msg, "penstock_source_offset"));
    if (!cmd) {
        sim_world__fail(world, "a dead letter names no command of ours");
        return;
    }
    const struct bus_msg *sent = &sim_bus_log_get(world->bus, topic, partition)->msgs[cmd->at.offset];
    cmd->dead_letters++;
    if (!same_bytes(sent->value, sent->value_len, msg->value, msg->value_len) ||
        !same_bytes(sent->key, sent->key_len, msg->key, msg->key_len))
        sim_world__fail(world, "a dead letter is not what was sent: %.*s", (int)msg->value_len, msg->value);
}

/* --- at rest: jobs and commands ---------------------------------------------------------------------------------- */

static void check_doc(struct sim_world *world, const struct sim_job *job, const char *what) {
    const char *doc;
    size_t len;
    struct err err;
    if (store_job_doc(world->eye, what, job->id, &world->arena, &doc, &len, &err) != 0 || !doc ||
        !same_bytes(doc, len, job->last.doc, job->last.doc_len))
        sim_world__fail(world, "%s: its %s is not that of its last event", job->id, what);
}

static void check_job(struct sim_world *world, struct sim_job *job) {
    struct job_record rec = {0};
    struct err err;
    if (store_job_get(world->eye, job->id, &world->arena, &rec, &err) != 0)
        sim_world__fail(world, "%s: %s", job->id, err.msg);
    if (job->first_create < 0) {
        if (rec.state != JOB_STATE_NONE || job->rec.seq)
            sim_world__fail(world, "%s was never created and exists", job->id);
        return;
    }
    world->result->counts[SIM_COUNT_JOBS]++;
    const char *differs = job_record_diff(&job->rec, &rec);
    if (!job_state_is_terminal(rec.state))
        sim_world__fail(world, "%s is %s at rest", job->id, job_state_name(rec.state));
    if (differs) sim_world__fail(world, "%s: record and events differ in %s", job->id, differs);
    if (rec.state == JOB_STATE_COMPLETED) check_doc(world, job, "result");
    if (rec.state == JOB_STATE_FAILED) check_doc(world, job, "error");
    bool cancelled_first = job->first_cancel >= 0 && job->first_cancel < job->first_create;
    if (cancelled_first && (rec.state != JOB_STATE_CANCELLED || rec.seq != 1))
        sim_world__fail(world, "%s was cancelled before it was created and is %s", job->id, job_state_name(rec.state));
}

static void check_command(struct sim_world *world, const struct sim_command *cmd) {
    const struct sim_job *job = cmd->job >= 0 ? &world->jobs[cmd->job] : NULL;
    bool cancel = cmd->kind == COMMAND_CANCEL;
    /* A cancel that was not refused ends its job, unless the result was quicker: it never ends as failed. */
    bool must = cmd->kind == COMMAND_MALFORMED || cmd->other_body || (cancel && job->rec.state == JOB_STATE_FAILED);
    bool may = must || (cancel && job->rec.state == JOB_STATE_COMPLETED);
    const char *wanted = cmd->other_body ? "job_conflict" : cancel ? "too_late" : NULL;
    bool rejected = cmd->rejected_events > 0;
    if (!cmd->seen)
        sim_world__fail(world, "the command at %s[%d] %" PRId64 " was passed over", cmd->at.topic,
                        (int)cmd->at.partition, cmd->at.offset);
    if ((must && !rejected) || (rejected && !may) || (rejected && wanted && strcmp(cmd->reason, wanted) != 0) ||
        rejected != (cmd->dead_letters > 0))
        sim_world__fail(world, "the command at %s[%d] %" PRId64 ": %d rejected events (%s), %d dead letters",
                        cmd->at.topic, (int)cmd->at.partition, cmd->at.offset, cmd->rejected_events,
                        rejected ? cmd->reason : "none", cmd->dead_letters);
}

/* Nothing but the timers of retention, the index and the records is left. */
static void check_leftovers(struct sim_world *world) {
    static const char *const states[] = {"queued", "running", "completed", "failed", "cancelled"};
    int64_t jobs = (int64_t)world->result->counts[SIM_COUNT_JOBS], ended = 0;
    char query[96];
    for (size_t i = 0; i < 5; i++) {
        snprintf(query, sizeof query, "ZCARD " SIM_PREFIX "index:%s", states[i]);
        int64_t count = ask_int(world, query);
        ended += i >= 2 ? count : 0;
        if (i < 2 && count) sim_world__fail(world, "the index still lists %" PRId64 " jobs as %s", count, states[i]);
    }
    if (ended != jobs) sim_world__fail(world, "the index lists %" PRId64 " of %" PRId64 " jobs", ended, jobs);
    if (ask_int(world, "ZCARD " SIM_PREFIX "timers") != jobs) sim_world__fail(world, "timers are left or missing");
    for (size_t i = 0; i < SIM_MODELS; i++) {
        snprintf(query, sizeof query, "ZCARD " SIM_PREFIX "ready:%s", sim_world__models[i]);
        if (ask_int(world, query)) sim_world__fail(world, "jobs of %s are still ready", sim_world__models[i]);
    }
    for (int i = 0; i < SIM_ACTORS; i++)
        for (int life = 1; world->actors[i].worker && life <= world->actors[i].life; life++) {
            snprintf(query, sizeof query, "EXISTS " SIM_PREFIX "held:worker%d-%d", world->actors[i].number, life);
            if (ask_int(world, query))
                sim_world__fail(world, "worker%d-%d still holds jobs", world->actors[i].number, life);
        }
}

void sim_check__all(struct sim_world *world) {
    for (int32_t p = 0; p < 2; p++) {
        const struct sim_bus_log *events = sim_bus_log_get(world->bus, SIM_EVENTS, p);
        for (size_t i = 0; i < events->count; i++) fold_event(world, &events->msgs[i]);
    }
    const struct sim_bus_log *letters = sim_bus_log_get(world->bus, SIM_DLQ, 0);
    for (size_t i = 0; i < letters->count; i++) see_dead_letter(world, &letters->msgs[i]);
    for (size_t i = 0; i < world->job_count; i++) check_job(world, &world->jobs[i]);
    for (size_t i = 0; i < world->command_count; i++) check_command(world, &world->commands[i]);
    check_leftovers(world);
}
