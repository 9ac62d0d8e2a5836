/* Reads one topic from end to end, outside any group: for the event log's readers (verify, healing, streaming).
 *
 * "Have I seen everything that was there when I began?" cannot be answered by comparing a message's offset with the
 * log's end: the last offsets may belong to transaction markers, aborted or compacted-away messages, which are never
 * delivered. So librdkafka is asked to say when a partition's end is reached, and that counts as having read up to
 * there. */
#include <stdlib.h>
#include <string.h>

#include "bus_internal.h"
#include "penstock/mem.h"

struct reader {
    struct bus_consumer base;
    struct bus__inbox inbox;
    char *topic;
    struct bus_position *next; /* per partition; topic = the one above */
    int64_t *ends;             /* per partition, when the reader was opened */
    size_t count;
};

static void advance(struct reader *rd, int32_t partition, int64_t next) {
    BUG_ON(partition < 0 || (size_t)partition >= rd->count);
    if (next > rd->next[partition].offset) rd->next[partition].offset = next;
}

static int on_event(void *self, const rd_kafka_message_t *event, struct err *err) {
    struct reader *rd = self;
    if (event->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        advance(rd, event->partition, event->offset);
        return 0;
    }
    /* librdkafka looks for the group's coordinator, although nobody joins: who only reads needs no right to a group. */
    if (event->err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) return 0;
    if (event->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
        return bus__inbox_fail_out_of_range(&rd->inbox, event, ERR_BUS_FATAL, err);
    return bus__client_fail_event(&rd->inbox.client, event, err);
}

static int reader_poll(struct bus_consumer *base, size_t max, int timeout_ms, struct bus_batch *ret, struct err *err) {
    struct reader *rd = (struct reader *)base;
    if (bus__inbox_poll(&rd->inbox, max, timeout_ms, on_event, rd, ret, err) != 0) return -1;
    for (size_t i = 0; i < ret->count; i++) advance(rd, ret->msgs[i].partition, ret->msgs[i].offset + 1);
    return 0;
}

static int reader_commit(struct bus_consumer *base, const struct bus_position *positions, size_t count,
                         struct err *err) {
    return err_set(err, ERR_BUS_FATAL, "a reader of %s belongs to no group and cannot commit",
                   ((struct reader *)base)->topic);
}

static int reader_pause(struct bus_consumer *base, const char *topic, bool paused, struct err *err) {
    return err_set(err, ERR_BUS_FATAL, "a reader of %s is not paused but left unpolled",
                   ((struct reader *)base)->topic);
}

static void reader_free(struct bus_consumer *base) {
    struct reader *rd = (struct reader *)base;
    if (rd->inbox.queue) rd_kafka_queue_destroy(rd->inbox.queue);
    bus__client_close(&rd->inbox.client);
    free(rd->topic);
    free(rd->next);
    free(rd->ends);
    free(rd);
}

static const struct bus_consumer_ops reader_ops = {
    .poll = reader_poll, .commit = reader_commit, .pause = reader_pause, .free = reader_free};

bool bus_kafka_reader_caught_up(const struct bus_consumer *con) {
    BUG_ON(con->ops != &reader_ops);
    const struct reader *rd = (const struct reader *)con;
    for (size_t i = 0; i < rd->count; i++)
        if (rd->next[i].offset < rd->ends[i]) return false;
    return true;
}

/* The log's ends, and where reading starts: a number, not "the end", so that whatever is produced once the reader is
 * open is read, however late librdkafka gets round to asking where the end is. */
static int locate(struct reader *rd, int64_t from, struct err *err) {
    int count;
    if (bus__client_partition_count(&rd->inbox.client, rd->topic, &count, err) != 0) return -1;
    rd->count = (size_t)count;
    rd->next = mem_calloc(rd->count, sizeof *rd->next);
    rd->ends = mem_calloc(rd->count, sizeof *rd->ends);
    for (size_t i = 0; i < rd->count; i++) {
        int64_t low;
        if (bus__client_watermarks(&rd->inbox.client, rd->topic, (int32_t)i, &low, &rd->ends[i], err) != 0) return -1;
        rd->next[i] = (struct bus_position){rd->topic, (int32_t)i, from == BUS_OFFSET_BEGINNING ? low : rd->ends[i]};
    }
    return 0;
}

static int assign_all(struct reader *rd, struct err *err) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)rd->count);
    for (size_t i = 0; i < rd->count; i++)
        rd_kafka_topic_partition_list_add(list, rd->topic, (int32_t)i)->offset = rd->next[i].offset;
    rd_kafka_resp_err_t code = rd_kafka_assign(rd->inbox.client.rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return 0;
    return bus__client_fail(&rd->inbox.client, code, err, "assign %s", rd->topic);
}

static void copy_ends(const struct reader *rd, struct bus_position **ret, size_t *ret_count) {
    struct bus_position *ends = mem_calloc(rd->count, sizeof *ends);
    for (size_t i = 0; i < rd->count; i++) ends[i] = (struct bus_position){rd->topic, (int32_t)i, rd->ends[i]};
    *ret = ends;
    *ret_count = rd->count;
}

int bus_kafka_reader(const struct bus_kafka_config *cfg, const char *topic, int64_t from, struct bus_consumer **ret,
                     struct bus_position **ret_ends, size_t *ret_end_count, struct err *err) {
    BUG_ON(from != BUS_OFFSET_BEGINNING && from != BUS_OFFSET_END);
    rd_kafka_conf_t *conf;
    if (bus__conf_new(cfg, &conf, err) != 0) return -1;
    bus__conf_set(conf, "group.id", "penstock-reader"); /* librdkafka wants one; the group is never joined */
    bus__conf_set(conf, "enable.partition.eof", "true");
    struct reader *rd = mem_calloc(1, sizeof *rd);
    rd->base.ops = &reader_ops;
    rd->topic = mem_strdup(topic);
    if (bus__client_open(&rd->inbox.client, RD_KAFKA_CONSUMER, conf, err) != 0) goto fail;
    rd_kafka_poll_set_consumer(rd->inbox.client.rk);
    rd->inbox.queue = rd_kafka_queue_get_consumer(rd->inbox.client.rk);
    if (locate(rd, from, err) != 0 || assign_all(rd, err) != 0) goto fail;
    if (ret_ends) copy_ends(rd, ret_ends, ret_end_count);
    *ret = &rd->base;
    return 0;
fail:
    reader_free(&rd->base);
    return -1;
}
