/* One librdkafka handle, and how its troubles become a struct err.
 *
 * librdkafka reconnects for ever and tells nobody: a consumer whose broker is gone simply gets no messages. It says why
 * in two places: the error callback (once, when the last broker is lost) and its log (the system's own words). We keep
 * the last complaint of the log, and a flag set by the callback; while the flag stands, whoever polls and gets nothing
 * asks for metadata: an answer clears the flag, none is a RETRY error with the complaint in it. So "broker away" is an
 * error for as long as it is away, and polling costs nothing extra while it is there. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bus_internal.h"
#include "penstock/log.h"

#define LOG_LEVEL_SYSLOG_ERR 3

/* Called by librdkafka's own threads, also while rd_kafka_new still runs. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *line) {
    log_debug("kafka", "%s: %s", facility, line);
    struct bus__client *client = rk ? rd_kafka_opaque(rk) : NULL;
    if (!client || level > LOG_LEVEL_SYSLOG_ERR) return;
    if (*line == '[') { /* "[thrd:name]: text": the thread is of no interest to a person */
        const char *text = strstr(line, "]: ");
        if (text) line = text + 3;
    }
    pthread_mutex_lock(&client->lock);
    snprintf(client->last_error, sizeof client->last_error, "%s", line);
    char *timing = strstr(client->last_error, " (after "); /* "5ms in state AUTH_REQ" is librdkafka's own business */
    if (timing) *timing = '\0';
    pthread_mutex_unlock(&client->lock);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque) {
    struct bus__client *client = opaque;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) client->all_down = true;
}

static bool has_brokers(const rd_kafka_conf_t *conf) {
    char value[16];
    size_t size = sizeof value;
    return rd_kafka_conf_get(conf, "bootstrap.servers", NULL, &size) == RD_KAFKA_CONF_OK && size > 1;
}

int bus__client_open(struct bus__client *client, rd_kafka_type_t type, rd_kafka_conf_t *conf, struct err *err) {
    char why[400];
    if (!has_brokers(conf)) {
        rd_kafka_conf_destroy(conf);
        return err_set(err, ERR_CONFIG, "kafka.bootstrap.servers is not set");
    }
    BUG_ON(bus__tsan);
    pthread_mutex_init(&client->lock, NULL);
    rd_kafka_conf_set_opaque(conf, client);
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    client->rk = rd_kafka_new(type, conf, why, sizeof why);
    if (client->rk) return 0;
    rd_kafka_conf_destroy(conf);
    pthread_mutex_destroy(&client->lock);
    return err_set(err, ERR_CONFIG, "kafka: %s", why);
}

void bus__client_close(struct bus__client *client) {
    if (!client->rk) return;
    rd_kafka_destroy(client->rk);
    client->rk = NULL;
    pthread_mutex_destroy(&client->lock);
}

/* --- errors --------------------------------------------------------------------------------------------------------
 */

/* Everything that is not the fault of one message or beyond repair may pass by itself: RETRY. */
static enum err_code classify(rd_kafka_resp_err_t code) {
    switch (code) {
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
        return ERR_BUS_FATAL;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        return ERR_TOO_LARGE;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        return ERR_BUS_DENIED; /* RETRY, too: rights are granted while we run */
    default:
        return ERR_BUS_UNAVAILABLE;
    }
}

/* The log's last line explains these; beside any other error it would only confuse. */
static bool explained_by_log(rd_kafka_resp_err_t code) {
    return code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
           code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT ||
           code == RD_KAFKA_RESP_ERR__RESOLVE || code == RD_KAFKA_RESP_ERR__SSL ||
           code == RD_KAFKA_RESP_ERR__AUTHENTICATION;
}

/* A refused login closes the connection, so that whoever asks for something is told of the transport alone; that it was
 * the login stands in the log. */
static bool is_login_refused(const char *last) { return strstr(last, "SASL authentication error") != NULL; }

/* librdkafka before 2.6.1 says the client's nonce twice where RFC 5802 wants it once (its pull request 4895). Kafka before
 * 4.0 lets that pass; newer ones call a right password invalid. */
#define SCRAM_MENDED 0x020601ff

static const char *scram_remark(const char *last) {
    bool is_cause = strstr(last, "SCRAM") && rd_kafka_version() < SCRAM_MENDED;
    return is_cause ? "; with Kafka 4 it is librdkafka before 2.6.1 that cannot do SCRAM, whatever the password" : "";
}

int bus__client_fail(struct bus__client *client, rd_kafka_resp_err_t code, struct err *err, const char *fmt, ...) {
    char what[200], last[sizeof client->last_error] = "";
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    if (code == RD_KAFKA_RESP_ERR__FATAL && bus__client_check_fatal(client, err) != 0) return err_wrap(err, "%s", what);
    if (explained_by_log(code)) {
        pthread_mutex_lock(&client->lock);
        memcpy(last, client->last_error, sizeof last);
        pthread_mutex_unlock(&client->lock);
    }
    if (is_login_refused(last)) return err_set(err, ERR_BUS_DENIED, "kafka: %s%s", last, scram_remark(last));
    return err_set(err, classify(code), "kafka %s: %s%s%s", what, rd_kafka_err2str(code), *last ? ": " : "", last);
}

int bus__client_fail_event(struct bus__client *client, const rd_kafka_message_t *event, struct err *err) {
    if (event->err == RD_KAFKA_RESP_ERR__FATAL && bus__client_check_fatal(client, err) != 0) return -1;
    if (event->err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) {
        char group[300] = ""; /* which librdkafka does not name */
        size_t size = sizeof group;
        rd_kafka_conf_get(rd_kafka_conf(client->rk), "group.id", group, &size);
        return err_set(err, ERR_BUS_DENIED, "kafka consumer: group %s: %s", group, rd_kafka_message_errstr(event));
    }
    return err_set(err, classify(event->err), "kafka consumer: %s", rd_kafka_message_errstr(event));
}

int bus__client_check_fatal(struct bus__client *client, struct err *err) {
    char why[400];
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(client->rk, why, sizeof why);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return 0;
    return err_set(err, ERR_BUS_FATAL, "kafka client %s: %s (%s)", rd_kafka_name(client->rk), why,
                   rd_kafka_err2name(code));
}

int bus__client_check_reachable(struct bus__client *client, int timeout_ms, struct err *err) {
    if (!client->all_down) return 0;
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(client->rk, 0, NULL, &metadata, timeout_ms);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return bus__client_fail(client, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, err, "poll");
    rd_kafka_metadata_destroy(metadata);
    client->all_down = false;
    return 0;
}

/* --- questions -----------------------------------------------------------------------------------------------------
 */

int bus__client_watermarks(struct bus__client *client, const char *topic, int32_t partition, int64_t *ret_low,
                           int64_t *ret_high, struct err *err) {
    rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(client->rk, topic, partition, ret_low, ret_high, BUS__QUERY_TIMEOUT_MS);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return 0;
    return bus__client_fail(client, code, err, "offsets of %s[%d]", topic, (int)partition);
}

/* *ret_count is 0 where the brokers know no such topic; -1 where none answers. */
static int count_partitions(struct bus__client *client, const char *topic, int *ret_count,
                            rd_kafka_resp_err_t *ret_topic_code, struct err *err) {
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(client->rk, topic, NULL);
    if (!rkt) return bus__client_fail(client, rd_kafka_last_error(), err, "topic %s", topic);
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(client->rk, 0, rkt, &metadata, BUS__QUERY_TIMEOUT_MS);
    rd_kafka_topic_destroy(rkt);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return bus__client_fail(client, code, err, "topic %s", topic);
    BUG_ON(metadata->topic_cnt != 1);
    *ret_topic_code = metadata->topics[0].err;
    *ret_count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    return 0;
}

int bus__client_partition_count(struct bus__client *client, const char *topic, int *ret, struct err *err) {
    rd_kafka_resp_err_t code;
    int count;
    if (count_partitions(client, topic, &count, &code, err) != 0) return -1;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && count == 0) code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return bus__client_fail(client, code, err, "topic %s", topic);
    *ret = count;
    return 0;
}

int bus__client_ask_for_topic(struct bus__client *client, const char *topic, struct err *err) {
    rd_kafka_resp_err_t ignored;
    int count;
    return count_partitions(client, topic, &count, &ignored, err);
}
