/* librdkafka's mock cluster: one broker in this process, speaking the real protocol on a loopback port.
 *
 * What it is not (measured on 2.0.2): durable; unbounded (about 5 MB a partition, then the oldest messages go
 * silently); transactional (aborted messages are seen, fencing does not happen). `penstock dev` lives with that and
 * says so; no test of a promise about transactions or lost commands may stand on it. */
#include <stdlib.h>

#include "bus_internal.h"
#include "penstock/mem.h"

#include <librdkafka/rdkafka_mock.h> /* after rdkafka.h */

struct bus_mock {
    rd_kafka_t *rk; /* carries the cluster's thread; produces nothing */
    rd_kafka_mock_cluster_t *cluster;
};

/* Its log is of no interest, and librdkafka's default would print to standard error. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *line) {}

static int create_topics(struct bus_mock *mock, const struct bus_topic *topics, size_t count, struct err *err) {
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t code = rd_kafka_mock_topic_create(mock->cluster, topics[i].name, topics[i].partitions, 1);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            return err_set(err, ERR_CONFIG, "mock kafka: topic %s with %d partitions: %s", topics[i].name,
                           topics[i].partitions, rd_kafka_err2str(code));
    }
    return 0;
}

int bus_mock_start(const struct bus_topic *topics, size_t count, struct bus_mock **ret, struct err *err) {
    char why[400];
    struct bus_mock *mock = mem_calloc(1, sizeof *mock);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bus__conf_set(conf, "client.id", "penstock-mock");
    rd_kafka_conf_set_log_cb(conf, on_log);
    mock->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!mock->rk) {
        rd_kafka_conf_destroy(conf);
        err_set(err, ERR_SYSTEM, "mock kafka: %s", why);
        goto fail;
    }
    mock->cluster = rd_kafka_mock_cluster_new(mock->rk, 1);
    if (!mock->cluster) {
        err_set(err, ERR_SYSTEM, "mock kafka: cannot listen on 127.0.0.1");
        goto fail;
    }
    if (create_topics(mock, topics, count, err) != 0) goto fail;
    *ret = mock;
    return 0;
fail:
    bus_mock_stop(mock);
    return -1;
}

const char *bus_mock_bootstrap(const struct bus_mock *mock) { return rd_kafka_mock_cluster_bootstraps(mock->cluster); }

void bus_mock_stop(struct bus_mock *mock) {
    if (!mock) return;
    if (mock->cluster) rd_kafka_mock_cluster_destroy(mock->cluster);
    if (mock->rk) rd_kafka_destroy(mock->rk);
    free(mock);
}
