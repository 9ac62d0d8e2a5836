/* An idempotent producer: acks=all, and within one producer's life neither a repeat nor a swap of what Kafka accepted.
 *
 * What it cannot promise: a message whose delivery failed (a timeout, above all) may be missing while a later one is
 * stored, and may even turn up. Whoever needs an unbroken sequence frees the producer at the first failed delivery and
 * starts again from what Kafka is known to have. After a fatal error librdkafka itself refuses to go on. */
#include <stdlib.h>
#include <string.h>

#include "bus_internal.h"
#include "penstock/mem.h"

struct producer {
    struct bus_producer base;
    struct bus__client client;
    bus_delivered_fn *on_delivered;
    void *self;
    bool closing;
};

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *report, void *opaque) {
    struct producer *prod = (struct producer *)((char *)opaque - offsetof(struct producer, client));
    if (prod->closing) return;
    uint64_t tag = (uint64_t)(uintptr_t)report->_private;
    if (report->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        prod->on_delivered(prod->self, tag, NULL);
        return;
    }
    struct err err;
    bus__client_fail(&prod->client, report->err, &err, "produce to %s", rd_kafka_topic_name(report->rkt));
    prod->on_delivered(prod->self, tag, &err);
}

static rd_kafka_headers_t *headers_of(const struct bus_out *msg) {
    if (msg->header_count == 0) return NULL;
    rd_kafka_headers_t *headers = rd_kafka_headers_new(msg->header_count);
    for (size_t i = 0; i < msg->header_count; i++)
        rd_kafka_header_add(headers, msg->headers[i].name, -1, msg->headers[i].value,
                            (ssize_t)msg->headers[i].value_len);
    return headers;
}

static int producer_produce(struct bus_producer *base, const struct bus_out *msg, struct err *err) {
    struct producer *prod = (struct producer *)base;
    rd_kafka_headers_t *headers = headers_of(msg);
    rd_kafka_resp_err_t code = rd_kafka_producev(
        prod->client.rk, RD_KAFKA_V_TOPIC(msg->topic), RD_KAFKA_V_PARTITION(msg->partition),
        RD_KAFKA_V_KEY(msg->key, msg->key_len), RD_KAFKA_V_VALUE((void *)(uintptr_t)msg->value, msg->value_len),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_OPAQUE((void *)(uintptr_t)msg->tag), RD_KAFKA_V_END);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return 0; /* the headers are librdkafka's now */
    if (headers) rd_kafka_headers_destroy(headers);
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        return err_set(err, ERR_BUS_UNAVAILABLE, "kafka produce to %s: the queue of unsent messages is full",
                       msg->topic);
    return bus__client_fail(&prod->client, code, err, "produce to %s", msg->topic);
}

static int producer_poll(struct bus_producer *base, int timeout_ms, struct err *err) {
    struct producer *prod = (struct producer *)base;
    rd_kafka_poll(prod->client.rk, timeout_ms);
    return bus__client_check_fatal(&prod->client, err);
}

static void producer_free(struct bus_producer *base) {
    struct producer *prod = (struct producer *)base;
    if (prod->client.rk) {
        /* Purged messages would be reported one by one to a caller who is tearing down. */
        prod->closing = true;
        rd_kafka_purge(prod->client.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_flush(prod->client.rk, 0);
    }
    bus__client_close(&prod->client);
    free(prod);
}

static const struct bus_producer_ops producer_ops = {
    .produce = producer_produce, .poll = producer_poll, .free = producer_free};

struct bus__client *bus__producer_client(struct bus_producer *base) {
    BUG_ON(base->ops != &producer_ops);
    return &((struct producer *)base)->client;
}

int bus_kafka_producer_ask(struct bus_producer *base, const char *topic, struct err *err) {
    return bus__client_ask_for_topic(bus__producer_client(base), topic, err);
}

int bus_kafka_ends(struct bus_producer *prod, const char *topic, struct arena *arena, struct bus_log_end **ret,
                   size_t *ret_count, struct err *err) {
    struct bus__client *client = bus__producer_client(prod);
    int count;
    if (bus__client_partition_count(client, topic, &count, err) != 0) return -1;
    struct bus_log_end *ends = arena_alloc(arena, (size_t)count * sizeof *ends);
    for (int i = 0; i < count; i++)
        if (bus__client_watermarks(client, topic, i, &ends[i].low, &ends[i].high, err) != 0) return -1;
    *ret = ends;
    *ret_count = (size_t)count;
    return 0;
}

int bus_kafka_producer(const struct bus_kafka_config *cfg, bus_delivered_fn *on_delivered, void *self,
                       struct bus_producer **ret, struct err *err) {
    rd_kafka_conf_t *conf;
    if (bus__conf_new(cfg, &conf, err) != 0) return -1;
    if (cfg->short_lived) {
        bus__conf_set(conf, "enable.idempotence", "false");
        bus__conf_set(conf, "max.in.flight.requests.per.connection", "1"); /* a retry must not be overtaken */
    }
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    struct producer *prod = mem_calloc(1, sizeof *prod);
    prod->base.ops = &producer_ops;
    prod->on_delivered = on_delivered;
    prod->self = self;
    if (bus__client_open(&prod->client, RD_KAFKA_PRODUCER, conf, err) != 0) {
        free(prod);
        return -1;
    }
    *ret = &prod->base;
    return 0;
}
