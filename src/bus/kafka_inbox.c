/* From librdkafka's queue to a bus_batch, without copying a message.
 *
 * Messages are taken one a call, first with the caller's patience, then for GATHER_MS. Never several in one call: in
 * each rebalance librdkafka pauses what a member keeps, remembers where the application stands, and drops the older
 * messages of the call that is under way. Up to 2.0 those count as handed over by then, so reading goes on behind them:
 * they are lost, without a word (its pull request 4208 mends that). What was returned cannot be dropped any more.
 *
 * A batch owns its rd_kafka_message_t; bus_msg and the headers point into them and stand in the batch's arena. Messages
 * must be gone before the handle that they came from.
 *
 * Errors travel in the same queue. One that arrives behind messages must not swallow them, librdkafka will not give
 * them again: the messages are returned, and the error is kept for the next poll. A FATAL one stays: its partition
 * stands still. */
#include <inttypes.h>
#include <stdlib.h>

#include "bus_internal.h"
#include "penstock/clock.h"
#include "penstock/mem.h"

/* Long enough for the fetcher to hand over what one more fetch brought, short beside a command's way of some 10 ms. */
#define GATHER_MS        2
#define PROBE_TIMEOUT_MS 1000 /* asking whether a broker is back, while all are away */

struct batch {
    struct arena arena;
    size_t raw_count;
    rd_kafka_message_t *raw[];
};

static void release(struct bus_batch *ret) {
    struct batch *batch = ret->opaque;
    for (size_t i = 0; i < batch->raw_count; i++) rd_kafka_message_destroy(batch->raw[i]);
    arena_done(&batch->arena);
    free(batch);
}

static void copy_headers(struct arena *arena, const rd_kafka_message_t *raw, struct bus_msg *msg) {
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(raw, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
    size_t count = rd_kafka_header_cnt(headers);
    struct bus_header *copy = arena_alloc(arena, count * sizeof *copy);
    for (size_t i = 0; i < count; i++) {
        const void *value;
        if (rd_kafka_header_get_all(headers, i, &copy[i].name, &value, &copy[i].value_len) !=
            RD_KAFKA_RESP_ERR_NO_ERROR)
            break;
        copy[i].value = value;
        msg->header_count = i + 1;
    }
    msg->headers = copy;
}

static void fill(struct arena *arena, const rd_kafka_message_t *raw, struct bus_msg *msg) {
    *msg = (struct bus_msg){
        .topic = rd_kafka_topic_name(raw->rkt),
        .partition = raw->partition,
        .offset = raw->offset,
        .timestamp_ms = rd_kafka_message_timestamp(raw, NULL),
        .key = raw->key,
        .key_len = raw->key_len,
        .value = raw->payload,
        .value_len = raw->len,
    };
    copy_headers(arena, raw, msg);
}

static bool take(rd_kafka_queue_t *queue, int64_t timeout_ms, rd_kafka_message_t **ret) {
    return rd_kafka_consume_batch_queue(queue, timeout_ms > 0 ? (int)timeout_ms : 0, ret, 1) == 1;
}

static size_t take_all(rd_kafka_queue_t *queue, int timeout_ms, rd_kafka_message_t **raw, size_t max) {
    if (!take(queue, timeout_ms, &raw[0])) return 0;
    size_t count = 1;
    int64_t deadline_ms = clock_mono_ms(&clock_system) + GATHER_MS;
    while (count < max && take(queue, deadline_ms - clock_mono_ms(&clock_system), &raw[count])) count++;
    return count;
}

/* Waits for a first message, then a moment for more. Returns how many messages stand in `msgs` (in the batch's arena).
 */
static size_t gather(struct bus__inbox *inbox, struct batch *batch, size_t max, int timeout_ms, bus__event_fn *on_event,
                     void *self, struct bus_msg **ret_msgs) {
    batch->raw_count = take_all(inbox->queue, timeout_ms, batch->raw, max);
    struct bus_msg *msgs = arena_alloc(&batch->arena, batch->raw_count * sizeof *msgs);
    size_t count = 0;
    for (size_t i = 0; i < batch->raw_count; i++) {
        struct err failure;
        if (batch->raw[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            fill(&batch->arena, batch->raw[i], &msgs[count++]);
        } else if (on_event(self, batch->raw[i], &failure) != 0 && !inbox->failed) {
            inbox->failed = true;
            inbox->failure = failure;
        }
    }
    *ret_msgs = msgs;
    return count;
}

int bus__inbox_poll(struct bus__inbox *inbox, size_t max, int timeout_ms, bus__event_fn *on_event, void *self,
                    struct bus_batch *ret, struct err *err) {
    struct bus_batch found = {.release = release};
    if (!inbox->failed) {
        struct batch *batch = mem_alloc(sizeof *batch + max * sizeof batch->raw[0]);
        arena_init(&batch->arena);
        found.opaque = batch;
        found.count = gather(inbox, batch, max, timeout_ms, on_event, self, &found.msgs);
        if (found.count > 0) {
            *ret = found;
            return 0;
        }
        bus_batch_release(&found);
    }
    if (inbox->failed) {
        *err = inbox->failure;
        inbox->failed = inbox->failure.class == ERR_CLASS_FATAL;
        return -1;
    }
    if (bus__client_check_fatal(&inbox->client, err) != 0) return -1;
    if (bus__client_check_reachable(&inbox->client, PROBE_TIMEOUT_MS, err) != 0) return -1;
    *ret = (struct bus_batch){0};
    return 0;
}

int bus__inbox_fail_out_of_range(struct bus__inbox *inbox, const rd_kafka_message_t *event, enum err_code code,
                                 struct err *err) {
    const char *topic = rd_kafka_topic_name(event->rkt);
    int64_t low, high;
    if (bus__client_watermarks(&inbox->client, topic, event->partition, &low, &high, err) != 0)
        return err_set(err, code, "kafka %s[%d]: offset %" PRId64 " is not in the log any more", topic,
                       (int)event->partition, event->offset);
    if (event->offset > high)
        return err_set(err, code,
                       "kafka %s[%d]: the next offset to read is %" PRId64 ", but the log ends at %" PRId64
                       ": the topic was made anew or lost its tail",
                       topic, (int)event->partition, event->offset, high);
    return err_set(err, code,
                   "kafka %s[%d]: offsets %" PRId64 " to %" PRId64 " (%" PRId64
                   ") were deleted unread; the log starts at %" PRId64,
                   topic, (int)event->partition, event->offset, low - 1, low - event->offset, low);
}
