/* A model of a Kafka broker, as hostile as its contract allows.
 *
 * Problem: ingest and relay must be right whatever Kafka does within its contract; a real broker does the rare things
 * rarely and never twice alike.
 * Design: a log is an array; a member of the group keeps its partitions until it polls next, so that the old and the
 * new owner overlap; a producer is a queue per partition from which the broker stores in order, with an outcome drawn
 * for each message. Closing a producer only cuts its reports: what was under way may still be stored, in order, or be
 * lost. What breaks if changed: gapless producers (nothing behind a failed message is stored) are what the relay's
 * order rests on in production; `gaps` takes that away, and a test must then see events out of order. */
#include "sim_bus.h"

#include <stdlib.h>
#include <string.h>

#include "sim_rng.h"

#define POLL_MOST    6  /* messages: small batches, so that much happens between them */
#define LOSE_ZOMBIE  30 /* per mille of the ticks: a dead producer's requests are lost */
#define STORE_CHANCE 400
#define TELL_CHANCE  500
#define SKIP_CHANCE  100

struct sim_bus_member {
    struct bus_consumer base; /* first: the vtable's self */
    const char *paused;       /* a topic, borrowed; NULL: none */
    struct sim_bus *bus;
    struct sim_bus_member *next;
    const struct bus_assign_ops *assign;
    struct bus_position assigned[SIM_BUS_TOPICS * SIM_BUS_PARTITIONS];
    size_t assigned_count, batches; /* batches: polled and not yet released */
    uint64_t generation;            /* of the group, when `assigned` was decided */
};

enum fate { UNDER_WAY, STORED, FAILED };

struct sent {
    struct bus_msg msg;
    uint64_t tag;
    enum fate fate;
    bool error, told; /* error: what the report will say */
};

struct sim_bus_sender {
    struct bus_producer base; /* first: the vtable's self */
    struct sim_bus *bus;
    struct sim_bus_sender *next;
    bus_delivered_fn *on_delivered;
    void *self;
    struct sent *sent;
    size_t count, cap;
    bool broken, closed; /* broken: a gap would follow, so nothing more is stored */
};

/* --- logs -------------------------------------------------------------------------------------------------------- */

static size_t topic_index(const struct sim_bus *bus, const char *name) {
    for (size_t i = 0; i < bus->topic_count; i++)
        if (strcmp(bus->topics[i].name, name) == 0) return i;
    err_bug("no such topic", name, 0);
}

const struct sim_bus_log *sim_bus_log_get(const struct sim_bus *bus, const char *topic, int32_t partition) {
    return &bus->topics[topic_index(bus, topic)].logs[partition];
}

static int32_t partition_of(const struct sim_bus *bus, const char *topic, const char *key, size_t len) {
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < len; i++) hash = (hash ^ (unsigned char)key[i]) * 16777619U;
    return (int32_t)((hash >> 8) % (uint32_t)bus->topics[topic_index(bus, topic)].partitions);
}

static int64_t store_msg(struct sim_bus *bus, const struct bus_msg *msg) {
    struct sim_bus_log *log = &bus->topics[topic_index(bus, msg->topic)].logs[msg->partition];
    if (log->count == log->cap) {
        log->cap = log->cap ? 2 * log->cap : 32;
        log->msgs = mem_realloc(log->msgs, log->cap * sizeof *log->msgs);
    }
    log->msgs[log->count] = *msg;
    log->msgs[log->count].offset = (int64_t)log->count;
    return (int64_t)log->count++;
}

struct bus_position sim_bus_append(struct sim_bus *bus, const char *topic, const char *key, const char *value) {
    struct bus_msg msg = {.topic = bus->topics[topic_index(bus, topic)].name,
                          .partition = partition_of(bus, topic, key ? key : "", key ? strlen(key) : 0),
                          .key = arena_strdup(&bus->arena, key),
                          .key_len = key ? strlen(key) : 0,
                          .value = arena_strdup(&bus->arena, value),
                          .value_len = strlen(value)};
    return (struct bus_position){msg.topic, msg.partition, store_msg(bus, &msg)};
}

/* --- the group --------------------------------------------------------------------------------------------------- */

static size_t member_rank(const struct sim_bus_member *member, size_t *ret_count) {
    size_t rank = 0;
    *ret_count = 0;
    for (const struct sim_bus_member *m = member->bus->members; m; m = m->next) {
        if (m == member) rank = *ret_count;
        (*ret_count)++;
    }
    return rank;
}

/* Which partitions are this member's in the group's generation: each has one owner, and the owners change with it. */
static int take_assignment(struct sim_bus_member *member, struct err *err) {
    struct sim_bus *bus = member->bus;
    int64_t low[SIM_BUS_TOPICS * SIM_BUS_PARTITIONS] = {0}, high[SIM_BUS_TOPICS * SIM_BUS_PARTITIONS];
    size_t members, rank = member_rank(member, &members), count = 0, at = 0;
    uint64_t generation = bus->group_generation;
    if (member->assigned_count && member->assign->revoked)
        member->assign->revoked(member->assign->self, member->assigned, member->assigned_count);
    member->assigned_count = 0;
    for (size_t t = 0; t < bus->topic_count; t++)
        for (int32_t p = 0; bus->topics[t].consumed && p < bus->topics[t].partitions; p++, at++) {
            if ((at + generation) % members != rank) continue;
            high[count] = (int64_t)bus->topics[t].logs[p].count;
            member->assigned[count++] = (struct bus_position){bus->topics[t].name, p, BUS_OFFSET_BEGINNING};
        }
    if (member->assign->assigned(member->assign->self, member->assigned, low, high, count, err) != 0) return -1;
    for (size_t i = 0; bus->faults.skips && i < count; i++)
        if (member->assigned[i].offset < high[i] && sim_rng_chance(&bus->rng, SKIP_CHANCE))
            member->assigned[i].offset++;
    member->assigned_count = count;
    member->generation = generation;
    return 0;
}

static void release_batch(struct bus_batch *batch) {
    ((struct sim_bus_member *)batch->opaque)->batches--;
    free(batch->msgs);
}

static int consumer_poll(struct bus_consumer *con, size_t max, int timeout_ms, struct bus_batch *ret, struct err *err) {
    struct sim_bus_member *member = (struct sim_bus_member *)con;
    struct sim_bus *bus = member->bus;
    if (sim_rng_chance(&bus->rng, bus->faults.unavailable))
        return err_set(err, ERR_BUS_UNAVAILABLE, "kafka (simulated): no broker answers");
    if (member->generation != bus->group_generation && take_assignment(member, err) != 0) return -1;
    size_t most = 1 + sim_rng_below(&bus->rng, POLL_MOST);
    if (most > max) most = max;
    ret->msgs = mem_calloc(most, sizeof *ret->msgs);
    ret->release = release_batch;
    ret->opaque = member;
    member->batches++;
    size_t first = member->assigned_count ? sim_rng_below(&bus->rng, member->assigned_count) : 0;
    for (size_t i = 0; i < member->assigned_count; i++) {
        struct bus_position *pos = &member->assigned[(first + i) % member->assigned_count];
        if (member->paused && strcmp(member->paused, pos->topic) == 0) continue;
        const struct sim_bus_log *log = sim_bus_log_get(bus, pos->topic, pos->partition);
        while (ret->count < most && pos->offset < (int64_t)log->count)
            ret->msgs[ret->count++] = log->msgs[pos->offset++];
    }
    return 0;
}

/* Only lag metrics rest on commits. */
static int consumer_commit(struct bus_consumer *con, const struct bus_position *positions, size_t count,
                           struct err *err) {
    struct sim_bus *bus = ((struct sim_bus_member *)con)->bus;
    if (sim_rng_chance(&bus->rng, bus->faults.unavailable))
        return err_set(err, ERR_BUS_UNAVAILABLE, "kafka (simulated): the commit was not taken");
    return 0;
}

static int consumer_pause(struct bus_consumer *con, const char *topic, bool paused, struct err *err) {
    struct sim_bus_member *member = (struct sim_bus_member *)con;
    if (sim_rng_chance(&member->bus->rng, member->bus->faults.unavailable))
        return err_set(err, ERR_BUS_UNAVAILABLE, "kafka (simulated): nothing was paused");
    member->paused = paused ? topic : NULL;
    return 0;
}

static void consumer_ask_again(struct bus_consumer *con) {
    struct sim_bus_member *member = (struct sim_bus_member *)con;
    member->generation = member->bus->group_generation - 1;
}

static void consumer_free(struct bus_consumer *con) {
    struct sim_bus_member *member = (struct sim_bus_member *)con, **at = &member->bus->members;
    BUG_ON(member->batches); /* the contract: their bytes are the consumer's */
    while (*at != member) at = &(*at)->next;
    *at = member->next;
    member->bus->group_generation++;
    free(member);
}

static const struct bus_consumer_ops consumer_ops = {consumer_poll, consumer_commit, consumer_pause, consumer_ask_again,
                                                     consumer_free};

struct bus_consumer *sim_bus_consumer(struct sim_bus *bus, const struct bus_assign_ops *assign) {
    struct sim_bus_member *member = mem_calloc(1, sizeof *member);
    member->base.ops = &consumer_ops;
    member->bus = bus;
    member->assign = assign;
    member->next = bus->members;
    bus->members = member;
    bus->group_generation++;
    return &member->base;
}

/* --- producers --------------------------------------------------------------------------------------------------- */

static int producer_produce(struct bus_producer *prod, const struct bus_out *out, struct err *err) {
    struct sim_bus_sender *sender = (struct sim_bus_sender *)prod;
    struct sim_bus *bus = sender->bus;
    if (sim_rng_chance(&bus->rng, bus->faults.unavailable))
        return err_set(err, ERR_BUS_UNAVAILABLE, "kafka (simulated): the queue of unsent messages is full");
    if (sender->count == sender->cap) {
        sender->cap = sender->cap ? 2 * sender->cap : 16;
        sender->sent = mem_realloc(sender->sent, sender->cap * sizeof *sender->sent);
    }
    struct bus_header *headers = arena_alloc(&bus->arena, (out->header_count + 1) * sizeof *headers);
    for (size_t i = 0; i < out->header_count; i++)
        headers[i] = (struct bus_header){arena_strdup(&bus->arena, out->headers[i].name),
                                         arena_strndup(&bus->arena, out->headers[i].value, out->headers[i].value_len),
                                         out->headers[i].value_len};
    sender->sent[sender->count++] =
        (struct sent){.tag = out->tag,
                      .msg = {.topic = bus->topics[topic_index(bus, out->topic)].name,
                              .partition = out->partition >= 0 ? out->partition
                                                               : partition_of(bus, out->topic, out->key, out->key_len),
                              .key = out->key ? arena_strndup(&bus->arena, out->key, out->key_len) : NULL,
                              .key_len = out->key_len,
                              .value = arena_strndup(&bus->arena, out->value ? out->value : "", out->value_len),
                              .value_len = out->value_len,
                              .headers = headers,
                              .header_count = out->header_count}};
    return 0;
}

static void decide(struct sim_bus_sender *sender, struct sent *sent) {
    struct sim_bus *bus = sender->bus;
    bool fails = sender->broken || sim_rng_chance(&bus->rng, bus->faults.fail);
    sent->fate = fails ? FAILED : STORED;
    sent->error = fails || sim_rng_chance(&bus->rng, bus->faults.unknown);
    if (!fails) store_msg(bus, &sent->msg);
    if (sent->error && !bus->faults.gaps) sender->broken = true;
}

/* Stores some of what is under way; of one partition only in order. */
static void sender_work(struct sim_bus_sender *sender) {
    bool held[SIM_BUS_TOPICS][SIM_BUS_PARTITIONS] = {{false}};
    for (size_t i = 0; i < sender->count; i++) {
        struct sent *sent = &sender->sent[i];
        bool *hold = &held[topic_index(sender->bus, sent->msg.topic)][sent->msg.partition];
        if (sent->fate != UNDER_WAY || *hold) continue;
        if (sim_rng_chance(&sender->bus->rng, STORE_CHANCE))
            decide(sender, sent);
        else
            *hold = true;
    }
}

static int producer_poll(struct bus_producer *prod, int timeout_ms, struct err *err) {
    struct sim_bus_sender *sender = (struct sim_bus_sender *)prod;
    struct err failure;
    err_set(&failure, ERR_BUS_UNAVAILABLE, "kafka (simulated): the outcome of a message is not known");
    sender_work(sender);
    for (size_t i = 0; i < sender->count; i++) {
        struct sent *sent = &sender->sent[i];
        if (sent->fate == UNDER_WAY || sent->told || !sim_rng_chance(&sender->bus->rng, TELL_CHANCE)) continue;
        sent->told = true;
        sender->on_delivered(sender->self, sent->tag, sent->error ? &failure : NULL);
    }
    if (sender->broken && sim_rng_chance(&sender->bus->rng, TELL_CHANCE))
        return err_set(err, ERR_BUS_FATAL, "kafka (simulated): fatal: a gap would follow");
    return 0;
}

static void sender_unlink(struct sim_bus_sender *sender) {
    struct sim_bus_sender **at = &sender->bus->senders;
    while (*at != sender) at = &(*at)->next;
    *at = sender->next;
    free(sender->sent);
    free(sender);
}

static void producer_free(struct bus_producer *prod) { ((struct sim_bus_sender *)prod)->closed = true; }

static const struct bus_producer_ops producer_ops = {producer_produce, producer_poll, producer_free};

struct bus_producer *sim_bus_producer(struct sim_bus *bus, bus_delivered_fn *on_delivered, void *self) {
    struct sim_bus_sender *sender = mem_calloc(1, sizeof *sender);
    sender->base.ops = &producer_ops;
    sender->bus = bus;
    sender->on_delivered = on_delivered;
    sender->self = self;
    sender->next = bus->senders;
    bus->senders = sender;
    return &sender->base;
}

/* --- the broker -------------------------------------------------------------------------------------------------- */

void sim_bus_tick(struct sim_bus *bus) {
    if (sim_rng_chance(&bus->rng, bus->faults.rebalance)) bus->group_generation++;
    for (struct sim_bus_sender *sender = bus->senders, *next; sender; sender = next) {
        next = sender->next;
        sender_work(sender);
        if (sender->closed && sim_rng_chance(&bus->rng, LOSE_ZOMBIE)) sender_unlink(sender);
    }
}

void sim_bus_topic_add(struct sim_bus *bus, const char *name, int32_t partitions, bool consumed) {
    BUG_ON(bus->topic_count == SIM_BUS_TOPICS || partitions > SIM_BUS_PARTITIONS);
    bus->topics[bus->topic_count].name = name;
    bus->topics[bus->topic_count].partitions = partitions;
    bus->topics[bus->topic_count++].consumed = consumed;
}

struct sim_bus *sim_bus_new(uint64_t seed) {
    struct sim_bus *bus = mem_calloc(1, sizeof *bus);
    bus->rng = seed;
    arena_init(&bus->arena);
    return bus;
}

void sim_bus_free(struct sim_bus *bus) {
    if (!bus) return;
    BUG_ON(bus->members);
    while (bus->senders) sender_unlink(bus->senders);
    for (size_t t = 0; t < bus->topic_count; t++)
        for (size_t p = 0; p < SIM_BUS_PARTITIONS; p++) free(bus->topics[t].logs[p].msgs);
    arena_done(&bus->arena);
    free(bus);
}
