/* relay: the outbox to Kafka: every event to the events topic, every refused command also to the dead-letter topic.
 *
 * Guarantee of this build: at least once and in order per job. Entries are read in order, produced by an idempotent
 * producer with acks=all, and forgotten only when Kafka has acknowledged every message of theirs. After any delivery
 * failure the producer is thrown away and everything that is not yet trimmed is produced again: events may repeat, with
 * the same (job_id, seq) and ce_id; none is lost and none overtakes another.
 *
 *     struct relay *relay = relay_new(&cfg, st, &clock_system);
 *     while (relay_step(relay, &err) >= 0) loop_sleep(relay_wait_ms(relay));
 */
#ifndef PENSTOCK_RELAY_H
#define PENSTOCK_RELAY_H

#include "penstock/bus.h"
#include "penstock/clock.h"
#include "penstock/store_outbox.h"

/* What readers of the events topic can count on, in a word and in a sentence. */
#define RELAY_DELIVERY "at_least_once"
#define RELAY_MEANS                                                                                                    \
    "No event is lost and a job's events are in order; after a failure of the relay or a broker some repeat, under "   \
    "the same ce_id."

struct relay_config {
    const char *id; /* of this relay, for the lease: one relay works at a time */
    const char *events_topic, *dlq_topic;
    const char *source; /* ce_source */
    int64_t lease_ms;
    size_t batch; /* outbox entries a read */
    int wait_ms;  /* how long a step waits for entries when it has nothing else to do */
    /* Makes a producer whose deliveries go to (on_delivered, self). */
    int (*make_producer)(void *ctx, bus_delivered_fn *on_delivered, void *self, struct bus_producer **ret,
                         struct err *err);
    void *ctx;
};

struct relay_stats {
    uint64_t events, dead_letters, restarts;
};

struct relay;
struct relay *relay_new(const struct relay_config *cfg, struct store *st, const struct clock *clock); /* borrows */
void relay_free(struct relay *relay);                                                                 /* safe on NULL */

/* A loop_step_fn: reads, produces, trims. Returns the number of events read and acknowledged. */
int relay_step(void *relay, struct err *err) MUSTCHECK;
/* How long the caller may wait before the next step: 0 unless another relay holds the lease. */
int64_t relay_wait_ms(const struct relay *relay);
/* Is there nothing left to publish, as far as this relay knows? For draining. */
bool relay_is_idle(const struct relay *relay);
/* Gives the lease back, so that another relay need not wait for its end. Nothing depends on it. */
int relay_release(struct relay *relay, struct err *err) MUSTCHECK;
struct relay_stats relay_stats_get(const struct relay *relay);

#endif
