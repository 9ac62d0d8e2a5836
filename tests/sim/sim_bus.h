/* sim_bus: a model of a Kafka broker behind the vtables of penstock/bus.h.
 *
 * Topics with partitions that only grow; one consumer group whose partitions change hands at any moment, so that for a
 * while two members read the same one; idempotent, gapless producers whose messages are stored some time after
 * bus_produce, whose reports come later still and out of step, and which may be stored although a failure is reported,
 * or even after the producer is gone.
 *
 *     struct sim_bus *bus = sim_bus_new(seed);
 *     sim_bus_topic_add(bus, "penstock.events", 2);
 *     struct bus_producer *prod = sim_bus_producer(bus, on_delivered, self);
 *     sim_bus_tick(bus); // the broker works
 */
#ifndef PENSTOCK_SIM_BUS_H
#define PENSTOCK_SIM_BUS_H

#include "penstock/bus.h"
#include "penstock/mem.h"

#define SIM_BUS_PARTITIONS 2 /* of a topic, at most */
#define SIM_BUS_TOPICS     4

struct sim_bus_faults {
    unsigned unavailable; /* per mille of the polls and produces */
    unsigned rebalance;   /* per mille of the ticks */
    unsigned fail;        /* per mille of the messages: not stored, reported as failed */
    unsigned unknown;     /* ... stored, and reported as failed */
    bool gaps;            /* a mistake: messages behind a failed one are stored all the same */
    bool skips;           /* a mistake: a member reads on behind a message that it was not given */
};

struct sim_bus_log {
    struct bus_msg *msgs; /* msgs[i].offset == i; bytes live as long as the bus */
    size_t count, cap;
};

struct sim_bus_member;
struct sim_bus_sender;
struct sim_bus {
    uint64_t rng;
    struct sim_bus_faults faults;
    struct arena arena; /* of every message */
    struct {
        const char *name;
        int32_t partitions;
        bool consumed; /* by the group */
        struct sim_bus_log logs[SIM_BUS_PARTITIONS];
    } topics[SIM_BUS_TOPICS];
    size_t topic_count;
    struct sim_bus_member *members; /* of the group */
    struct sim_bus_sender *senders; /* live producers, and dead ones whose requests are still under way */
    uint64_t group_generation;
};

struct sim_bus *sim_bus_new(uint64_t seed);
void sim_bus_free(struct sim_bus *bus); /* after its consumers and producers */
void sim_bus_topic_add(struct sim_bus *bus, const char *name, int32_t partitions, bool consumed);
const struct sim_bus_log *sim_bus_log_get(const struct sim_bus *bus, const char *topic, int32_t partition);

/* Stores a message at once, as a client of ours would see it after the acknowledgement. Returns where it stands. */
struct bus_position sim_bus_append(struct sim_bus *bus, const char *topic, const char *key, const char *value);

struct bus_consumer *sim_bus_consumer(struct sim_bus *bus, const struct bus_assign_ops *assign); /* assign: borrowed */
struct bus_producer *sim_bus_producer(struct sim_bus *bus, bus_delivered_fn *on_delivered, void *self);

/* The broker stores some of what is under way and perhaps hands partitions to other members. */
void sim_bus_tick(struct sim_bus *bus);

#endif
