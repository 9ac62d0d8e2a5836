/* bus_kafka: making the real consumers and producers, topics, and the embedded mock cluster.
 *
 *     struct bus_property props[] = {{"bootstrap.servers", "127.0.0.1:9092"}};
 *     struct bus_kafka_config cfg = {.props = props, .prop_count = 1};
 *     bus_kafka_producer(&cfg, on_delivered, self, &producer, &err);
 */
#ifndef PENSTOCK_BUS_KAFKA_H
#define PENSTOCK_BUS_KAFKA_H

#include "penstock/bus.h"
#include "penstock/mem.h"

/* A librdkafka property, passed through ("security.protocol", "sasl.mechanisms" ...). */
struct bus_property {
    const char *name, *value;
};

struct bus_kafka_config {
    const char *client_id;
    const struct bus_property *props; /* borrowed during the call */
    size_t prop_count;
    /* A producer that sends a little and ends: without a producer id, since getting one takes librdkafka a second now
     * and then. Order and acks=all stay; its own retry may repeat a message, which for commands the store recognises.
     */
    bool short_lived;
};

/* Refuses, by name, a property that the promises rest on (acks, enable.idempotence, isolation.level, enable.auto.commit
 * ...) and one that librdkafka does not know or whose value it rejects: ERR_CONFIG. No connection is made. */
int bus_kafka_check_props(const struct bus_kafka_config *cfg, struct err *err) MUSTCHECK;

/* A member of consumer group `group` on `topics`: cooperative-sticky, read_committed, no auto-commit,
 * auto.offset.reset=error. group_instance_id: static membership, NULL for none. */
int bus_kafka_group_consumer(const struct bus_kafka_config *cfg, const char *group, const char *group_instance_id,
                             const char *const *topics, size_t topic_count, const struct bus_assign_ops *assign,
                             struct bus_consumer **ret, struct err *err) MUSTCHECK;

/* Reads every partition of `topic` outside any group (events, verify), read_committed. from: BUS_OFFSET_BEGINNING or
 * _END. *ret_ends (if not NULL; caller frees) holds the log's end per partition at this moment. */
int bus_kafka_reader(const struct bus_kafka_config *cfg, const char *topic, int64_t from, struct bus_consumer **ret,
                     struct bus_position **ret_ends, size_t *ret_end_count, struct err *err) MUSTCHECK;

/* Has this reader read, in every partition, all that was there when it was opened? Offsets at the end that are never
 * delivered (transaction markers, aborted messages) count as read: so ask this, and do not compare offsets with
 * ret_ends. */
bool bus_kafka_reader_caught_up(const struct bus_consumer *reader);

/* An idempotent producer (see short_lived) with acks=all. `on_delivered` runs inside bus_producer_poll, on its caller's
 * thread. */
int bus_kafka_producer(const struct bus_kafka_config *cfg, bus_delivered_fn *on_delivered, void *self,
                       struct bus_producer **ret, struct err *err) MUSTCHECK;

/* Makes the partitions of `topic` known, if it exists: a message that finds them unknown waits for librdkafka's next
 * look round, which comes once a second. RETRY if no broker answers within some seconds. */
int bus_kafka_producer_ask(struct bus_producer *prod, const char *topic, struct err *err) MUSTCHECK;

struct bus_topic {
    const char *name;
    int partitions;
    int replication;
    const char *retention_ms; /* NULL: the broker's default */
    const char *max_message_bytes;
};

/* Creates the topics that do not exist; existing ones are left as they are. RETRY when the broker is not there. */
int bus_kafka_create_topics(const struct bus_kafka_config *cfg, const struct bus_topic *topics, size_t count,
                            struct err *err) MUSTCHECK;

/* Where the log of each partition of `topic` begins and ends, in the arena. RETRY when no broker answers. Thread: any. */
struct bus_log_end {
    int64_t low, high;
};
int bus_kafka_ends(struct bus_producer *prod, const char *topic, struct arena *arena, struct bus_log_end **ret,
                   size_t *ret_count, struct err *err) MUSTCHECK;

/* What an acknowledgement by Kafka is worth, as the brokers are set up at present. Strings are in the arena; -1: not
 * known, and `unknown` says why. */
struct bus_topic_durability {
    const char *topic;
    int partitions;                  /* 0: it does not exist */
    int replication_factor, in_sync; /* the fewest copies that any partition has, and has in sync */
    int min_insync_replicas;         /* below which acks=all is refused */
    int unclean_leader_election;     /* 1: a copy that lags behind may become the leader */
    const char *cleanup_policy;      /* "delete", "compact"; NULL: not known */
    const char *unknown;             /* NULL: everything is known */
};
struct bus_durability {
    const char *acks; /* "all" */
    bool idempotence;
    int brokers;
    struct bus_topic_durability *topics; /* in the order asked for */
};
/* Asks by the connections of `prod`. RETRY when no broker answers. Thread: any, beside the producer's own. */
int bus_kafka_durability(struct bus_producer *prod, const char *const *topics, size_t count, struct arena *arena,
                         struct bus_durability *ret, struct err *err) MUSTCHECK;

/* librdkafka's in-process mock cluster (one broker on 127.0.0.1, real TCP, any client may connect). It keeps about 5 MB
 * a partition and has no transactions worth the name: for `penstock dev` and tests. */
struct bus_mock;
int bus_mock_start(const struct bus_topic *topics, size_t count, struct bus_mock **ret, struct err *err) MUSTCHECK;
const char *bus_mock_bootstrap(const struct bus_mock *mock); /* "127.0.0.1:40123" */
void bus_mock_stop(struct bus_mock *mock);                   /* safe on NULL */

#endif
