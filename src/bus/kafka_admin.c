/* Making topics. Asks what is there before creating anything: an ACL may allow looking and not creating, and the mock
 * cluster cannot create on request at all; neither is an error when the topics exist. */
#include <stdlib.h>
#include <string.h>

#include "bus_internal.h"
#include "penstock/mem.h"

static bool exists(const struct rd_kafka_metadata *metadata, const char *name) {
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (strcmp(metadata->topics[i].topic, name) == 0 && metadata->topics[i].err == RD_KAFKA_RESP_ERR_NO_ERROR)
            return true;
    return false;
}

static rd_kafka_NewTopic_t *new_topic(const struct bus_topic *topic, struct err *err) {
    char why[256];
    rd_kafka_NewTopic_t *request =
        rd_kafka_NewTopic_new(topic->name, topic->partitions, topic->replication, why, sizeof why);
    if (!request) {
        err_set(err, ERR_CONFIG, "kafka create topic %s: %s", topic->name, why);
        return NULL;
    }
    if (topic->retention_ms) rd_kafka_NewTopic_set_config(request, "retention.ms", topic->retention_ms);
    if (topic->max_message_bytes) rd_kafka_NewTopic_set_config(request, "max.message.bytes", topic->max_message_bytes);
    return request;
}

/* Another process may create the same topic at the same moment: that it exists is what was wanted. */
static int check_results(struct bus__client *client, rd_kafka_event_t *event, struct err *err) {
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return bus__client_fail(client, code, err, "create topics: %s", rd_kafka_event_error_string(event));
    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    for (size_t i = 0; i < count; i++) {
        code = rd_kafka_topic_result_error(results[i]);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) continue;
        const char *name = rd_kafka_topic_result_name(results[i]),
                   *why = rd_kafka_topic_result_error_string(results[i]);
        if (code == RD_KAFKA_RESP_ERR_INVALID_CONFIG || code == RD_KAFKA_RESP_ERR_INVALID_PARTITIONS ||
            code == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR || code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION ||
            code == RD_KAFKA_RESP_ERR_POLICY_VIOLATION)
            return err_set(err, ERR_CONFIG, "kafka create topic %s: %s", name, why ? why : rd_kafka_err2str(code));
        return bus__client_fail(client, code, err, "create topic %s", name);
    }
    return 0;
}

static int create(struct bus__client *client, rd_kafka_NewTopic_t **requests, size_t count, struct err *err) {
    char why[256];
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client->rk);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    /* Wait until the controller has it everywhere; twice the query timeout, so that its answer wins over ours. */
    BUG_ON(rd_kafka_AdminOptions_set_operation_timeout(options, BUS__QUERY_TIMEOUT_MS, why, sizeof why) != 0);
    BUG_ON(rd_kafka_AdminOptions_set_request_timeout(options, 2 * BUS__QUERY_TIMEOUT_MS, why, sizeof why) != 0);
    rd_kafka_CreateTopics(client->rk, requests, count, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, -1); /* the request timeout bounds it */
    int rc = check_results(client, event, err);
    rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return rc;
}

static int create_missing(struct bus__client *client, const struct bus_topic *topics, size_t count, struct err *err) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(client->rk, /* all topics */ 1, NULL, &metadata, BUS__QUERY_TIMEOUT_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return bus__client_fail(client, code, err, "list topics");
    rd_kafka_NewTopic_t **requests = mem_calloc(count, sizeof(rd_kafka_NewTopic_t *));
    size_t missing = 0;
    int rc = -1;
    for (size_t i = 0; i < count; i++) {
        if (exists(metadata, topics[i].name)) continue;
        requests[missing] = new_topic(&topics[i], err);
        if (!requests[missing]) goto out;
        missing++;
    }
    rc = missing > 0 ? create(client, requests, missing, err) : 0;
out:
    rd_kafka_NewTopic_destroy_array(requests, missing);
    free(requests);
    rd_kafka_metadata_destroy(metadata);
    return rc;
}

int bus_kafka_create_topics(const struct bus_kafka_config *cfg, const struct bus_topic *topics, size_t count,
                            struct err *err) {
    rd_kafka_conf_t *conf;
    if (bus__conf_new(cfg, &conf, err) != 0) return -1;
    struct bus__client client = {0};
    if (bus__client_open(&client, RD_KAFKA_PRODUCER, conf, err) != 0) return -1;
    int rc = create_missing(&client, topics, count, err);
    bus__client_close(&client);
    return rc;
}
