/* Commands to Kafka. Any worker produces; one thread serves the acknowledgements. A request that waits for its own is
 * in a list here and nowhere else, so that none is lost when the producer has to be made afresh: what Kafka had not
 * acknowledged by then is answered as unavailable. Its outcome is unknown, and that is why a job's id is its
 * idempotency key: sending it again does no harm. */
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"
#include "penstock/clock.h"
#include "penstock/log.h"

#define POLL_MS        100
#define DRAIN_MS       6000 /* over HTTP_ACK_TIMEOUT_MS: everything has an outcome by then */
#define PROBE_PAUSE_MS 200

struct pending {
    struct http_request *req;
    http_handler_fn *step;
    struct pending *prev, *next;
};
struct http_publisher {
    struct http *http;
    struct bus_property *props;
    struct bus_kafka_config kafka;
    pthread_rwlock_t lock; /* of prod: read to use it, written to replace it */
    struct bus_producer *prod;
    pthread_mutex_t list_lock;
    struct pending list; /* a ring; .next is the oldest */
    bool draining;
    atomic_bool stopping;
    pthread_t thread;
    bool started;
};

static void unlink_pending(struct http_publisher *pub, struct pending *p) {
    pthread_mutex_lock(&pub->list_lock);
    p->prev->next = p->next;
    p->next->prev = p->prev;
    pthread_mutex_unlock(&pub->list_lock);
}

static void settle(struct pending *p, const struct err *err) {
    if (err) {
        http__fail(p->req, err);
        http__answer(p->req);
    } else {
        http__continue(p->req, p->step);
    }
    free(p);
}

static void on_delivered(void *self, uint64_t tag, const struct err *err) {
    struct pending *p = (struct pending *)(uintptr_t)tag;
    unlink_pending(self, p);
    settle(p, err);
}

/* The producer is gone, and with it every acknowledgement that was still to come. */
static void settle_all(struct http_publisher *pub, const struct err *err) {
    for (;;) {
        pthread_mutex_lock(&pub->list_lock);
        struct pending *p = pub->list.next;
        pthread_mutex_unlock(&pub->list_lock);
        if (p == &pub->list) return;
        unlink_pending(pub, p);
        settle(p, err);
    }
}

static int make(struct http_publisher *pub, struct err *err) {
    return bus_kafka_producer(&pub->kafka, on_delivered, pub, &pub->prod, err);
}

/* After a fatal error. */
static void make_afresh(struct http_publisher *pub, const struct err *why) {
    struct err unavailable, err;
    log_err(HTTP_ROLE, why);
    pthread_rwlock_wrlock(&pub->lock);
    bus_producer_free(pub->prod);
    pub->prod = NULL;
    if (make(pub, &err) != 0) log_err(HTTP_ROLE, &err);
    pthread_rwlock_unlock(&pub->lock);
    err_set(&unavailable, ERR_BUS_UNAVAILABLE, "%s", why->msg);
    settle_all(pub, &unavailable);
}

static void *run(void *arg) {
    struct http_publisher *pub = arg;
    struct err err;
    while (!atomic_load(&pub->stopping)) {
        if (!pub->prod) err_set(&err, ERR_BUS_UNAVAILABLE, "kafka: there is no producer");
        if (pub->prod && bus_producer_poll(pub->prod, POLL_MS, &err) == 0) continue;
        http__pause_ms(PROBE_PAUSE_MS);
        make_afresh(pub, &err);
    }
    return NULL;
}

int http__publish(struct http_request *req, const struct bus_out *msg, http_handler_fn *step, struct err *err) {
    struct http_publisher *pub = req->http->publisher;
    struct pending *p = mem_calloc(1, sizeof *p);
    struct bus_out out = *msg;
    out.partition = -1;
    out.tag = (uint64_t)(uintptr_t)p;
    p->req = req;
    p->step = step;
    pthread_mutex_lock(&pub->list_lock);
    bool draining = pub->draining;
    if (!draining) {
        p->prev = pub->list.prev;
        p->next = &pub->list;
        p->prev->next = p->next->prev = p;
    }
    pthread_mutex_unlock(&pub->list_lock);
    if (draining) {
        free(p);
        return err_set(err, ERR_OVERLOADED, "the server is stopping");
    }
    pthread_rwlock_rdlock(&pub->lock);
    int rc = pub->prod ? bus_produce(pub->prod, &out, err)
                       : err_set(err, ERR_BUS_UNAVAILABLE, "kafka: the producer is being made afresh");
    /* Under the read lock: nobody settles what was not sent, since settle_all comes after the write lock. */
    if (rc != 0) unlink_pending(pub, p);
    pthread_rwlock_unlock(&pub->lock);
    if (rc == 0) return HTTP_LATER;
    free(p);
    return -1;
}

bool http__publisher_probe(struct http_publisher *pub) {
    struct err err;
    pthread_rwlock_rdlock(&pub->lock);
    bool there = pub->prod && bus_kafka_producer_ask(pub->prod, pub->http->cfg.commands_topic, &err) == 0;
    pthread_rwlock_unlock(&pub->lock);
    return there;
}

int http__publisher_ends(struct http_publisher *pub, const char *topic, struct arena *arena, struct bus_log_end **ret,
                         size_t *ret_count, struct err *err) {
    pthread_rwlock_rdlock(&pub->lock);
    int rc = pub->prod ? bus_kafka_ends(pub->prod, topic, arena, ret, ret_count, err)
                       : err_set(err, ERR_BUS_UNAVAILABLE, "kafka: the producer is being made afresh");
    pthread_rwlock_unlock(&pub->lock);
    return rc;
}

int http__publisher_durability(struct http_publisher *pub, struct arena *arena, struct bus_durability *ret,
                               struct err *err) {
    const struct http_config *cfg = &pub->http->cfg;
    const char *topics[HTTP_TOPICS] = {cfg->commands_topic, cfg->control_topic, cfg->events_topic, cfg->dlq_topic};
    pthread_rwlock_rdlock(&pub->lock);
    int rc = pub->prod ? bus_kafka_durability(pub->prod, topics, HTTP_TOPICS, arena, ret, err)
                       : err_set(err, ERR_BUS_UNAVAILABLE, "kafka: the producer is being made afresh");
    pthread_rwlock_unlock(&pub->lock);
    return rc;
}

int http__publisher_new(struct http *http, struct http_publisher **ret, struct err *err) {
    struct http_publisher *pub = mem_calloc(1, sizeof *pub);
    size_t count = http->cfg.kafka.prop_count;
    pub->http = http;
    pub->list.prev = pub->list.next = &pub->list;
    pub->kafka = http->cfg.kafka;
    pub->props = mem_calloc(count + 1, sizeof *pub->props);
    for (size_t i = 0; i < count; i++) pub->props[i] = http->cfg.kafka.props[i];
    pub->props[count] = (struct bus_property){"message.timeout.ms", HTTP_ACK_TIMEOUT_MS};
    pub->kafka.props = pub->props;
    pub->kafka.prop_count = count + 1;
    pthread_rwlock_init(&pub->lock, NULL);
    pthread_mutex_init(&pub->list_lock, NULL);
    if (make(pub, err) != 0) {
        http__publisher_free(pub);
        return -1;
    }
    http__thread(&pub->thread, run, pub);
    pub->started = true;
    *ret = pub;
    return 0;
}

void http__publisher_drain(struct http_publisher *pub) {
    int64_t deadline = clock_mono_ms(&clock_system) + DRAIN_MS;
    bool empty = false;
    pthread_mutex_lock(&pub->list_lock);
    pub->draining = true;
    pthread_mutex_unlock(&pub->list_lock);
    while (!empty && clock_mono_ms(&clock_system) < deadline) {
        pthread_mutex_lock(&pub->list_lock);
        empty = pub->list.next == &pub->list;
        pthread_mutex_unlock(&pub->list_lock);
        if (!empty) http__pause_ms(5);
    }
    atomic_store(&pub->stopping, true);
    pthread_join(pub->thread, NULL);
    pub->started = false;
    struct err err;
    err_set(&err, ERR_BUS_UNAVAILABLE, "kafka: no acknowledgement before the server stopped");
    settle_all(pub, &err);
}

void http__publisher_free(struct http_publisher *pub) {
    if (!pub) return;
    if (pub->started) http__publisher_drain(pub);
    bus_producer_free(pub->prod);
    pthread_rwlock_destroy(&pub->lock);
    pthread_mutex_destroy(&pub->list_lock);
    free(pub->props);
    free(pub);
}
