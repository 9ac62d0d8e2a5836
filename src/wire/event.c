/* Events: transitions as CloudEvents 1.0 in Kafka's binary mode, and back.
 *
 * Encoding is on the path of every transition of every job, so the value is written directly, without a tree; the
 * document that comes with an event (spec, result, error envelope) is JSON that Penstock wrote itself and is put in as
 * it is.
 *
 * Decoding serves those who rebuild records from the log. It must restore every member that encoding wrote, byte for
 * byte where it is a document (they are all canonical, see json_write.c): fold(events) == record rests on it. It lets
 * members pass that it does not know, so that an older release can read a newer one's log.
 *
 * An event stands for itself: what is needed to fold it is in the value, traceparent too, and the headers repeat only
 * what routers and filters look at. The bytes of a rejected command are not in the event; the dead letter has them. */
#include "wire_internal.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/clock.h"

#define RFC3339_BYTES  25
#define TEXT_MAX_CHARS ((size_t)1024 * 1024) /* of any string of an event; documents are bounded by the limits */

/* --- encoding: the value ------------------------------------------------------------------------------------------ */

/* `prefix` is the member's name as it stands in the text: ",\"worker\":". */
static void put_string(struct buf *out, const char *prefix, const char *s) {
    if (!s) return;
    buf_puts(out, prefix);
    wire_json_string(s, strlen(s), out);
}

static void put_int(struct buf *out, const char *prefix, int64_t value) {
    buf_puts(out, prefix);
    wire__put_int(out, value);
}

static void put_int_unless_0(struct buf *out, const char *prefix, int64_t value) {
    if (value != 0) put_int(out, prefix, value);
}

static void put_source(struct buf *out, const struct job_source *source) {
    if (!source->topic) return;
    put_string(out, ",\"source\":{\"topic\":", source->topic);
    put_int(out, ",\"partition\":", source->partition);
    put_int(out, ",\"offset\":", source->offset);
    buf_append(out, "}", 1);
}

/* The member that holds an event's document. */
static const char *doc_name(enum job_state to) {
    switch (to) {
    case JOB_STATE_COMPLETED:
        return "result";
    case JOB_STATE_FAILED:
    case JOB_STATE_REJECTED:
        return "error";
    default:
        return "spec";
    }
}

static void put_doc(struct buf *out, const struct job_event *ev) {
    if (!ev->doc) return;
    wire__put_literal(out, ",\"");
    buf_puts(out, doc_name(ev->to));
    wire__put_literal(out, "\":");
    buf_append(out, ev->doc, ev->doc_len);
}

static void put_value(struct buf *out, const struct job_event *ev) {
    bool is_rejected = ev->to == JOB_STATE_REJECTED;
    put_int(out, "{\"at\":", ev->at);
    put_string(out, ",\"to\":", job_state_name(ev->to));
    if (ev->from == JOB_STATE_NONE)
        wire__put_literal(out, ",\"from\":null");
    else
        put_string(out, ",\"from\":", job_state_name(ev->from));
    put_string(out, ",\"job_id\":", ev->job_id);
    if (!is_rejected) {
        put_int(out, ",\"seq\":", ev->seq);
        put_int(out, ",\"attempt\":", ev->attempt);
        put_int(out, ",\"crashes\":", ev->crashes);
    }
    if (ev->max_attempts) { /* what the command asked for: told once, with the job's creation */
        put_int(out, ",\"max_attempts\":", ev->max_attempts);
        put_int(out, ",\"priority\":", ev->priority);
    }
    put_string(out, ",\"model\":", ev->model);
    put_string(out, ",\"model_version\":", ev->model_version);
    put_string(out, ",\"worker\":", ev->worker);
    put_string(out, ",\"token\":", ev->token);
    put_string(out, ",\"reason\":", ev->reason);
    put_string(out, ",\"traceparent\":", ev->traceparent);
    put_int_unless_0(out, ",\"not_before\":", ev->not_before);
    put_int_unless_0(out, ",\"timeout_ms\":", ev->timeout_ms);
    put_int_unless_0(out, ",\"queue_timeout_ms\":", ev->queue_timeout_ms);
    if (isfinite(ev->progress) && ev->progress != 0) {
        wire__put_literal(out, ",\"progress\":");
        wire__put_double(out, ev->progress);
    }
    put_source(out, &ev->source);
    put_doc(out, ev);
    buf_append(out, "}", 1);
}

/* --- encoding: the headers ---------------------------------------------------------------------------------------- */

static void add_header(struct wire_event_out *ret, const char *name, const char *value, size_t len) {
    BUG_ON(ret->header_count >= sizeof ret->headers / sizeof ret->headers[0]);
    ret->headers[ret->header_count++] = (struct wire_header){name, value, len};
}

static void add_string_header(struct wire_event_out *ret, const char *name, const char *value) {
    if (value) add_header(ret, name, value, strlen(value));
}

/* Header values are gathered in one scratch buffer, behind one another, and copied into the arena together. */
static void add_scratch_header(struct wire_event_out *ret, const char *name, const struct buf *scratch, size_t start) {
    add_header(ret, name, NULL, scratch->len - start);
}

static void add_headers(const struct job_event *ev, const char *source, struct arena *arena, struct buf *scratch,
                        struct wire_event_out *ret) {
    buf_reset(scratch);
    size_t start = 0;
    bool is_rejected = ev->to == JOB_STATE_REJECTED;
    if (is_rejected) {
        buf_puts(scratch, ev->source.topic ? ev->source.topic : "");
        put_int(scratch, "/", ev->source.partition);
        put_int(scratch, "/", ev->source.offset);
        wire__put_literal(scratch, ":rejected");
    } else {
        buf_puts(scratch, ev->job_id);
        put_int(scratch, ":", ev->seq);
    }
    add_scratch_header(ret, "ce_id", scratch, start);
    start = scratch->len;
    wire__put_literal(scratch, "penstock.job.");
    buf_puts(scratch, job_state_name(ev->to));
    add_scratch_header(ret, "ce_type", scratch, start);
    start = scratch->len;
    char time[RFC3339_BYTES];
    clock_format_rfc3339(ev->at, time);
    buf_puts(scratch, time);
    add_scratch_header(ret, "ce_time", scratch, start);
    if (!is_rejected) {
        start = scratch->len;
        wire__put_int(scratch, ev->seq);
        add_scratch_header(ret, "ce_sequence", scratch, start);
    }
    const char *text = arena_strndup(arena, scratch->data, scratch->len);
    for (size_t i = 0; i < ret->header_count; i++) {
        ret->headers[i].value = text;
        text += ret->headers[i].value_len;
    }
    add_string_header(ret, "ce_specversion", "1.0");
    add_string_header(ret, "ce_source", source);
    add_string_header(ret, "ce_subject", ev->job_id);
    add_string_header(ret, "content-type", "application/json");
    add_string_header(ret, "traceparent", ev->traceparent);
}

void wire_event_encode(const struct job_event *ev, const char *source, struct arena *arena,
                       struct wire_event_out *ret) {
    BUG_ON(ev->to == JOB_STATE_NONE || (ev->to != JOB_STATE_REJECTED && !ev->job_id));
    *ret = (struct wire_event_out){0};
    struct buf scratch = {.data = mem_alloc(1024 + ev->doc_len),
                          .cap = 1024 + ev->doc_len}; /* most events: no growing */
    put_value(&scratch, ev);
    ret->value = arena_strndup(arena, scratch.data, scratch.len);
    ret->value_len = scratch.len;
    add_headers(ev, source, arena, &scratch, ret);
    buf_done(&scratch);
}

/* --- decoding ----------------------------------------------------------------------------------------------------- */

static int decode_state(const json_t *root, const char *name, int *ret, struct err *err) {
    const json_t *json = json_object_get(root, name);
    if (!json) return err_set(err, ERR_MISSING_MEMBER, "%s: missing", name);
    int state = JOB_STATE_NONE;
    if (json_is_string(json)) state = job_state_from_name(json_string_value(json), json_string_length(json));
    if ((!json_is_null(json) && !json_is_string(json)) || state < 0)
        return err_set(err, ERR_INVALID_MEMBER, "%s: not a state", name);
    *ret = state;
    return 0;
}

static int decode_states(const json_t *root, struct job_event *ev, struct err *err) {
    int from, to;
    if (decode_state(root, "from", &from, err) != 0 || decode_state(root, "to", &to, err) != 0) return -1;
    if (from == JOB_STATE_REJECTED || to == JOB_STATE_NONE)
        return err_set(err, ERR_INVALID_MEMBER, "from, to: no event leads from %s to %s",
                       job_state_name((enum job_state)from), job_state_name((enum job_state)to));
    ev->from = (enum job_state)from;
    ev->to = (enum job_state)to;
    return 0;
}

static int decode_strings(const json_t *root, struct arena *arena, struct job_event *ev, struct err *err) {
    const struct {
        const char *name;
        const char **value;
    } strings[] = {
        {"job_id", &ev->job_id},           {"model", &ev->model}, {"model_version", &ev->model_version},
        {"worker", &ev->worker},           {"token", &ev->token}, {"reason", &ev->reason},
        {"traceparent", &ev->traceparent},
    };
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        if (wire__get_string(root, strings[i].name, TEXT_MAX_CHARS, arena, strings[i].value, err) != 0) return -1;
    if (ev->to != JOB_STATE_REJECTED && !ev->job_id) return err_set(err, ERR_MISSING_MEMBER, "job_id: missing");
    if (ev->job_id && !job_id_is_valid(ev->job_id, strlen(ev->job_id)))
        return err_set(err, ERR_INVALID_JOB_ID, "job_id: \"%.160s\"", ev->job_id);
    return 0;
}

static int decode_numbers(const json_t *root, struct job_event *ev, struct err *err) {
    const struct {
        const char *name;
        int *value;
    } small[] = {{"attempt", &ev->attempt},
                 {"max_attempts", &ev->max_attempts},
                 {"crashes", &ev->crashes},
                 {"priority", &ev->priority}};
    const struct {
        const char *name;
        int64_t *value;
    } large[] = {{"at", &ev->at},
                 {"seq", &ev->seq},
                 {"not_before", &ev->not_before},
                 {"timeout_ms", &ev->timeout_ms},
                 {"queue_timeout_ms", &ev->queue_timeout_ms}};
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++) {
        int64_t value = 0;
        if (wire__get_int(root, small[i].name, INT_MIN, INT_MAX, &value, err) != 0) return -1;
        *small[i].value = (int)value;
    }
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
        if (wire__get_int(root, large[i].name, INT64_MIN, INT64_MAX, large[i].value, err) != 0) return -1;
    if (!json_object_get(root, "at")) return err_set(err, ERR_MISSING_MEMBER, "at: missing");
    if (ev->to != JOB_STATE_REJECTED && ev->seq < 1) return err_set(err, ERR_INVALID_MEMBER, "seq: missing or below 1");
    const json_t *progress = json_object_get(root, "progress");
    if (progress && !json_is_number(progress))
        return err_set(err, ERR_INVALID_MEMBER, "progress: %s, not a number", wire__json_kind(progress));
    ev->progress = json_number_value(progress);
    return 0;
}

static int decode_source(const json_t *root, struct arena *arena, struct job_event *ev, struct err *err) {
    const json_t *source = json_object_get(root, "source");
    if (!source) return 0;
    int64_t partition = -1, offset = -1;
    if (!json_is_object(source))
        return err_set(err, ERR_INVALID_MEMBER, "source: %s, not an object", wire__json_kind(source));
    if (wire__get_string(source, "topic", TEXT_MAX_CHARS, arena, &ev->source.topic, err) != 0 ||
        wire__get_int(source, "partition", INT32_MIN, INT32_MAX, &partition, err) != 0 ||
        wire__get_int(source, "offset", INT64_MIN, INT64_MAX, &offset, err) != 0)
        return err_wrap(err, "source");
    if (!ev->source.topic || !json_object_get(source, "partition") || !json_object_get(source, "offset"))
        return err_set(err, ERR_MISSING_MEMBER, "source: topic, partition or offset is missing");
    ev->source.partition = (int32_t)partition;
    ev->source.offset = offset;
    return 0;
}

static int decode_doc(const json_t *root, struct arena *arena, struct job_event *ev, struct err *err) {
    const char *name = doc_name(ev->to);
    const json_t *doc = json_object_get(root, name);
    if (!doc) return 0;
    if (!json_is_object(doc))
        return err_set(err, ERR_INVALID_MEMBER, "%s: %s, not an object", name, wire__json_kind(doc));
    struct buf text = {0};
    wire__put_json(&text, doc);
    ev->doc = arena_strndup(arena, text.data, text.len);
    ev->doc_len = text.len;
    buf_done(&text);
    return 0;
}

int wire_event_decode(const char *value, size_t len, struct arena *arena, struct job_event *ret, struct err *err) {
    json_t *root = wire__json_load(value, len, &wire__limits_document, err);
    if (!root) return -1;
    struct job_event ev = {0};
    int rc = -1;
    if (decode_states(root, &ev, err) == 0 && decode_strings(root, arena, &ev, err) == 0 &&
        decode_numbers(root, &ev, err) == 0 && decode_source(root, arena, &ev, err) == 0 &&
        decode_doc(root, arena, &ev, err) == 0) {
        *ret = ev;
        rc = 0;
    }
    json_decref(root);
    return rc;
}
