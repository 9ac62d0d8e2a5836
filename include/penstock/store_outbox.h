/* store_outbox: the relay's side of the store: events that are written and not yet published. See store.h.
 *
 *     while (store_outbox_read(st, cursor, 64, 100, &arena, &entries, &count, &err) == 0) {
 *         publish(entries, count);
 *         store_outbox_trim(st, entries[count - 1].id, &err); // only when Kafka has acknowledged them
 *     }
 */
#ifndef PENSTOCK_STORE_OUTBOX_H
#define PENSTOCK_STORE_OUTBOX_H

#include "penstock/store.h"

struct store_outbox_entry {
    const char *id; /* stream id "<gseq>-0" */
    struct job_event *events;
    size_t count;
};
/* Entries after `after` ("" = from the start), at most `max`; waits up to wait_ms when there is none. */
int store_outbox_read(struct store *st, const char *after, size_t max, int wait_ms, struct arena *arena,
                      struct store_outbox_entry **ret, size_t *ret_count, struct err *err) MUSTCHECK;
/* Forgets entries up to and including `id`, once Kafka has acknowledged them. */
int store_outbox_trim(struct store *st, const char *id, struct err *err) MUSTCHECK;
/* One relay at a time (liveness only: two would repeat events, not lose or reorder them). *ret_held: do we have it? */
int store_relay_lease(struct store *st, const char *relay, int64_t lease_ms, bool *ret_held, struct err *err) MUSTCHECK;

#endif
