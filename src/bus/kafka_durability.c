/* What an acknowledgement by Kafka is worth: copies from the metadata, which whoever may use a topic may ask for, and the
 * topics' configuration from DescribeConfigs, which is a right of its own that need not be given, and a request that the
 * mock cluster does not know. What may not be read is told as unknown, with the broker's reason, and is no error. */
#include <stdlib.h>
#include <string.h>

#include "bus_internal.h"

static void read_copies(const struct rd_kafka_metadata *metadata, struct bus_topic_durability *topic) {
    for (int i = 0; i < metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *found = &metadata->topics[i];
        if (strcmp(found->topic, topic->topic) != 0 || found->err != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
        topic->partitions = found->partition_cnt;
        for (int p = 0; p < found->partition_cnt; p++) {
            const struct rd_kafka_metadata_partition *part = &found->partitions[p];
            if (p == 0 || part->replica_cnt < topic->replication_factor) topic->replication_factor = part->replica_cnt;
            if (p == 0 || part->isr_cnt < topic->in_sync) topic->in_sync = part->isr_cnt;
        }
    }
}

static void read_config(const rd_kafka_ConfigResource_t *resource, struct arena *arena,
                        struct bus_topic_durability *topic) {
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    if (rd_kafka_ConfigResource_error(resource) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        const char *why = rd_kafka_ConfigResource_error_string(resource);
        topic->unknown = arena_printf(arena, "its configuration: %.200s",
                                      why ? why : rd_kafka_err2str(rd_kafka_ConfigResource_error(resource)));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = rd_kafka_ConfigEntry_name(entries[i]), *value = rd_kafka_ConfigEntry_value(entries[i]);
        if (!value) continue;
        if (strcmp(name, "min.insync.replicas") == 0) topic->min_insync_replicas = (int)strtol(value, NULL, 10);
        if (strcmp(name, "unclean.leader.election.enable") == 0)
            topic->unclean_leader_election = strcmp(value, "true") == 0;
        if (strcmp(name, "cleanup.policy") == 0) topic->cleanup_policy = arena_strdup(arena, value);
    }
}

static void read_configs(struct bus__client *client, struct arena *arena, struct bus_topic_durability *topics,
                         size_t count) {
    char ignored[64];
    rd_kafka_ConfigResource_t **resources = mem_calloc(count + 1, sizeof(rd_kafka_ConfigResource_t *));
    for (size_t i = 0; i < count; i++)
        resources[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics[i].topic);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client->rk);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    BUG_ON(rd_kafka_AdminOptions_set_request_timeout(options, BUS__QUERY_TIMEOUT_MS, ignored, sizeof ignored) != 0);
    rd_kafka_DescribeConfigs(client->rk, resources, count, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, -1); /* the request timeout bounds it */
    size_t answers = 0;
    const rd_kafka_DescribeConfigs_result_t *result = rd_kafka_event_DescribeConfigs_result(event);
    const rd_kafka_ConfigResource_t **found =
        result ? rd_kafka_DescribeConfigs_result_resources(result, &answers) : NULL;
    for (size_t i = 0; i < count; i++)
        if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
            topics[i].unknown = arena_printf(arena, "its configuration: %.200s", rd_kafka_event_error_string(event));
    for (size_t i = 0; i < count * answers; i++)
        if (strcmp(rd_kafka_ConfigResource_name(found[i % answers]), topics[i / answers].topic) == 0)
            read_config(found[i % answers], arena, &topics[i / answers]);
    rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ConfigResource_destroy_array(resources, count);
    free(resources);
}

/* Of the handle itself, not of what we meant to set. */
static const char *property(struct bus__client *client, const char *name, struct arena *arena) {
    char value[32] = "";
    size_t size = sizeof value;
    BUG_ON(rd_kafka_conf_get(rd_kafka_conf(client->rk), name, value, &size) != RD_KAFKA_CONF_OK);
    return arena_strdup(arena, value);
}

int bus_kafka_durability(struct bus_producer *prod, const char *const *topics, size_t count, struct arena *arena,
                         struct bus_durability *ret, struct err *err) {
    struct bus__client *client = bus__producer_client(prod);
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(client->rk, /* all topics */ 1, NULL, &metadata, BUS__QUERY_TIMEOUT_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return bus__client_fail(client, code, err, "list topics");
    const char *acks = property(client, "acks", arena);
    *ret = (struct bus_durability){.acks = strcmp(acks, "-1") == 0 ? "all" : acks,
                                   .idempotence = strcmp(property(client, "enable.idempotence", arena), "true") == 0,
                                   .brokers = metadata->broker_cnt,
                                   .topics = arena_alloc(arena, (count + 1) * sizeof *ret->topics)};
    for (size_t i = 0; i < count; i++) {
        ret->topics[i] =
            (struct bus_topic_durability){.topic = topics[i], .min_insync_replicas = -1, .unclean_leader_election = -1};
        read_copies(metadata, &ret->topics[i]);
    }
    rd_kafka_metadata_destroy(metadata);
    read_configs(client, arena, ret->topics, count);
    return 0;
}
