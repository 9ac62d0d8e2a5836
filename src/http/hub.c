/* Events to whoever listens. One thread reads the events topic, whatever the number of streams, and writes each event to
 * those that want it; nothing is asked of Kafka for a stream of everything.
 *
 * What was read last is kept in a ring, bounded in number and bytes. The id of an event is where the hub stood behind it
 * in every partition ("17.0.4"), so any server process can tell from it what a client has and what it has missed: below
 * the lowest offset that the ring still has, there is a gap, and the client is told.
 *
 * A job's events are numbered, and that is all that a stream of one job needs: it wants number n, skips what is below
 * (Kafka may repeat) and is behind when it sees a higher one. For those that are behind a second thread reads the topic
 * from its beginning, one pass for all that wait, and then the ring joins history to the present. That costs a pass
 * over the topic for each new job page, bounded by HISTORY_MS, and no state anywhere.
 *
 * Everything that is heard is counted, too (tally.c), whether anybody listens or not.
 *
 * One lock for ring and streams; writing to a stream never blocks, and one that does not keep up is ended. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"
#include "penstock/clock.h"
#include "penstock/log.h"

#define RING_EVENTS  8192
#define RING_BYTES   ((size_t)16 * 1024 * 1024)
#define POLL_MAX     500
#define POLL_MS      100
#define AGAIN_MS     500 /* while Kafka is away */
#define HEARTBEAT_MS 15000
#define HISTORY_MS   60000

struct entry {
    char *job_id, *model; /* NULL: none; not known yet */
    int64_t seq, at, offset;
    int32_t partition;
    bool terminal;
    char *text; /* an id line, then at `body` event and data */
    size_t len, body;
};
struct follower {
    struct http_stream *stream;
    char *job_id;         /* NULL: all jobs */
    char *model;          /* of all jobs: only those of this one; NULL: any */
    int64_t next, since;  /* of one job: the seq it wants; events before belong to an earlier job of that id */
    bool ended;           /* of one job: it had ended when the stream began */
    bool behind, in_pass; /* waits for history; the pass that is running is for it */
    bool over;
    struct follower *chain;
};
struct http_hub {
    struct http *http;
    struct store *st;
    struct http_tally *tally;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread, history_thread;
    atomic_bool stopping;
    bool reading;        /* the reader stands; else Kafka has not answered yet */
    int64_t *next, *low; /* per partition: where we stand, and from where on the ring has it */
    size_t partitions;
    struct entry ring[RING_EVENTS];
    size_t first, count, bytes;
    struct follower *followers;
};

/* --- followers: all under the lock ---------------------------------------------------------------------------------
 */

/* Ends every turn: what was written leaves, those that are over go. */
static void sweep(struct http_hub *hub, bool all) {
    for (struct follower **link = &hub->followers; *link;) {
        struct follower *f = *link;
        if (!f->over && !all) {
            http__stream_flush(f->stream);
            link = &f->chain;
            continue;
        }
        *link = f->chain;
        http__stream_end(f->stream);
        http__stream_release(f->stream);
        free(f->job_id);
        free(f->model);
        free(f);
    }
}

static void send_text(struct follower *f, const char *text, size_t len) {
    if (!f->over && !http__stream_write(f->stream, text, len)) f->over = true;
}

static void put_position(const struct http_hub *hub, struct buf *out) {
    buf_puts(out, "id: ");
    for (size_t i = 0; i < hub->partitions; i++) buf_printf(out, i ? ".%" PRId64 : "%" PRId64, hub->next[i]);
    buf_puts(out, "\n");
}

/* `strict`: a number that is too high means that some are missing; else, that they are not there any more. */
static void offer_job(struct http_hub *hub, struct follower *f, const struct entry *e, bool strict) {
    struct buf out = {0};
    if (f->over || e->seq < f->next || e->at < f->since) return;
    if (strict && e->seq > f->next) {
        f->behind = true;
        pthread_cond_signal(&hub->changed);
        return;
    }
    buf_printf(&out, "id: %" PRId64 "\n", e->seq);
    buf_append(&out, e->text + e->body, e->len - e->body);
    send_text(f, out.data, out.len);
    buf_done(&out);
    f->next = e->seq + 1;
    f->over |= e->terminal;
}

/* Only the event that creates a job names its model; of the others the record does. */
static bool is_of_model(struct http_hub *hub, struct follower *f, struct entry *e) {
    if (!e->model && e->job_id && e->seq > 0) {
        struct job_record rec;
        struct arena arena;
        struct err err;
        arena_init(&arena);
        if (store_job_get(hub->st, e->job_id, &arena, &rec, &err) != 0)
            f->over = true; /* the client comes again, and goes on behind what it has */
        else
            e->model = mem_strdup(rec.state != JOB_STATE_NONE && rec.model ? rec.model : "");
        arena_done(&arena);
    }
    return e->model && strcmp(e->model, f->model) == 0;
}

static void offer(struct http_hub *hub, struct follower *f, struct entry *e) {
    if (!f->job_id) {
        if (!f->model || is_of_model(hub, f, e)) send_text(f, e->text, e->len);
    } else if (!f->behind && e->job_id && strcmp(e->job_id, f->job_id) == 0) {
        offer_job(hub, f, e, true);
    }
}

static void replay(struct http_hub *hub, struct follower *f, const int64_t *from) {
    for (size_t i = 0; i < hub->count; i++) {
        struct entry *e = &hub->ring[(hub->first + i) % RING_EVENTS];
        if (!from || e->offset >= from[e->partition]) offer(hub, f, e);
    }
}

/* Proxies and clients see that the stream lives, and the clients get to know where they stand. */
static void heartbeat(struct http_hub *hub) {
    struct buf all = {0};
    buf_puts(&all, ":\n");
    put_position(hub, &all);
    buf_puts(&all, "\n");
    for (struct follower *f = hub->followers; f; f = f->chain) {
        if (f->job_id)
            send_text(f, ":\n\n", 3);
        else
            send_text(f, all.data, all.len);
        f->over |= f->ended && !f->behind; /* its last event is not in the topic any more */
    }
    buf_done(&all);
    sweep(hub, false);
}

/* --- the ring ------------------------------------------------------------------------------------------------------
 */

static void entry_done(struct entry *e) {
    free(e->job_id);
    free(e->model);
    free(e->text);
    *e = (struct entry){0};
}

static void put_line(struct buf *out, const char *name, const char *value, size_t len) {
    buf_puts(out, name);
    size_t start = out->len;
    buf_append(out, value, len);
    for (size_t i = start; i < out->len; i++) /* white space between JSON's tokens: inside of them it is escaped */
        if (out->data[i] == '\n' || out->data[i] == '\r') out->data[i] = ' ';
    buf_puts(out, "\n");
}

/* Of a job whose beginning was not heard. While Redis is known to be away it is not asked. */
static bool model_of(void *self, const char *job_id, char ret_model[JOB_MODEL_MAX + 1],
                     char ret_version[JOB_MODEL_MAX + 1]) {
    struct http_hub *hub = self;
    struct job_record rec;
    struct arena arena;
    struct err ignored;
    int64_t now = clock_mono_ms(&clock_system);
    if (now < atomic_load(&hub->http->store_down_until)) return false;
    arena_init(&arena);
    bool asked = store_job_get(hub->st, job_id, &arena, &rec, &ignored) == 0;
    bool known = asked && rec.state != JOB_STATE_NONE && rec.model;
    if (!asked) atomic_store(&hub->http->store_down_until, now + HTTP_STORE_DOWN_MS);
    if (known) snprintf(ret_model, JOB_MODEL_MAX + 1, "%s", rec.model);
    if (known) snprintf(ret_version, JOB_MODEL_MAX + 1, "%s", rec.model_version ? rec.model_version : "");
    arena_done(&arena);
    return known;
}

/* False: no event of ours. `id`: what stands before its text. `counting`: the hub, where the event is heard the first
 * time, and not read again for somebody. */
static bool entry_read(struct http_hub *counting, const struct bus_msg *msg, const struct buf *id, struct entry *ret) {
    struct arena arena;
    struct job_event ev;
    struct err err;
    struct buf text = {0};
    arena_init(&arena);
    bool good = wire_event_decode(msg->value, msg->value_len, &arena, &ev, &err) == 0;
    if (good && counting) http__tally_count(counting->tally, &ev, model_of, counting);
    if (good) {
        *ret = (struct entry){.seq = ev.seq,
                              .at = ev.at,
                              .offset = msg->offset,
                              .partition = msg->partition,
                              .job_id = ev.job_id ? mem_strdup(ev.job_id) : NULL,
                              .model = ev.model ? mem_strdup(ev.model) : NULL,
                              .terminal = job_state_is_terminal(ev.to),
                              .body = id->len};
        buf_append(&text, id->data, id->len);
        for (size_t i = 0; i < msg->header_count; i++)
            if (strcmp(msg->headers[i].name, "ce_type") == 0 && msg->headers[i].value)
                put_line(&text, "event: ", msg->headers[i].value, msg->headers[i].value_len);
        put_line(&text, "data: ", msg->value, msg->value_len);
        buf_puts(&text, "\n");
        ret->text = text.data;
        ret->len = text.len;
    } else {
        err_wrap(&err, "%s[%" PRId32 "]@%" PRId64, msg->topic, msg->partition, msg->offset);
        log_err(HTTP_ROLE, &err);
    }
    arena_done(&arena);
    return good;
}

static void forget_oldest(struct http_hub *hub) {
    struct entry *e = &hub->ring[hub->first];
    hub->low[e->partition] = e->offset + 1;
    hub->bytes -= e->len;
    entry_done(e);
    hub->first = (hub->first + 1) % RING_EVENTS;
    hub->count--;
}

static void take(struct http_hub *hub, const struct bus_msg *msg) {
    struct entry e;
    struct buf id = {0};
    hub->next[msg->partition] = msg->offset + 1;
    put_position(hub, &id);
    bool good = entry_read(hub, msg, &id, &e);
    buf_done(&id);
    if (!good) return;
    while (hub->count > 0 && (hub->count == RING_EVENTS || hub->bytes + e.len > RING_BYTES)) forget_oldest(hub);
    struct entry *kept = &hub->ring[(hub->first + hub->count++) % RING_EVENTS];
    *kept = e;
    hub->bytes += e.len;
    for (struct follower *f = hub->followers; f; f = f->chain) offer(hub, f, kept);
    if (kept->terminal && kept->job_id) http__wait_hint(hub->http, kept->job_id);
}

/* --- the present ---------------------------------------------------------------------------------------------------
 */

static struct bus_consumer *open_reader(struct http_hub *hub, int64_t from, struct bus_position **ends, size_t *count,
                                        struct err *err) {
    struct bus_consumer *reader;
    const struct http_config *cfg = &hub->http->cfg;
    return bus_kafka_reader(&cfg->kafka, cfg->events_topic, from, &reader, ends, count, err) == 0 ? reader : NULL;
}

/* The ring begins here. */
static struct bus_consumer *begin(struct http_hub *hub, struct err *err) {
    struct bus_position *ends = NULL;
    size_t count = 0;
    struct bus_consumer *reader = open_reader(hub, BUS_OFFSET_END, &ends, &count, err);
    if (!reader) return NULL;
    pthread_mutex_lock(&hub->lock);
    hub->next = mem_realloc(hub->next, (count + 1) * sizeof *hub->next);
    hub->low = mem_realloc(hub->low, (count + 1) * sizeof *hub->low);
    hub->partitions = count;
    for (size_t i = 0; i < count; i++) hub->next[i] = hub->low[i] = ends[i].offset;
    hub->reading = true;
    pthread_mutex_unlock(&hub->lock);
    free(ends);
    return reader;
}

/* What was read does not join on to what will be: the clients come again with their positions. */
static void break_off(struct http_hub *hub) {
    pthread_mutex_lock(&hub->lock);
    hub->reading = false;
    while (hub->count > 0) forget_oldest(hub);
    sweep(hub, true);
    pthread_mutex_unlock(&hub->lock);
}

/* -1: the reader is of no use any more. */
static int read_some(struct http_hub *hub, struct bus_consumer *reader, struct err *err) {
    struct bus_batch batch = {0};
    int rc = bus_poll(reader, POLL_MAX, POLL_MS, &batch, err);
    pthread_mutex_lock(&hub->lock);
    for (size_t i = 0; rc == 0 && i < batch.count; i++) take(hub, &batch.msgs[i]);
    sweep(hub, false);
    pthread_mutex_unlock(&hub->lock);
    bus_batch_release(&batch);
    return rc != 0 && err->class == ERR_CLASS_RETRY ? 0 : rc; /* librdkafka comes back by itself */
}

static void *run(void *arg) {
    struct http_hub *hub = arg;
    struct bus_consumer *reader = NULL;
    int64_t beat_at = clock_mono_ms(&clock_system) + HEARTBEAT_MS;
    struct err err;
    while (!atomic_load(&hub->stopping)) {
        if (!reader && !(reader = begin(hub, &err))) {
            http__pause_ms(AGAIN_MS);
            continue;
        }
        if (read_some(hub, reader, &err) != 0) {
            log_err(HTTP_ROLE, &err);
            bus_consumer_free(reader);
            reader = NULL;
            break_off(hub);
        }
        int64_t now = clock_mono_ms(&clock_system);
        if (now < beat_at) continue;
        pthread_mutex_lock(&hub->lock);
        heartbeat(hub);
        pthread_mutex_unlock(&hub->lock);
        beat_at = now + HEARTBEAT_MS;
    }
    bus_consumer_free(reader);
    return NULL;
}

/* --- the past ------------------------------------------------------------------------------------------------------
 */

/* Under the lock. Takes those that wait now; false: nobody does. */
static bool gather(struct http_hub *hub) {
    bool any = false;
    for (struct follower *f = hub->followers; f; f = f->chain) any |= f->in_pass = f->behind && !f->over;
    return any;
}

/* Under the lock. Is anybody still waiting for this pass? */
static bool pass_one(struct http_hub *hub, const struct bus_batch *batch) {
    static const struct buf no_id = {0};
    bool any = false;
    for (struct follower *f = hub->followers; f; f = f->chain) {
        size_t len = f->in_pass ? strlen(f->job_id) : 0;
        for (size_t i = 0; f->in_pass && i < batch->count; i++) {
            const struct bus_msg *msg = &batch->msgs[i];
            struct entry e;
            if (msg->key_len != len || memcmp(msg->key, f->job_id, len) != 0 || !entry_read(NULL, msg, &no_id, &e))
                continue;
            if (e.seq > 0) offer_job(hub, f, &e, false);
            entry_done(&e);
        }
        any |= f->in_pass && !f->over;
    }
    sweep(hub, false);
    return any;
}

/* Under the lock. From here on the ring has the rest; whoever misses something even so is behind again. */
static void join(struct http_hub *hub, bool read) {
    for (struct follower *f = hub->followers; f; f = f->chain) {
        if (!f->in_pass) continue;
        f->in_pass = f->behind = false;
        f->over |= !read;
        if (read) replay(hub, f, NULL);
    }
    sweep(hub, false);
}

static void pass(struct http_hub *hub) {
    int64_t deadline = clock_mono_ms(&clock_system) + HISTORY_MS;
    struct err err;
    struct bus_consumer *reader = open_reader(hub, BUS_OFFSET_BEGINNING, NULL, NULL, &err);
    bool read = reader != NULL, wanted = true;
    while (read && wanted && !atomic_load(&hub->stopping) && !bus_kafka_reader_caught_up(reader)) {
        struct bus_batch batch = {0};
        read = bus_poll(reader, POLL_MAX, POLL_MS, &batch, &err) == 0;
        pthread_mutex_lock(&hub->lock);
        if (read) wanted = pass_one(hub, &batch);
        pthread_mutex_unlock(&hub->lock);
        bus_batch_release(&batch);
        if (read && clock_mono_ms(&clock_system) > deadline) {
            err_set(&err, ERR_OVERLOADED, "the events topic is not read from its beginning in %d s", HISTORY_MS / 1000);
            read = false;
        }
    }
    if (!read) log_err(HTTP_ROLE, &err);
    bus_consumer_free(reader);
    pthread_mutex_lock(&hub->lock);
    join(hub, read);
    pthread_mutex_unlock(&hub->lock);
}

static void *run_history(void *arg) {
    struct http_hub *hub = arg;
    pthread_mutex_lock(&hub->lock);
    while (!atomic_load(&hub->stopping)) {
        if (!gather(hub)) {
            pthread_cond_wait(&hub->changed, &hub->lock);
            continue;
        }
        pthread_mutex_unlock(&hub->lock);
        pass(hub);
        pthread_mutex_lock(&hub->lock);
    }
    pthread_mutex_unlock(&hub->lock);
    return NULL;
}

/* --- following -----------------------------------------------------------------------------------------------------
 */

/* Under the lock. */
static int check(const struct http_hub *hub, struct err *err) {
    if (atomic_load(&hub->stopping)) return err_set(err, ERR_OVERLOADED, "the server is stopping");
    if (!hub->reading) return err_set(err, ERR_BUS_UNAVAILABLE, "kafka does not answer: there are no events to follow");
    return 0;
}

static struct follower *add(struct http_hub *hub, struct http_request *req) {
    struct follower *f = mem_calloc(1, sizeof *f);
    req->res.stream = f->stream = http__stream_new(hub->http);
    req->res.status = 200;
    req->res.type = "text/event-stream";
    f->chain = hub->followers;
    hub->followers = f;
    return f;
}

/* Of "17.0.4": a number for each partition. False: not of this topic as it is. */
static bool parse_position(const struct http_hub *hub, const char *id, int64_t *ret) {
    for (size_t i = 0; i < hub->partitions; i++) {
        char *end;
        if (*id < '0' || *id > '9') return false;
        ret[i] = strtoll(id, &end, 10);
        if (*end != (i + 1 == hub->partitions ? '\0' : '.')) return false;
        id = end + 1;
    }
    return hub->partitions > 0;
}

/* Under the lock. What the client has missed, as far as it is there. */
static void go_on(struct http_hub *hub, struct follower *f, const char *last_id) {
    static const char gap[] = "event: penstock.gap\ndata: {}\n\n";
    int64_t *from = mem_calloc(hub->partitions + 1, sizeof *from);
    bool known = parse_position(hub, last_id, from), whole = known;
    for (size_t i = 0; whole && i < hub->partitions; i++) whole = from[i] >= hub->low[i];
    if (!whole) send_text(f, gap, sizeof gap - 1);
    replay(hub, f, known ? from : NULL);
    free(from);
}

int http__hub_follow(struct http_hub *hub, struct http_request *req, const char *model, const char *last_id,
                     struct err *err) {
    struct buf hello = {0};
    pthread_mutex_lock(&hub->lock);
    int rc = check(hub, err);
    if (rc == 0) {
        struct follower *f = add(hub, req);
        f->model = model ? mem_strdup(model) : NULL;
        if (last_id) go_on(hub, f, last_id);
        put_position(hub, &hello); /* whoever goes before the first event knows where it stood */
        buf_puts(&hello, "\n");
        send_text(f, hello.data, hello.len);
        sweep(hub, false);
    }
    pthread_mutex_unlock(&hub->lock);
    buf_done(&hello);
    return rc;
}

int http__hub_follow_job(struct http_hub *hub, struct http_request *req, const struct job_record *rec, int64_t after,
                         struct err *err) {
    pthread_mutex_lock(&hub->lock);
    int rc = check(hub, err);
    if (rc == 0) {
        struct follower *f = add(hub, req);
        f->job_id = mem_strdup(rec->job_id);
        f->next = after + 1;
        f->since = rec->created_at;
        f->ended = job_state_is_terminal(rec->state);
        send_text(f, ":\n\n", 3); /* the headers leave with the first byte */
        if (f->ended && after >= rec->seq)
            f->over = true;
        else
            replay(hub, f, NULL);
        if (!f->over && f->next <= rec->seq && !f->behind) { /* not in the ring */
            f->behind = true;
            pthread_cond_signal(&hub->changed);
        }
        sweep(hub, false);
    }
    pthread_mutex_unlock(&hub->lock);
    return rc;
}

/* --- starting and stopping -----------------------------------------------------------------------------------------
 */

int http__hub_new(struct http *http, struct http_hub **ret, struct err *err) {
    struct http_hub *hub = mem_calloc(1, sizeof *hub);
    hub->http = http;
    hub->tally = http__tally_new();
    if (http__store_open(http, &hub->st, err) != 0) {
        http__tally_free(hub->tally);
        free(hub);
        return -1;
    }
    pthread_mutex_init(&hub->lock, NULL);
    pthread_cond_init(&hub->changed, NULL);
    http__thread(&hub->thread, run, hub);
    http__thread(&hub->history_thread, run_history, hub);
    *ret = hub;
    return 0;
}

void http__hub_put_tally(struct http_hub *hub, struct buf *out) { http__tally_put(hub->tally, out); }

void http__hub_stop(struct http_hub *hub) {
    if (!hub || atomic_load(&hub->stopping)) return;
    pthread_mutex_lock(&hub->lock);
    atomic_store(&hub->stopping, true);
    sweep(hub, true);
    pthread_cond_signal(&hub->changed);
    pthread_mutex_unlock(&hub->lock);
    pthread_join(hub->thread, NULL);
    pthread_join(hub->history_thread, NULL);
}

void http__hub_free(struct http_hub *hub) {
    if (!hub) return;
    http__hub_stop(hub);
    while (hub->count > 0) forget_oldest(hub);
    store_free(hub->st);
    http__tally_free(hub->tally);
    pthread_cond_destroy(&hub->changed);
    pthread_mutex_destroy(&hub->lock);
    free(hub->next);
    free(hub->low);
    free(hub);
}
