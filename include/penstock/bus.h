/* bus: Kafka, as the rest of Penstock sees it. The only user of librdkafka is src/bus/.
 *
 * Consumers and producers are vtables, so that a simulation can put a model broker in their place; bus_kafka_* make the
 * real ones. A message's bytes are borrowed from the batch until bus_batch_release, which must come before
 * bus_consumer_free.
 *
 *     struct bus_batch batch = {0};
 *     if (bus_poll(consumer, 256, 100, &batch, &err) != 0) return -1;
 *     for (size_t i = 0; i < batch.count; i++) handle(&batch.msgs[i]);
 *     bus_batch_release(&batch);
 */
#ifndef PENSTOCK_BUS_H
#define PENSTOCK_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "penstock/err.h"

#define BUS_OFFSET_BEGINNING (-2)
#define BUS_OFFSET_END       (-1)

struct bus_header {
    const char *name;
    const char *value; /* not NUL-terminated; may be NULL */
    size_t value_len;
};

struct bus_msg {
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /* as Kafka has it; for people only */
    const char *key;
    size_t key_len; /* key NULL: no key */
    const char *value;
    size_t value_len;
    const struct bus_header *headers;
    size_t header_count;
};

struct bus_batch {
    struct bus_msg *msgs;
    size_t count;
    void *opaque;                             /* of the implementation */
    void (*release)(struct bus_batch *batch); /* set by bus_poll */
};
void bus_batch_release(struct bus_batch *batch); /* safe on {0} and twice */

struct bus_position {
    const char *topic;
    int32_t partition;
    int64_t offset; /* the next one to read */
};

/* What the user of a group consumer decides on assignment. Called from within bus_poll, on its thread, never from
 * bus_consumer_free. */
struct bus_assign_ops {
    void *self;
    /* For each position (offset = BUS_OFFSET_BEGINNING on entry) writes where reading starts. `low[i]` and `high[i]`
     * are the log's ends. -1 with *err: nothing is assigned and bus_poll returns that error. */
    int (*assigned)(void *self, struct bus_position *positions, const int64_t *low, const int64_t *high, size_t count,
                    struct err *err);
    void (*revoked)(void *self, const struct bus_position *positions, size_t count); /* [optional] */
};

struct bus_consumer;
struct bus_consumer_ops {
    int (*poll)(struct bus_consumer *con, size_t max, int timeout_ms, struct bus_batch *ret, struct err *err);
    int (*commit)(struct bus_consumer *con, const struct bus_position *positions, size_t count, struct err *err);
    int (*pause)(struct bus_consumer *con, const char *topic, bool paused, struct err *err);
    void (*ask_again)(struct bus_consumer *con); /* [optional] */
    void (*free)(struct bus_consumer *con);
};
struct bus_consumer {
    const struct bus_consumer_ops *ops;
};

/* Up to `max` messages, waiting up to timeout_ms for the first (then a few ms for more). 0 messages is no error. *ret
 * must be {0} or released. While no broker can be reached each call that gets nothing is RETRY bus_unavailable, and may
 * take a second. */
int bus_poll(struct bus_consumer *con, size_t max, int timeout_ms, struct bus_batch *ret, struct err *err) MUSTCHECK;
/* Commits to the consumer group, asynchronously: for lag metrics only; truth is the offset in the store. */
int bus_commit(struct bus_consumer *con, const struct bus_position *positions, size_t count, struct err *err) MUSTCHECK;
/* Pauses or resumes every partition of `topic` that is or will be assigned; membership in the group goes on. */
int bus_pause(struct bus_consumer *con, const char *topic, bool paused, struct err *err) MUSTCHECK;
/* For a member of a group: its next poll asks `assigned` again where to read what it holds, and goes on from there. */
void bus_ask_again(struct bus_consumer *con);
/* Leaves the group; safe on NULL. A member that still waits for its first assignment after a second leaves later, by a
 * thread of its own, as soon as it has got one: librdkafka 2.0 cannot destroy it before. */
void bus_consumer_free(struct bus_consumer *con);

/* A message to be produced; bytes are copied before bus_produce returns. partition -1: by key (murmur2, as Java does).
 */
struct bus_out {
    const char *topic;
    int32_t partition;
    const char *key;
    size_t key_len;
    const char *value;
    size_t value_len;
    const struct bus_header *headers;
    size_t header_count;
    uint64_t tag; /* comes back with the delivery */
};

/* Told for every message, in whatever order Kafka answered: err NULL = stored by all in-sync replicas (acks=all). After
 * an error a later message may still be stored: who needs an unbroken order frees the producer at the first one. */
typedef void bus_delivered_fn(void *self, uint64_t tag, const struct err *err);

struct bus_producer;
struct bus_producer_ops {
    int (*produce)(struct bus_producer *prod, const struct bus_out *msg, struct err *err);
    int (*poll)(struct bus_producer *prod, int timeout_ms, struct err *err);
    void (*free)(struct bus_producer *prod);
};
struct bus_producer {
    const struct bus_producer_ops *ops;
};

/* Queues one message. RETRY with ERR_BUS_UNAVAILABLE when the queue is full: poll, then try again. ERR_TOO_LARGE
 * (REJECT) for a message over message.max.bytes. */
int bus_produce(struct bus_producer *prod, const struct bus_out *msg, struct err *err) MUSTCHECK;
/* Serves delivery reports for up to timeout_ms. -1 on a fatal producer error: free it and start afresh. */
int bus_producer_poll(struct bus_producer *prod, int timeout_ms, struct err *err) MUSTCHECK;
void bus_producer_free(struct bus_producer *prod); /* undelivered messages are dropped; safe on NULL */

#endif
