/* The outbox to Kafka.
 *
 * Problem: a transition and its event must both happen or neither, but Redis and Kafka share no transaction. So the
 * event is part of the transition, in the outbox, and the relay moves it to Kafka later. Design: entries are read in
 * order and produced at once; `flights` remembers, in that order, how many messages of each entry are not yet
 * acknowledged. The outbox is trimmed up to the last entry before which nothing is outstanding. The idempotent producer
 * keeps the order within a partition over its own retries; when it reports a failure nonetheless, what reached the log
 * is unknown, so the producer is destroyed and the outbox is read again from its start: events may repeat under the
 * same ids, which readers recognise by (job_id, seq). What breaks if changed: trimming before the acknowledgement loses
 * events (kill -9 in between); going on with the same producer after a failed delivery lets later events overtake the
 * failed one. */
#include "penstock/relay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/log.h"
#include "penstock/wire.h"

#define ROLE             "relay"
#define MAX_FLIGHTS      256 /* entries that may be unacknowledged; each has at most some hundred events */
#define ID_MAX           48  /* "<gseq>-0" */
#define QUEUE_FULL_TRIES 100 /* of 100 ms each, for a broker that is away: then start afresh */
#define STANDBY_MS       500 /* another relay works: how often to see whether it still does */

struct flight {
    char id[ID_MAX];
    size_t waiting; /* messages not yet acknowledged */
    size_t events;
};

struct relay {
    struct relay_config cfg;
    struct store *st;
    const struct clock *clock;
    struct bus_producer *producer;
    bool held; /* the lease */
    int64_t renew_at_ms;
    char cursor[ID_MAX];                /* the last entry read; "" = from the start */
    struct flight flights[MAX_FLIGHTS]; /* a ring: first_flight, first_flight + 1 ... */
    uint64_t first_flight, next_flight; /* their tags */
    bool failed;                        /* a delivery failed: `failure` says why */
    struct err failure;
    struct arena arena;
    struct relay_stats stats;
};

static struct flight *flight_of(struct relay *relay, uint64_t tag) { return &relay->flights[tag % MAX_FLIGHTS]; }
static size_t flights_open(const struct relay *relay) { return (size_t)(relay->next_flight - relay->first_flight); }

/* Forgets the producer and all that is in flight; the next step begins again at the start of the outbox. */
static void start_afresh(struct relay *relay) {
    if (relay->producer) relay->stats.restarts++;
    bus_producer_free(relay->producer);
    relay->producer = NULL;
    relay->cursor[0] = '\0';
    relay->first_flight = relay->next_flight;
    relay->failed = false;
}

static void on_delivered(void *self, uint64_t tag, const struct err *err) {
    struct relay *relay = self;
    if (err && !relay->failed) {
        relay->failed = true;
        relay->failure = *err;
    }
    if (!err) flight_of(relay, tag)->waiting--;
}

/* --- producing ---------------------------------------------------------------------------------------------------- */

/* Queues a message; a full queue is a broker that is slow or away, which is waited for within bounds. */
static int produce(struct relay *relay, const struct bus_out *msg, struct err *err) {
    for (int tries = 0; bus_produce(relay->producer, msg, err) != 0; tries++) {
        if (err->class != ERR_CLASS_RETRY || tries == QUEUE_FULL_TRIES) return -1;
        if (bus_producer_poll(relay->producer, 100, err) != 0) return -1;
        if (relay->failed) {
            *err = relay->failure;
            return -1;
        }
    }
    flight_of(relay, msg->tag)->waiting++;
    return 0;
}

static struct bus_header header(const char *name, const char *value) {
    return (struct bus_header){name, value, strlen(value)};
}

/* The refused command itself, as it came, with the reason and where it stood. */
static int produce_dead_letter(struct relay *relay, const struct job_event *ev, uint64_t tag, struct err *err) {
    struct arena *arena = &relay->arena;
    struct bus_header headers[6] = {
        header("penstock_error_code", ev->reason ? ev->reason : ""),
        header("penstock_error_message", wire_error_message(ev->doc, ev->doc_len, arena)),
        header("penstock_source_topic", ev->source.topic ? ev->source.topic : ""),
        header("penstock_source_partition", arena_printf(arena, "%" PRId32, ev->source.partition)),
        header("penstock_source_offset", arena_printf(arena, "%" PRId64, ev->source.offset)),
    };
    size_t count = 5;
    if (ev->raw_size > ev->raw_len)
        headers[count++] = header("penstock_truncated", arena_printf(arena, "%zu", ev->raw_size));
    struct bus_out msg = {.topic = relay->cfg.dlq_topic,
                          .partition = -1,
                          .key = ev->key,
                          .key_len = ev->key_len,
                          .value = ev->raw,
                          .value_len = ev->raw_len,
                          .headers = headers,
                          .header_count = count,
                          .tag = tag};
    return produce(relay, &msg, err);
}

static int produce_event(struct relay *relay, const struct job_event *ev, uint64_t tag, struct err *err) {
    struct wire_event_out out;
    struct bus_header headers[sizeof out.headers / sizeof out.headers[0]];
    wire_event_encode(ev, relay->cfg.source, &relay->arena, &out);
    for (size_t i = 0; i < out.header_count; i++)
        headers[i] = (struct bus_header){out.headers[i].name, out.headers[i].value, out.headers[i].value_len};
    struct bus_out msg = {.topic = relay->cfg.events_topic,
                          .partition = -1,
                          .key = ev->job_id,
                          .key_len = ev->job_id ? strlen(ev->job_id) : 0,
                          .value = out.value,
                          .value_len = out.value_len,
                          .headers = headers,
                          .header_count = out.header_count,
                          .tag = tag};
    if (produce(relay, &msg, err) != 0) return -1;
    return ev->to == JOB_STATE_REJECTED ? produce_dead_letter(relay, ev, tag, err) : 0;
}

static int produce_entry(struct relay *relay, const struct store_outbox_entry *entry, struct err *err) {
    uint64_t tag = relay->next_flight++;
    struct flight *flight = flight_of(relay, tag);
    *flight = (struct flight){.events = entry->count};
    snprintf(flight->id, sizeof flight->id, "%s", entry->id);
    snprintf(relay->cursor, sizeof relay->cursor, "%s", entry->id);
    for (size_t i = 0; i < entry->count; i++) {
        if (produce_event(relay, &entry->events[i], tag, err) != 0) return -1;
        if (entry->events[i].to == JOB_STATE_REJECTED) relay->stats.dead_letters++;
    }
    return 0;
}

/* --- the step ----------------------------------------------------------------------------------------------------- */

static int renew_lease(struct relay *relay, struct err *err) {
    int64_t now = clock_mono_ms(relay->clock);
    if (now < relay->renew_at_ms) return 0;
    bool had = relay->held;
    relay->held = false; /* should the call fail */
    if (store_relay_lease(relay->st, relay->cfg.id, relay->cfg.lease_ms, &relay->held, err) != 0) return -1;
    relay->renew_at_ms = now + (relay->held ? relay->cfg.lease_ms / 3 : STANDBY_MS);
    if (had != relay->held) log_info(ROLE, "%s", relay->held ? "has the relay lease" : "another relay has the lease");
    if (!relay->held) start_afresh(relay);
    return 0;
}

/* Reads and produces what fits. Waits for entries only when nothing is in flight. *ret_read = events. */
static int read_some(struct relay *relay, size_t *ret_read, struct err *err) {
    struct store_outbox_entry *entries;
    size_t count, room = MAX_FLIGHTS - flights_open(relay);
    size_t max = room < relay->cfg.batch ? room : relay->cfg.batch;
    *ret_read = 0;
    if (max == 0) return 0;
    arena_reset(&relay->arena);
    int wait_ms = flights_open(relay) == 0 ? relay->cfg.wait_ms : 0;
    if (store_outbox_read(relay->st, relay->cursor, max, wait_ms, &relay->arena, &entries, &count, err) != 0) return -1;
    for (size_t i = 0; i < count; i++) {
        if (produce_entry(relay, &entries[i], err) != 0) return -1;
        *ret_read += entries[i].count;
    }
    return 0;
}

/* Trims what Kafka has. *ret_acked = events. */
static int trim_acked(struct relay *relay, size_t *ret_acked, struct err *err) {
    const struct flight *last = NULL;
    size_t events = 0;
    uint64_t first = relay->first_flight;
    while (first < relay->next_flight && flight_of(relay, first)->waiting == 0) {
        last = flight_of(relay, first++);
        events += last->events;
    }
    *ret_acked = events;
    if (!last) return 0;
    if (store_outbox_trim(relay->st, last->id, err) != 0) return -1;
    relay->first_flight = first;
    relay->stats.events += events;
    return 0;
}

static int step(struct relay *relay, size_t *ret_done, struct err *err) {
    size_t sent, acked;
    if (!relay->producer && relay->cfg.make_producer(relay->cfg.ctx, on_delivered, relay, &relay->producer, err) != 0)
        return -1;
    if (read_some(relay, &sent, err) != 0) return -1;
    if (flights_open(relay) > 0 && bus_producer_poll(relay->producer, sent > 0 ? 0 : 10, err) != 0) return -1;
    if (relay->failed) {
        *err = relay->failure;
        return -1;
    }
    if (trim_acked(relay, &acked, err) != 0) return -1;
    *ret_done = sent + acked;
    return 0;
}

int relay_step(void *self, struct err *err) {
    struct relay *relay = self;
    size_t done = 0;
    if (renew_lease(relay, err) != 0) {
        start_afresh(relay);
        return -1;
    }
    if (!relay->held) return 0;
    if (step(relay, &done, err) != 0) {
        start_afresh(relay);
        /* A producer that is beyond repair is what starting afresh mends. */
        if (err->code == ERR_BUS_FATAL) err->class = ERR_CLASS_RETRY;
        return -1;
    }
    return (int)done;
}

int relay_release(struct relay *relay, struct err *err) {
    bool held;
    start_afresh(relay);
    if (!relay->held) return 0;
    relay->held = false;
    return store_relay_lease(relay->st, relay->cfg.id, 1, &held, err); /* ours for one more millisecond */
}

int64_t relay_wait_ms(const struct relay *relay) { return relay->held ? 0 : STANDBY_MS / 5; }
bool relay_is_idle(const struct relay *relay) { return flights_open(relay) == 0; }
struct relay_stats relay_stats_get(const struct relay *relay) {
    return relay->stats;
}

struct relay *relay_new(const struct relay_config *cfg, struct store *st, const struct clock *clock) {
    struct relay *relay = mem_calloc(1, sizeof *relay);
    relay->cfg = *cfg;
    relay->st = st;
    relay->clock = clock;
    arena_init(&relay->arena);
    return relay;
}

void relay_free(struct relay *relay) {
    if (!relay) return;
    bus_producer_free(relay->producer);
    arena_done(&relay->arena);
    free(relay);
}
