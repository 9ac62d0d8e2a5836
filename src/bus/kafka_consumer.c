/* A member of a consumer group whose reading positions are decided elsewhere (the store), not by Kafka's committed
 * offsets.
 *
 * librdkafka announces new partitions in a callback from within polling and then waits until the application has called
 * rd_kafka_incremental_assign; heartbeats go on meanwhile. Deciding where to start needs the broker (the log's ends)
 * and the store, and either may be away. So the callback only notes the partitions as pending; the poll settles them
 * outside the callback, and if that fails returns the error and tries again by the next poll. Nothing of a pending
 * partition is read.
 *
 * While an assignment is pending, polls return errors and read nothing, not even of the partitions that were there
 * before: the store is the cause and would refuse those messages too. They still touch librdkafka's queue, with room
 * for no message, because a member that does not poll for max.poll.interval.ms is thrown out of the group.
 *
 * No second rebalance comes before incremental_assign was called (librdkafka defers it): that is why one pending list
 * is enough, and why bus_consumer_free has to settle it, somehow, before closing. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bus_internal.h"
#include "penstock/clock.h"
#include "penstock/mem.h"

#define DISCARD_MAX        256 /* messages a call while leaving */
#define DISCARD_MS         10
#define FIRST_ASSIGNMENT_S 1
#define LEAVE_S            5
#define SEEK_MS            5000 /* up to librdkafka 2.0 a thousandth of it; a seek that takes longer is made again */

struct group_consumer {
    struct bus_consumer base;
    struct bus__inbox inbox;
    struct bus_assign_ops assign;
    rd_kafka_topic_partition_list_t *pending; /* assigned by the group, not yet by us; NULL: nothing */
    char **paused_topics;
    size_t paused_count;
    bool astray;    /* the positions of what is assigned are to be asked for again */
    bool announced; /* an assignment, be it empty, was announced to us at least once */
    bool closing;   /* nothing is read and the user is not asked any more */
    bool is_denied; /* the group or the topic, before anything was announced; librdkafka says it once and tries on */
    struct err denied;
};

/* --- rebalancing -------------------------------------------------------------------------------------------------- */

static struct bus_position *positions_of(const rd_kafka_topic_partition_list_t *list) {
    struct bus_position *positions = mem_calloc((size_t)list->cnt, sizeof *positions);
    for (int i = 0; i < list->cnt; i++)
        positions[i] = (struct bus_position){list->elems[i].topic, list->elems[i].partition, list->elems[i].offset};
    return positions;
}

static void note_failure(struct bus__inbox *inbox, rd_kafka_error_t *error, const char *what) {
    if (!error) return;
    if (!inbox->failed) {
        bus__client_fail(&inbox->client, rd_kafka_error_code(error), &inbox->failure, "%s: %s", what,
                         rd_kafka_error_string(error));
        inbox->failed = true;
    }
    rd_kafka_error_destroy(error);
}

static void revoke(struct group_consumer *con, rd_kafka_topic_partition_list_t *list) {
    if (con->assign.revoked && !con->closing && list->cnt > 0) {
        rd_kafka_position(con->inbox.client.rk, list);
        struct bus_position *positions = positions_of(list);
        con->assign.revoked(con->assign.self, positions, (size_t)list->cnt);
        free(positions);
    }
    note_failure(&con->inbox, rd_kafka_incremental_unassign(con->inbox.client.rk, list), "giving partitions back");
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                         void *opaque) {
    /* The opaque is the client, which is the inbox's first member. */
    struct bus__inbox *inbox = opaque;
    struct group_consumer *con = (struct group_consumer *)((char *)inbox - offsetof(struct group_consumer, inbox));
    BUG_ON(con->pending);
    con->announced |= code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && con->closing) {
        /* Nobody polls any more who could settle this. See leave_group. */
        note_failure(inbox, rd_kafka_incremental_assign(rk, list), "taking partitions");
    } else if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        con->pending = rd_kafka_topic_partition_list_copy(list);
        rd_kafka_queue_yield(inbox->queue); /* ends the wait for a message: the poll settles this first */
    } else if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        revoke(con, list);
    } else {
        rd_kafka_assign(rk, NULL); /* the rebalance failed; the group starts another */
    }
}

static bool is_paused(const struct group_consumer *con, const char *topic) {
    for (size_t i = 0; i < con->paused_count; i++)
        if (strcmp(con->paused_topics[i], topic) == 0) return true;
    return false;
}

/* Pauses or resumes what of `list` belongs to `topic` (NULL: to any paused topic). */
static int set_paused(struct group_consumer *con, const rd_kafka_topic_partition_list_t *list, const char *topic,
                      bool paused, struct err *err) {
    rd_kafka_topic_partition_list_t *some = rd_kafka_topic_partition_list_new(list->cnt);
    for (int i = 0; i < list->cnt; i++) {
        const char *name = list->elems[i].topic;
        if (topic ? strcmp(name, topic) == 0 : is_paused(con, name))
            rd_kafka_topic_partition_list_add(some, name, list->elems[i].partition);
    }
    rd_kafka_t *rk = con->inbox.client.rk;
    rd_kafka_resp_err_t code = paused ? rd_kafka_pause_partitions(rk, some) : rd_kafka_resume_partitions(rk, some);
    rd_kafka_topic_partition_list_destroy(some);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return 0;
    return bus__client_fail(&con->inbox.client, code, err, "%s partitions", paused ? "pausing" : "resuming");
}

/* Asks the user of the consumer where to start reading; writes it into the list. */
static int decide_offsets(struct group_consumer *con, rd_kafka_topic_partition_list_t *list, struct err *err) {
    size_t count = (size_t)list->cnt;
    int64_t *low = mem_calloc(count, sizeof *low), *high = mem_calloc(count, sizeof *high);
    struct bus_position *positions = positions_of(list);
    int rc = -1;
    for (size_t i = 0; i < count; i++) {
        positions[i].offset = BUS_OFFSET_BEGINNING;
        if (bus__client_watermarks(&con->inbox.client, positions[i].topic, positions[i].partition, &low[i], &high[i],
                                   err) != 0)
            goto out;
    }
    if (con->assign.assigned(con->assign.self, positions, low, high, count, err) != 0) goto out;
    for (size_t i = 0; i < count; i++) list->elems[i].offset = positions[i].offset;
    rc = 0;
out:
    free(low);
    free(high);
    free(positions);
    return rc;
}

static void poll_nothing(struct group_consumer *con) {
    rd_kafka_message_t *none;
    rd_kafka_consume_batch_queue(con->inbox.queue, 0, &none, 0); /* counts as polling, takes nothing */
}

/* Moves what is assigned to where the user wants to read on. What librdkafka has fetched from elsewhere it drops, once
 * each seek is known to be done; until then nothing is read. */
static int set_right(struct group_consumer *con, struct err *err) {
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_resp_err_t code = rd_kafka_assignment(con->inbox.client.rk, &list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return bus__client_fail(&con->inbox.client, code, err, "assignment");
    int rc = list->cnt > 0 ? decide_offsets(con, list, err) : 0;
    if (rc == 0 && list->cnt > 0) {
        rd_kafka_error_t *error = rd_kafka_seek_partitions(con->inbox.client.rk, list, SEEK_MS);
        code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
        rd_kafka_error_destroy(error);
        for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++) code = list->elems[i].err;
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) rc = bus__client_fail(&con->inbox.client, code, err, "seek");
    }
    if (rc != 0) poll_nothing(con);
    con->astray = rc != 0;
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

static int settle_pending(struct group_consumer *con, struct err *err) {
    rd_kafka_topic_partition_list_t *list = con->pending;
    if (!list) return 0;
    if (list->cnt > 0 && decide_offsets(con, list, err) != 0) {
        poll_nothing(con);
        return -1;
    }
    con->pending = NULL;
    note_failure(&con->inbox, rd_kafka_incremental_assign(con->inbox.client.rk, list), "taking partitions");
    int rc = set_paused(con, list, NULL, true, err);
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

/* --- the vtable --------------------------------------------------------------------------------------------------- */

static int on_event(void *self, const rd_kafka_message_t *event, struct err *err) {
    struct group_consumer *con = self;
    if (event->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
        return bus__inbox_fail_out_of_range(&con->inbox, event, ERR_COMMANDS_LOST, err);
    bus__client_fail_event(&con->inbox.client, event, err);
    if (err->code == ERR_BUS_DENIED) {
        con->is_denied = true;
        con->denied = *err;
    }
    return -1;
}

/* As long as no assignment comes, what was denied is: an empty batch would say that all is well. */
static int check_denied(const struct group_consumer *con, struct err *err) {
    if (!con->is_denied || con->announced) return 0;
    *err = con->denied;
    return -1;
}

static int group_poll(struct bus_consumer *base, size_t max, int timeout_ms, struct bus_batch *ret, struct err *err) {
    struct group_consumer *con = (struct group_consumer *)base;
    int64_t deadline_ms = clock_mono_ms(&clock_system) + timeout_ms;
    for (;;) {
        if (settle_pending(con, err) != 0 || (con->astray && set_right(con, err) != 0)) return -1;
        int64_t left_ms = deadline_ms - clock_mono_ms(&clock_system);
        if (bus__inbox_poll(&con->inbox, max, left_ms > 0 ? (int)left_ms : 0, on_event, con, ret, err) != 0) return -1;
        if (ret->count > 0) return 0;
        if (left_ms <= 0) return check_denied(con, err);
    }
}

static int group_commit(struct bus_consumer *base, const struct bus_position *positions, size_t count,
                        struct err *err) {
    struct group_consumer *con = (struct group_consumer *)base;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, positions[i].topic, positions[i].partition)->offset =
            positions[i].offset;
    rd_kafka_resp_err_t code = rd_kafka_commit(con->inbox.client.rk, list, /* async */ 1);
    rd_kafka_topic_partition_list_destroy(list);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return 0;
    return bus__client_fail(&con->inbox.client, code, err, "commit");
}

static void remember_paused(struct group_consumer *con, const char *topic, bool paused) {
    for (size_t i = 0; i < con->paused_count; i++) {
        if (strcmp(con->paused_topics[i], topic) != 0) continue;
        if (paused) return;
        free(con->paused_topics[i]);
        con->paused_topics[i] = con->paused_topics[--con->paused_count];
        return;
    }
    if (!paused) return;
    con->paused_topics = mem_realloc(con->paused_topics, (con->paused_count + 1) * sizeof *con->paused_topics);
    con->paused_topics[con->paused_count++] = mem_strdup(topic);
}

static int group_pause(struct bus_consumer *base, const char *topic, bool paused, struct err *err) {
    struct group_consumer *con = (struct group_consumer *)base;
    remember_paused(con, topic, paused);
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_resp_err_t code = rd_kafka_assignment(con->inbox.client.rk, &list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return bus__client_fail(&con->inbox.client, code, err, "assignment");
    int rc = set_paused(con, list, topic, paused, err);
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

static void group_ask_again(struct bus_consumer *base) { ((struct group_consumer *)base)->astray = true; }

static ssize_t discard_messages(struct group_consumer *con, int timeout_ms) {
    rd_kafka_message_t *unread[DISCARD_MAX];
    ssize_t count = rd_kafka_consume_batch_queue(con->inbox.queue, timeout_ms, unread, DISCARD_MAX);
    for (ssize_t i = 0; i < count; i++) rd_kafka_message_destroy(unread[i]);
    return count;
}

/* Answers what stands in the queue until the first assignment was announced. */
static void wait_announced(struct group_consumer *con) {
    while (!con->announced) discard_messages(con, DISCARD_MS);
}

/* librdkafka closes only after every assignment that it announced was answered, and does not count an answer that is
 * given within rd_kafka_consumer_close: it would wait for ever. So the subscription is given up first, which waits for
 * librdkafka's thread: nothing is announced after that. Then what was announced before, and stands in the queue behind
 * messages, is answered. */
static void leave_group(struct group_consumer *con) {
    rd_kafka_unsubscribe(con->inbox.client.rk);
    while (discard_messages(con, 0) > 0) {
    }
    rd_kafka_queue_destroy(con->inbox.queue);
    rd_kafka_consumer_close(con->inbox.client.rk);
}

static void release(struct group_consumer *con) {
    bus__client_close(&con->inbox.client);
    for (size_t i = 0; i < con->paused_count; i++) free(con->paused_topics[i]);
    free(con->paused_topics);
    free(con);
}

static void *leave(void *arg) {
    struct group_consumer *con = arg;
    wait_announced(con);
    leave_group(con);
    release(con);
    return NULL;
}

/* librdkafka 2.0 asserts when a member goes between joining and its first assignment (its issue 4312, mended in 2.3), so that
 * assignment is waited for, which may take long: if the group waits for the session of a dead member to end, or the
 * broker is away. And it never finishes destroying a member whose topic was denied and granted again meanwhile. So a
 * thread leaves, and the caller waits for it, but not for ever. A process that ends meanwhile takes the thread along, and
 * the broker forgets the member by its session timeout. */
static void group_free(struct bus_consumer *base) {
    struct group_consumer *con = (struct group_consumer *)base;
    con->closing = true;
    if (con->pending) {
        note_failure(&con->inbox, rd_kafka_incremental_assign(con->inbox.client.rk, con->pending), "taking partitions");
        rd_kafka_topic_partition_list_destroy(con->pending);
        con->pending = NULL;
    }
    if (!con->inbox.queue) {
        release(con);
        return;
    }
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += con->announced ? LEAVE_S : FIRST_ASSIGNMENT_S;
    pthread_t thread;
    BUG_ON(pthread_create(&thread, NULL, leave, con) != 0);
    if (pthread_timedjoin_np(thread, NULL, &deadline) != 0) pthread_detach(thread);
}

static const struct bus_consumer_ops group_ops = {
    .poll = group_poll, .commit = group_commit, .pause = group_pause, .ask_again = group_ask_again, .free = group_free};

static int subscribe(struct group_consumer *con, const char *const *topics, size_t count, struct err *err) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) rd_kafka_topic_partition_list_add(list, topics[i], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(con->inbox.client.rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return 0;
    return bus__client_fail(&con->inbox.client, code, err, "subscribe");
}

int bus_kafka_group_consumer(const struct bus_kafka_config *cfg, const char *group, const char *group_instance_id,
                             const char *const *topics, size_t topic_count, const struct bus_assign_ops *assign,
                             struct bus_consumer **ret, struct err *err) {
    rd_kafka_conf_t *conf;
    if (bus__conf_new(cfg, &conf, err) != 0) return -1;
    bus__conf_set(conf, "group.id", group);
    if (group_instance_id) bus__conf_set(conf, "group.instance.id", group_instance_id);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    struct group_consumer *con = mem_calloc(1, sizeof *con);
    con->base.ops = &group_ops;
    con->assign = *assign;
    if (bus__client_open(&con->inbox.client, RD_KAFKA_CONSUMER, conf, err) != 0) goto fail;
    rd_kafka_poll_set_consumer(con->inbox.client.rk); /* errors come out of the one queue that we poll */
    con->inbox.queue = rd_kafka_queue_get_consumer(con->inbox.client.rk);
    if (subscribe(con, topics, topic_count, err) != 0) goto fail;
    *ret = &con->base;
    return 0;
fail:
    con->announced = true; /* it never joined: there is nothing to wait for */
    group_free(&con->base);
    return -1;
}
