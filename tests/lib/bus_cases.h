/* bus_cases: what the bus promises, as cases that run on the mock cluster and on a real Kafka alike.
 *
 *     int main(void) { ...; return bus_cases_run(bootstrap, more, more_count); }
 */
#ifndef PENSTOCK_BUS_CASES_H
#define PENSTOCK_BUS_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "penstock/bus_kafka.h"

/* Every topic that the cases use. */
extern const struct bus_topic bus_cases_topics[];
extern const size_t bus_cases_topic_count;

/* Runs the shared cases and then `more`, against the cluster at `bootstrap`. Returns the number of failures. */
int bus_cases_run(const char *bootstrap, const struct CMUnitTest *more, size_t more_count);

/* --- for the cases of one cluster only ---------------------------------------------------------------------------- */

struct bus_kafka_config bus_cases_config(void); /* bootstrap.servers of the cluster; valid till the next call */

/* Where a test's group consumer starts to read, and what it was told. */
struct bus_cases_group {
    int64_t start;     /* offset for every partition; may be BUS_OFFSET_BEGINNING */
    int failures;      /* assigned() fails this many times first, as a store that is away does */
    int asked;         /* how often assigned() was called */
    size_t assigned;   /* partitions held now */
    int64_t low, high; /* of the last partition seen */
};
struct bus_consumer *bus_cases_join(struct bus_cases_group *group, const char *name, const char *topic);

/* Produces `count` messages "<prefix><i>" with that as key too, and waits until all are stored. */
void bus_cases_produce(const char *topic, int32_t partition, const char *prefix, int count);

/* Polls until `count` messages came (or the deadline: a failure); each is given to `each` (NULL: only counted). */
typedef void bus_cases_each_fn(void *self, const struct bus_msg *msg);
void bus_cases_take(struct bus_consumer *con, int count, bus_cases_each_fn *each, void *self);

#endif
