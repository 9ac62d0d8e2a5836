/* Connections as the configuration describes them. Commands only read the store, which needs no scripts and therefore
 * no store_attach; what changes a job goes through Kafka like everybody else's commands. */
#include <stdlib.h>
#include <string.h>

#include "cli_jobs.h"
#include "penstock/clock.h"

#define POLL_MS       50
#define NOTE_AFTER_MS 2000

void cli__kafka_config(struct cli_context *ctx, struct bus_kafka_config *ret) {
    size_t count;
    const struct config_property *props = config_kafka_properties(ctx->cfg, &count);
    free(ctx->props);
    ctx->props = mem_calloc(count, sizeof *ctx->props);
    for (size_t i = 0; i < count; i++) ctx->props[i] = (struct bus_property){props[i].name, props[i].value};
    *ret = (struct bus_kafka_config){.client_id = "penstock", .props = ctx->props, .prop_count = count};
}

void cli__store_config(const struct cli_context *ctx, struct store_config *ret) {
    const struct config *cfg = ctx->cfg;
    *ret = (struct store_config){
        .url = config_string(cfg, "store.url"),
        .password = config_string(cfg, "store.password"),
        .tls_ca_file = config_string(cfg, "store.tls_ca_file"),
        .tls_cert_file = config_string(cfg, "store.tls_cert_file"),
        .tls_key_file = config_string(cfg, "store.tls_key_file"),
        .prefix = config_string(cfg, "store.prefix"),
        .timeout_ms = (int)config_int(cfg, "store.timeout_ms"),
        .retention_ms = config_int(cfg, "store.retention_ms"),
        .retention_by_state_ms = {[JOB_STATE_COMPLETED] = config_int(cfg, "store.retention_completed_ms"),
                                  [JOB_STATE_FAILED] = config_int(cfg, "store.retention_failed_ms"),
                                  [JOB_STATE_CANCELLED] = config_int(cfg, "store.retention_cancelled_ms")},
        .tombstone_ms = config_int(cfg, "store.tombstone_ms"),
        .max_crashes = (int)config_int(cfg, "jobs.max_crashes"),
    };
}

int cli__open_store(struct cli_context *ctx, struct store **ret, struct err *err) {
    struct store_config cfg;
    cli__store_config(ctx, &cfg);
    return store_open(&cfg, ret, err);
}

static void on_delivered(void *self, uint64_t tag, const struct err *err) {
    struct cli_producer *producer = self;
    producer->unacked--;
    if (err && producer->failed++ == 0) producer->first_err = *err;
    if (producer->on_acked) producer->on_acked(producer->self, tag, err);
}

int cli__open_producer(struct cli_context *ctx, bus_delivered_fn *on_acked, void *self, struct cli_producer *ret,
                       struct err *err) {
    struct bus_kafka_config cfg;
    cli__kafka_config(ctx, &cfg);
    cfg.short_lived = true;
    *ret = (struct cli_producer){.on_acked = on_acked, .self = self, .notes = ctx->terminal && !ctx->quiet};
    return bus_kafka_producer(&cfg, on_delivered, ret, &ret->prod, err);
}

/* A full queue is not an error here: it empties while the deliveries are served. */
int cli__produce(struct cli_producer *producer, const struct bus_out *msg, struct err *err) {
    if (!producer->answered && bus_kafka_producer_ask(producer->prod, msg->topic, err) != 0) return -1;
    producer->answered = true;
    producer->unacked++;
    while (bus_produce(producer->prod, msg, err) != 0) {
        if (err->code != ERR_BUS_UNAVAILABLE || producer->failed > 0) {
            producer->unacked--;
            return -1;
        }
        if (bus_producer_poll(producer->prod, POLL_MS, err) != 0) return -1;
    }
    return bus_producer_poll(producer->prod, 0, err);
}

int cli__flush(struct cli_producer *producer, int64_t timeout_ms, struct err *err) {
    int64_t start = clock_mono_ms(&clock_system);
    bool noted = !producer->notes;
    while (producer->unacked > 0) {
        if (bus_producer_poll(producer->prod, POLL_MS, err) != 0) return -1;
        if (producer->unacked == 0) break;
        int64_t waited = clock_mono_ms(&clock_system) - start;
        if (!noted && waited > NOTE_AFTER_MS) {
            fprintf(stderr,
                    "\r\033[Kwaiting for Kafka to acknowledge (it may be away; giving up takes up to %d s) ...\n",
                    (int)(timeout_ms / 1000));
            noted = true;
        }
        if (waited > timeout_ms)
            return err_set(err, ERR_BUS_UNAVAILABLE, "kafka: %zu of the messages were not acknowledged within %d s",
                           producer->unacked, (int)(timeout_ms / 1000));
    }
    if (producer->failed > 0) {
        *err = producer->first_err;
        return -1;
    }
    return 0;
}

void cli__close_producer(struct cli_producer *producer) {
    bus_producer_free(producer->prod);
    producer->prod = NULL;
}
