/* ingest: commands from Kafka into the store.
 *
 * Hides decoding, validation and the batching of commands into one script call, in which the jobs and the next offset
 * of each topic-partition change together: a command is taken exactly once, whoever reads it how often. Nothing is
 * acknowledged before it is stored; a batch that could not be stored is kept and tried again. Hides back-pressure, too.
 *
 *     struct ingest *ing = ingest_new(&cfg, st);
 *     bus_kafka_group_consumer(&kafka, "penstock", NULL, topics, 2, ingest_assign_ops(ing), &consumer, &err);
 *     ingest_use_consumer(ing, consumer);
 *     while (ingest_step(ing, &err) >= 0) ...
 */
#ifndef PENSTOCK_INGEST_H
#define PENSTOCK_INGEST_H

#include "penstock/bus.h"
#include "penstock/clock.h"
#include "penstock/store.h"

struct ingest_config {
    size_t batch;                                 /* commands a script call, at most */
    int wait_ms;                                  /* how long a step waits for the first command */
    int max_attempts;                             /* defaults for what a command leaves out */
    int64_t timeout_ms, queue_timeout_ms;         /* likewise */
    int64_t timeout_max_ms, queue_timeout_max_ms; /* caps of what a command may ask for; 0: none */
    bool accept_lost;                             /* go on where commands were lost to Kafka's retention */
    /* What a model (version NULL: its default) says about its jobs, which goes before the defaults above; false: there
     * is no such model. The function NULL: any name is taken (this process does not see the model repository). */
    bool (*model)(void *self, const char *model, const char *version, struct model_policy *ret);
    void *self; /* of model */
    /* Back-pressure: while a model has max_queued jobs (0: no limit) waiting, or everything drains, this topic is
     * paused; membership and polling go on, and Kafka is the buffer. It goes on below four fifths. NULL: never. */
    const char *pausable_topic;
    int64_t max_queued;
    const struct clock *clock; /* when to look; with pausable_topic */
};

struct ingest_stats {
    uint64_t accepted, duplicate, rejected, noted;
    bool paused;
};

struct ingest;
struct ingest *ingest_new(const struct ingest_config *cfg, struct store *st); /* borrows both and what cfg points to */
void ingest_free(struct ingest *ing);                                         /* safe on NULL; not the consumer */
const struct bus_assign_ops *ingest_assign_ops(struct ingest *ing);           /* lives as long as ing */
void ingest_use_consumer(struct ingest *ing, struct bus_consumer *consumer);  /* borrowed */

/* A loop_step_fn: takes up to one batch. Returns how many commands were stored. */
int ingest_step(void *ing, struct err *err) MUSTCHECK;
struct ingest_stats ingest_stats_get(const struct ingest *ing);

#endif
