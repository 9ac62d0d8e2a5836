/* Commands into the store.
 *
 * Problem: Kafka hands out a command at least once, members of the group come and go, and any step may fail half-way;
 * yet each accepted command must become one job, and none may be skipped. Design: truth about "how far" is not Kafka's
 * committed offset but the offset in the store, which ingest.lua advances in the same step in which the jobs are
 * written. On assignment we seek to it. A member that lost a partition and still stores its last batch does no harm:
 * the script knows those offsets already, whoever was first. Kafka's own commit follows later and only feeds lag
 * metrics. A Redis that was restarted may lack its end; the first call after that is fenced, and then we seek again.
 * A poll that brought nothing asks for the epoch instead: what is to be read again may be all that there is to read.
 * What breaks if changed: a seek to the committed offset, or none at all, skips commands after a Redis that lost its
 * last second; moving on past a batch that failed loses it. */
#include "penstock/ingest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/log.h"
#include "penstock/store_policy.h"
#include "penstock/wire.h"

#define ROLE           "ingest"
#define LOOK_MS        100                       /* between looks at the queues: so long may one grow over its limit */
#define CALL_MAX_BYTES ((size_t)4 * 1024 * 1024) /* of command bytes in one script call */

struct ingest {
    struct ingest_config cfg;
    struct store *st;
    struct bus_consumer *consumer;
    struct bus_assign_ops assign;
    struct arena arena;     /* of the batch in hand */
    struct bus_batch batch; /* the batch in hand; its bytes are borrowed by items */
    struct store_item *items;
    size_t item_count, stored; /* items[0 .. stored) are in the store */
    int64_t look_at;           /* when the queues are looked at next, by the clock ... */
    int64_t room;              /* ... or as soon as so many more jobs are stored: then the fullest queue may be full */
    struct ingest_stats stats;
};

/* --- one command -------------------------------------------------------------------------------------------------- */

static void item_reject(struct ingest *ing, struct store_item *item, const struct err *reason) {
    struct buf envelope = {0};
    wire_error_encode(reason->code, reason->msg, err_code_retryable(reason->code), &envelope);
    item->kind = STORE_ITEM_REJECT;
    item->code = reason->code;
    item->error = arena_strndup(&ing->arena, envelope.data, envelope.len);
    item->error_len = envelope.len;
    buf_done(&envelope);
}

/* False: there is no such model. */
static bool model_says(const struct ingest *ing, const char *model, const char *version, struct model_policy *ret) {
    *ret = (struct model_policy){0};
    return !ing->cfg.model || ing->cfg.model(ing->cfg.self, model, version, ret);
}

/* How many jobs of a model may wait. */
static int64_t queue_limit(const struct ingest *ing, const struct model_policy *policy) {
    int64_t limit = policy && policy->max_queued ? policy->max_queued : ing->cfg.max_queued;
    return limit ? limit : INT64_MAX;
}

/* The first that was said: by the command, the model, the configuration; not over the model's cap, or else the
 * configuration's. 0 is not said. */
static int64_t decide(int64_t asked, int64_t model, int64_t configured, int64_t model_cap, int64_t configured_cap) {
    int64_t value = asked ? asked : model ? model : configured, cap = model_cap ? model_cap : configured_cap;
    return cap && value > cap ? cap : value;
}

static void item_create(struct ingest *ing, struct store_item *item, const struct job_command *cmd,
                        const struct model_policy *policy) {
    const struct ingest_config *cfg = &ing->cfg;
    int64_t limit = queue_limit(ing, policy);
    if (limit < ing->room) ing->room = limit; /* of a model whose queue was empty when we looked */
    item->kind = STORE_ITEM_CREATE;
    item->model = cmd->model;
    item->model_version = cmd->model_version;
    item->priority = cmd->priority;
    item->max_attempts = (int)decide(cmd->max_attempts, policy->max_attempts, cfg->max_attempts, 0, 0);
    item->timeout_ms =
        decide(cmd->timeout_ms, policy->timeout_ms, cfg->timeout_ms, policy->timeout_max_ms, cfg->timeout_max_ms);
    item->queue_timeout_ms = decide(cmd->queue_timeout_ms, policy->queue_timeout_ms, cfg->queue_timeout_ms,
                                    policy->queue_timeout_max_ms, cfg->queue_timeout_max_ms);
    item->not_before = cmd->not_before;
    item->backoff_ms = cmd->backoff_ms;
    item->backoff_max_ms = cmd->backoff_max_ms;
    item->signature = cmd->signature;
    item->labels = cmd->labels;
    item->label_count = cmd->label_count;
    item->spec = cmd->spec;
    item->spec_len = cmd->spec_len;
}

static enum store_mode mode_of(enum wire_command_type type) {
    return type == WIRE_COMMAND_PAUSE   ? STORE_MODE_PAUSED
           : type == WIRE_COMMAND_DRAIN ? STORE_MODE_DRAINING
                                        : STORE_MODE_OPEN;
}

static void item_decode(struct ingest *ing, const struct bus_msg *msg, struct store_item *item) {
    struct wire_header *headers = arena_alloc(&ing->arena, (msg->header_count + 1) * sizeof *headers);
    for (size_t i = 0; i < msg->header_count; i++)
        headers[i] = (struct wire_header){msg->headers[i].name, msg->headers[i].value, msg->headers[i].value_len};
    struct wire_message in = {msg->key, msg->key_len, msg->value, msg->value_len, headers, msg->header_count};
    struct job_command cmd;
    struct err err;

    *item = (struct store_item){
        .source = {msg->topic, msg->partition, msg->offset},
        .key = msg->key,
        .key_len = msg->key_len,
        .raw = msg->value,
        .raw_len = msg->value_len < WIRE_MAX_VALUE_BYTES ? msg->value_len : WIRE_MAX_VALUE_BYTES,
        .raw_size = msg->value_len,
    };
    if (wire_command_decode(&in, &ing->arena, &cmd, &item->job_id, &err) != 0) {
        item_reject(ing, item, &err);
        return;
    }
    item->job_id = cmd.job_id;
    item->traceparent = cmd.traceparent;
    item->reason = cmd.reason;
    struct model_policy policy = {0};
    bool known = !cmd.model || model_says(ing, cmd.model, cmd.model_version, &policy);
    if (cmd.type == WIRE_COMMAND_CANCEL) {
        item->kind = STORE_ITEM_CANCEL;
    } else if (!known) {
        err_set(&err, ERR_UNKNOWN_MODEL, "model: there is no \"%s\"%s%s in the model repository", cmd.model,
                cmd.model_version ? " version " : "", cmd.model_version ? cmd.model_version : "");
        item_reject(ing, item, &err);
    } else if (cmd.type == WIRE_COMMAND_CREATE) {
        item_create(ing, item, &cmd, &policy);
    } else {
        item->kind = STORE_ITEM_MODE;
        item->model = cmd.model;
        item->mode = mode_of(cmd.type);
    }
}

/* --- a batch ------------------------------------------------------------------------------------------------------ */

static void drop_batch(struct ingest *ing) {
    bus_batch_release(&ing->batch);
    arena_reset(&ing->arena);
    ing->items = NULL;
    ing->item_count = ing->stored = 0;
}

static int take_batch(struct ingest *ing, struct err *err) {
    size_t most = ing->cfg.batch;
    if (ing->cfg.pausable_topic && ing->room > 0 && ing->room < (int64_t)most) most = (size_t)ing->room;
    if (bus_poll(ing->consumer, most, ing->cfg.wait_ms, &ing->batch, err) != 0) return -1;
    ing->items = arena_alloc(&ing->arena, (ing->batch.count + 1) * sizeof *ing->items);
    for (size_t i = 0; i < ing->batch.count; i++) item_decode(ing, &ing->batch.msgs[i], &ing->items[i]);
    ing->item_count = ing->batch.count;
    return 0;
}

static void count_verdict(struct ingest_stats *stats, enum store_verdict verdict) {
    switch (verdict) {
    case STORE_ACCEPTED:
        stats->accepted++;
        break;
    case STORE_DUPLICATE:
        stats->duplicate++;
        break;
    case STORE_REJECTED:
        stats->rejected++;
        break;
    case STORE_NOTED:
        stats->noted++;
        break;
    }
}

/* Stores the rest of the batch in calls of bounded size. What was stored stays stored if a later call fails. */
static int store_batch(struct ingest *ing, struct err *err) {
    while (ing->stored < ing->item_count) {
        size_t end = ing->stored, bytes = 0;
        do bytes += ing->items[end].raw_len + ing->items[end].spec_len;
        while (++end < ing->item_count && bytes < CALL_MAX_BYTES);
        if (store_ingest(ing->st, ing->items + ing->stored, end - ing->stored, err) != 0) return -1;
        for (; ing->stored < end; ing->stored++) {
            const struct store_item *item = &ing->items[ing->stored];
            count_verdict(&ing->stats, item->verdict);
            ing->room -= item->kind == STORE_ITEM_CREATE && item->verdict == STORE_ACCEPTED;
        }
    }
    return 0;
}

/* Tells Kafka how far we are: the last offset of each topic-partition in the batch. For lag metrics, so a failure is
 * only worth a line. */
static void commit_batch(struct ingest *ing) {
    struct bus_position *positions = arena_alloc(&ing->arena, (ing->item_count + 1) * sizeof *positions);
    size_t count = 0;
    for (size_t i = 0; i < ing->item_count; i++) {
        const struct job_source *source = &ing->items[i].source;
        size_t p = 0;
        while (p < count &&
               (positions[p].partition != source->partition || strcmp(positions[p].topic, source->topic) != 0))
            p++;
        if (p == count) count++;
        positions[p] = (struct bus_position){source->topic, source->partition, source->offset + 1};
    }
    struct err err;
    if (bus_commit(ing->consumer, positions, count, &err) != 0) log_err(ROLE, &err);
}

/* --- back-pressure ------------------------------------------------------------------------------------------------ */

static int set_paused(struct ingest *ing, bool paused, struct err *err) {
    if (bus_pause(ing->consumer, ing->cfg.pausable_topic, paused, err) != 0) return -1;
    ing->stats.paused = paused;
    return 0;
}

/* Kafka keeps what does not fit, and only the topic of creates waits for it: cancels come by another. */
static int look_at_queues(struct ingest *ing, struct err *err) {
    struct store_backlog backlog;
    struct store_depth fullest = {.model = ""};
    int64_t fullest_limit;
    bool ebbed = true;
    if (store_backlog_get(ing->st, &ing->arena, &backlog, err) != 0) return -1;
    ing->room = fullest_limit = queue_limit(ing, NULL);
    for (size_t i = 0; i < backlog.count; i++) {
        const char *model = backlog.models[i].model;
        struct model_policy policy;
        int64_t limit = queue_limit(ing, model_says(ing, model, NULL, &policy) ? &policy : NULL);
        int64_t room = limit - backlog.models[i].queued;
        ebbed &= room > limit / 5;
        if (room >= ing->room) continue;
        ing->room = room;
        fullest = backlog.models[i];
        fullest_limit = limit;
    }
    if (!ing->stats.paused && (backlog.draining || ing->room <= 0)) {
        if (set_paused(ing, true, err) != 0) return -1;
        if (backlog.draining)
            log_info(ROLE, "%s is paused: everything drains", ing->cfg.pausable_topic);
        else
            log_warn(ROLE, "%s is paused: %" PRId64 " jobs of %s are queued, the limit is %" PRId64,
                     ing->cfg.pausable_topic, fullest.queued, fullest.model, fullest_limit);
    } else if (ing->stats.paused && !backlog.draining && ebbed) {
        if (set_paused(ing, false, err) != 0) return -1;
        log_info(ROLE, "%s goes on", ing->cfg.pausable_topic);
    }
    return 0;
}

static int keep_pressure(struct ingest *ing, struct err *err) {
    if (!ing->cfg.pausable_topic) return 0;
    if (clock_mono_ms(ing->cfg.clock) < ing->look_at && (ing->stats.paused || ing->room > 0)) return 0;
    int rc = look_at_queues(ing, err);
    arena_reset(&ing->arena);
    if (rc == 0) ing->look_at = clock_mono_ms(ing->cfg.clock) + LOOK_MS;
    return rc;
}

/* --- the step ----------------------------------------------------------------------------------------------------- */

/* The store was restarted and may have forgotten commands that were read before: storing those in hand would move its
 * offset over them. It says where it is. */
static void go_back(struct ingest *ing) {
    drop_batch(ing);
    bus_ask_again(ing->consumer);
}

int ingest_step(void *self, struct err *err) {
    struct ingest *ing = self;
    if (ing->item_count == 0 && (keep_pressure(ing, err) != 0 || take_batch(ing, err) != 0)) return -1;
    bool idle = ing->item_count == 0;
    if (idle) drop_batch(ing);
    if ((idle ? store_check_epoch(ing->st, err) : store_batch(ing, err)) != 0) {
        if (err->code == ERR_STORE_FENCED) go_back(ing);
        return -1;
    }
    if (idle) return 0;
    commit_batch(ing);
    int done = (int)ing->item_count;
    drop_batch(ing);
    return done;
}

/* --- assignment --------------------------------------------------------------------------------------------------- */

/* Commands that were never read are gone from Kafka. That is for a person to decide, with the exact range; never
 * skipped in silence. Who goes on leaves a rejected event of it, written in the step that moves the offset over the
 * gap. */
static int handle_lost(struct ingest *ing, struct bus_position *pos, int64_t stored, int64_t low, struct err *err) {
    struct err lost;
    err_set(&lost, ERR_COMMANDS_LOST,
            "%s[%" PRId32 "]: the commands at offsets %" PRId64 " to %" PRId64
            " were deleted by Kafka's retention before they were read",
            pos->topic, pos->partition, stored, low - 1);
    if (!ing->cfg.accept_lost) {
        *err = lost;
        return -1;
    }
    log_error(ROLE, "going on without lost commands, as told: %s", lost.msg);
    struct buf envelope = {0};
    wire_error_encode(lost.code, lost.msg, false, &envelope);
    struct store_item item = {
        .kind = STORE_ITEM_REJECT,
        .source = {pos->topic, pos->partition, low - 1},
        .code = lost.code,
        .error = envelope.data,
        .error_len = envelope.len,
    };
    int rc = store_ingest(ing->st, &item, 1, err);
    buf_done(&envelope);
    if (rc == 0) pos->offset = low;
    return rc;
}

static int assigned(void *self, struct bus_position *positions, const int64_t *low, const int64_t *high, size_t count,
                    struct err *err) {
    struct ingest *ing = self;
    for (size_t i = 0; i < count; i++) {
        struct bus_position *pos = &positions[i];
        int64_t stored;
        if (store_ingest_offset(ing->st, pos->topic, pos->partition, &stored, err) != 0) return -1;
        pos->offset = stored >= 0 ? stored : low[i];
        if (stored >= 0 && stored < low[i] && handle_lost(ing, pos, stored, low[i], err) != 0) return -1;
        if (stored > high[i])
            return err_set(err, ERR_COMMANDS_LOST,
                           "%s[%" PRId32 "]: the store is at offset %" PRId64 " but the log ends at %" PRId64
                           ": the topic was deleted or truncated",
                           pos->topic, pos->partition, stored, high[i]);
        log_info(ROLE, "assigned %s[%" PRId32 "] from offset %" PRId64 " of %" PRId64, pos->topic, pos->partition,
                 pos->offset, high[i]);
    }
    return 0;
}

static void revoked(void *self, const struct bus_position *positions, size_t count) {
    (void)self;
    for (size_t i = 0; i < count; i++)
        log_info(ROLE, "revoked %s[%" PRId32 "]", positions[i].topic, positions[i].partition);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct ingest *ingest_new(const struct ingest_config *cfg, struct store *st) {
    struct ingest *ing = mem_calloc(1, sizeof *ing);
    ing->cfg = *cfg;
    ing->st = st;
    ing->assign = (struct bus_assign_ops){.self = ing, .assigned = assigned, .revoked = revoked};
    arena_init(&ing->arena);
    return ing;
}

void ingest_free(struct ingest *ing) {
    if (!ing) return;
    drop_batch(ing);
    arena_done(&ing->arena);
    free(ing);
}

const struct bus_assign_ops *ingest_assign_ops(struct ingest *ing) { return &ing->assign; }
void ingest_use_consumer(struct ingest *ing, struct bus_consumer *consumer) { ing->consumer = consumer; }
struct ingest_stats ingest_stats_get(const struct ingest *ing) {
    return ing->stats;
}
