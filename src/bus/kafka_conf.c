/* Which librdkafka properties are ours, which are the operator's.
 *
 * Three kinds. LOCKED: what the promises rest on. An operator who sets one is told by name why he may not, even where
 * his value equals ours, so that a later change of ours cannot turn his line into a lie. DEFAULTS: chosen for Penstock,
 * free to be changed. Everything else is passed through, and librdkafka says what it does not know.
 *
 * What breaks if the locked ones go: acks or idempotence off lose and reorder acknowledged events; auto-commit or a
 * reset policy other than "error" skip commands silently; read_uncommitted shows events of aborted transactions;
 * another assignor cannot move partitions without stopping the whole group; another partitioner sends a job's cancel to
 * another partition than its create, where it may overtake it. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bus_internal.h"
#include "penstock/mem.h"
#include "penstock/nearest.h"

static const struct {
    const char *name, *why;
} locked[] = {
    {"acks", "an acknowledged message must be on all in-sync replicas"},
    {"request.required.acks", "an acknowledged message must be on all in-sync replicas"},
    {"enable.idempotence", "without it a retry repeats or reorders events"},
    {"isolation.level", "events of aborted transactions must not be seen"},
    {"enable.auto.commit", "the truth about what was read is the offset in the store"},
    {"auto.commit.enable", "the truth about what was read is the offset in the store"},
    {"enable.auto.offset.store", "the truth about what was read is the offset in the store"},
    {"auto.offset.reset", "commands deleted before they were read must be an error"},
    {"partition.assignment.strategy", "partitions must move without stopping the whole group"},
    {"partitioner", "all messages of a job must go to the partition that other clients choose"},
    {"group.id", "set bus.group in its place"},
    {"group.instance.id", "Penstock decides about static membership"},
    {"transactional.id", "Penstock decides about transactions"},
    {"test.mock.num.brokers", "`penstock dev` runs a mock cluster"},
};

/* enable.partition.eof belongs to the reader; it is no promise, but a value set here would be overruled. */
static const struct bus_property defaults[] = {
    {"acks", "all"},
    {"enable.idempotence", "true"},
    {"isolation.level", "read_committed"},
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},
    {"partition.assignment.strategy", "cooperative-sticky"},
    {"partitioner", "murmur2_random"}, /* as Java's clients choose */
    {"fetch.wait.max.ms", "20"},       /* a lone command is not held back; the default 500 ms also delays shutdown */
    {"queued.min.messages", "300000"}, /* keep fetching while a batch is worked on */
    {"queued.max.messages.kbytes", "131072"},   /* but at most 128 MiB of it: values may be 1 MiB each */
    {"linger.ms", "3"},                         /* fills batches; ten times the broker's own time for a lone message */
    {"queue.buffering.max.messages", "300000"}, /* of small messages at full speed: about two seconds' worth */
    {"message.max.bytes", "2097152"}, /* a dead letter: 1 MiB of value, its reason and coordinates in headers */
    {"message.timeout.ms", "30000"},  /* an outcome that nobody waits for any longer is no outcome */
    {"session.timeout.ms", "10000"},  /* a killed control process's partitions move after this */
    {"heartbeat.interval.ms", "2000"},
    {"reconnect.backoff.max.ms", "2000"},            /* back within two seconds of the broker */
    {"topic.metadata.refresh.interval.ms", "10000"}, /* a topic or partition added while running is seen */
    {"socket.keepalive.enable", "true"},
    {"socket.nagle.disable", "true"},
    {"client.id", "penstock"},
};

static const char *locked_because(const char *name) {
    for (size_t i = 0; i < sizeof locked / sizeof *locked; i++)
        if (strcasecmp(locked[i].name, name) == 0) return locked[i].why;
    return NULL;
}

/* rd_kafka_conf_dump leaves out what has no value, which is most of what security needs. */
static const char *const unset_names[] = {
    "sasl.username",
    "sasl.password",
    "sasl.mechanisms",
    "sasl.kerberos.principal",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.cipher.suites",
    "client.rack",
};

static int refuse_unknown(const rd_kafka_conf_t *conf, const char *name, struct err *err) {
    size_t known, extra = sizeof unset_names / sizeof *unset_names, count = 0;
    const char **dump = rd_kafka_conf_dump((rd_kafka_conf_t *)conf, &known); /* name, value, name, value ... */
    const char **names = mem_calloc(known / 2 + extra, sizeof *names);
    for (size_t i = 0; i < known; i += 2) names[count++] = dump[i];
    for (size_t i = 0; i < extra; i++) names[count++] = unset_names[i];
    const char *meant = nearest_word(name, names, count);
    int rc =
        meant ? err_set(err, ERR_CONFIG, "kafka.%s: librdkafka has no such property; did you mean '%s'?", name, meant)
              : err_set(err, ERR_CONFIG, "kafka.%s: librdkafka has no such property", name);
    free(names);
    rd_kafka_conf_dump_free(dump, known);
    return rc;
}

void bus__conf_set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char why[256];
    BUG_ON(rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK);
}

int bus__conf_new(const struct bus_kafka_config *cfg, rd_kafka_conf_t **ret, struct err *err) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        bus__conf_set(conf, defaults[i].name, defaults[i].value);
    if (cfg->client_id) bus__conf_set(conf, "client.id", cfg->client_id);
    for (size_t i = 0; i < cfg->prop_count; i++) {
        const struct bus_property *prop = &cfg->props[i];
        const char *reason = locked_because(prop->name);
        char why[256];
        if (reason) {
            err_set(err, ERR_CONFIG, "kafka.%s cannot be set: %s", prop->name, reason);
            goto fail;
        }
        rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, prop->name, prop->value, why, sizeof why);
        if (result == RD_KAFKA_CONF_UNKNOWN) {
            refuse_unknown(conf, prop->name, err);
            goto fail;
        }
        if (result != RD_KAFKA_CONF_OK) {
            err_set(err, ERR_CONFIG, "kafka.%s: %s", prop->name, why);
            goto fail;
        }
    }
    *ret = conf;
    return 0;
fail:
    rd_kafka_conf_destroy(conf);
    return -1;
}

int bus_kafka_check_props(const struct bus_kafka_config *cfg, struct err *err) {
    rd_kafka_conf_t *conf;
    if (bus__conf_new(cfg, &conf, err) != 0) return -1;
    rd_kafka_conf_destroy(conf);
    return 0;
}
