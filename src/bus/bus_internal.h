/* Between the files of the bus module. Low to high: kafka_conf (properties), kafka_client (one rd_kafka_t and what it
 * says when things go wrong), kafka_inbox (messages and errors out of a queue), then consumer, reader, producer, admin
 * and mock. */
#ifndef PENSTOCK_BUS_INTERNAL_H
#define PENSTOCK_BUS_INTERNAL_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#include "penstock/bus_kafka.h"

/* How long a question to the broker (metadata, offsets) may take before it counts as not there. Below the 30 s that an
 * operator would call "hanging", above a broker's pause for a leader election. */
#define BUS__QUERY_TIMEOUT_MS 5000

/* --- kafka_conf.c ------------------------------------------------------------------------------------------------- */

/* A configuration with our defaults, then `cfg`'s properties. Owns: caller, until rd_kafka_new takes it. */
int bus__conf_new(const struct bus_kafka_config *cfg, rd_kafka_conf_t **ret, struct err *err) MUSTCHECK;
/* Sets a property that we chose; that librdkafka refuses it is our bug. */
void bus__conf_set(rd_kafka_conf_t *conf, const char *name, const char *value);

/* --- kafka_client.c ----------------------------------------------------------------------------------------------- */

/* One librdkafka handle. Its threads write what they have to complain about into last_error, which ends up in the
 * messages of our own errors: "connection refused" stands only there, never in an error code. */
struct bus__client {
    rd_kafka_t *rk;
    bool all_down; /* every known broker was unreachable when last heard of; polling thread only */
    pthread_mutex_t lock;
    char last_error[300];
};

/* Takes `conf`, also on failure. The opaque of `conf` is the client's. */
int bus__client_open(struct bus__client *client, rd_kafka_type_t type, rd_kafka_conf_t *conf,
                     struct err *err) MUSTCHECK;
void bus__client_close(struct bus__client *client); /* safe on a half-open one */

/* Writes the error that `code` stands for: "kafka <what>: <reason>[; last: <line>]". Returns -1. */
int bus__client_fail(struct bus__client *client, rd_kafka_resp_err_t code, struct err *err, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* The same for an error that came out of a consumer's queue. Returns -1. */
int bus__client_fail_event(struct bus__client *client, const rd_kafka_message_t *event, struct err *err);
/* -1 with the reason if the handle is beyond repair. */
int bus__client_check_fatal(struct bus__client *client, struct err *err) MUSTCHECK;
/* While all brokers are down: asks whether one is back. -1 (RETRY) with the reason if not. */
int bus__client_check_reachable(struct bus__client *client, int timeout_ms, struct err *err) MUSTCHECK;

/* The log's ends of a partition; as a read_committed reader sees them. */
int bus__client_watermarks(struct bus__client *client, const char *topic, int32_t partition, int64_t *ret_low,
                           int64_t *ret_high, struct err *err) MUSTCHECK;
/* The number of partitions of `topic`; RETRY if it does not exist. */
int bus__client_partition_count(struct bus__client *client, const char *topic, int *ret, struct err *err) MUSTCHECK;
/* Makes the partitions of `topic` known, if it exists. RETRY only if no broker answers. */
int bus__client_ask_for_topic(struct bus__client *client, const char *topic, struct err *err) MUSTCHECK;

/* The handle of a producer that bus_kafka_producer made. */
struct bus__client *bus__producer_client(struct bus_producer *prod);

/* --- kafka_tsan.c ------------------------------------------------------------------------------------------------- */

extern const char bus__tsan; /* referred to, so that the file is linked in */

/* --- kafka_inbox.c ------------------------------------------------------------------------------------------------ */

/* What the group consumer and the reader have in common: a queue that messages come out of, and an error that is told
 * after the messages that came before it. */
struct bus__inbox {
    struct bus__client client;
    rd_kafka_queue_t *queue;
    bool failed;
    struct err failure;
};

/* Called for what comes out of the queue and is no message; `event->err` says what it is. -1 with *err: to be told. */
typedef int bus__event_fn(void *self, const rd_kafka_message_t *event, struct err *err);

/* As bus_poll. Messages that were gathered are returned first, an error that came with them by the next call. */
int bus__inbox_poll(struct bus__inbox *inbox, size_t max, int timeout_ms, bus__event_fn *on_event, void *self,
                    struct bus_batch *ret, struct err *err) MUSTCHECK;
/* Writes which offsets of the event's partition are gone: "t[3]: offsets 10 to 19 were deleted ...". Returns -1. */
int bus__inbox_fail_out_of_range(struct bus__inbox *inbox, const rd_kafka_message_t *event, enum err_code code,
                                 struct err *err);

#endif
