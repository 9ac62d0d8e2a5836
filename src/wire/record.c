/* A job's record as JSON, for people and programs (`penstock get --json`, GET /jobs/{id}).
 *
 * The hash in Redis has the same members, all as strings; here they have their types. What does not apply is left out,
 * so a reader tells "not started" by the absence of started_at; what always applies is always there, 0 or false
 * included. The documents beside the record are JSON already and are put in as they are. Shape:
 * schemas/job-record.schema.json. */
#include "wire_internal.h"

#include <math.h>
#include <string.h>

static void put_string(struct buf *out, const char *name, const char *s) {
    if (!s || s[0] == '\0') return; /* Redis has no null: an empty field is an absent one */
    buf_puts(out, name);
    wire_json_string(s, strlen(s), out);
}

static void put_int(struct buf *out, const char *name, int64_t value) {
    buf_puts(out, name);
    wire__put_int(out, value);
}

static void put_int_unless_0(struct buf *out, const char *name, int64_t value) {
    if (value != 0) put_int(out, name, value);
}

static void put_doc(struct buf *out, const char *name, const char *doc) {
    if (!doc) return;
    buf_puts(out, name);
    buf_puts(out, doc);
}

static void put_labels(struct buf *out, const struct job_record *rec) {
    for (size_t i = 0; i < rec->label_count; i++) {
        const struct job_label *label = &rec->labels[i];
        buf_puts(out, i == 0 ? ",\"labels\":{" : ",");
        wire_json_string(label->name, strlen(label->name), out);
        wire__put_literal(out, ":");
        wire_json_string(label->value, strlen(label->value), out);
    }
    if (rec->label_count) wire__put_literal(out, "}");
}

static void put_times(struct buf *out, const struct job_record *rec) {
    put_int_unless_0(out, ",\"created_at\":", rec->created_at);
    put_int_unless_0(out, ",\"queued_at\":", rec->queued_at);
    put_int_unless_0(out, ",\"started_at\":", rec->started_at);
    put_int_unless_0(out, ",\"finished_at\":", rec->finished_at);
    put_int_unless_0(out, ",\"updated_at\":", rec->updated_at);
    if (rec->finished_at && rec->started_at) put_int(out, ",\"duration_ms\":", rec->duration_ms);
    put_int_unless_0(out, ",\"not_before\":", rec->not_before);
    put_int_unless_0(out, ",\"timeout_ms\":", rec->timeout_ms);
    put_int_unless_0(out, ",\"queue_timeout_ms\":", rec->queue_timeout_ms);
    put_int_unless_0(out, ",\"backoff_ms\":", rec->backoff_ms);
    put_int_unless_0(out, ",\"backoff_max_ms\":", rec->backoff_max_ms);
    put_int_unless_0(out, ",\"lease_until\":", rec->lease_until);
}

void wire_record_encode(const struct job_record *rec, const char *spec, const char *result, const char *error,
                        struct buf *out) {
    wire__put_literal(out, "{\"job_id\":");
    wire_json_string(rec->job_id, strlen(rec->job_id), out);
    put_string(out, ",\"state\":", job_state_name(rec->state));
    put_int(out, ",\"seq\":", rec->seq);
    put_string(out, ",\"model\":", rec->model);
    put_string(out, ",\"model_version\":", rec->model_version);
    put_string(out, ",\"tenant\":", rec->tenant);
    put_labels(out, rec);
    put_int(out, ",\"priority\":", rec->priority);
    put_int(out, ",\"attempt\":", rec->attempt);
    put_int(out, ",\"max_attempts\":", rec->max_attempts);
    put_int(out, ",\"crashes\":", rec->crashes);
    put_string(out, ",\"token\":", rec->token);
    put_string(out, ",\"worker\":", rec->worker);
    wire__put_literal(out, ",\"progress\":");
    wire__put_double(out, isfinite(rec->progress) ? rec->progress : 0);
    put_string(out, ",\"progress_message\":", rec->progress_message);
    buf_puts(out, rec->cancel_requested ? ",\"cancel_requested\":true" : ",\"cancel_requested\":false");
    put_string(out, ",\"cancel_reason\":", rec->cancel_reason);
    put_times(out, rec);
    put_string(out, ",\"error_code\":", rec->error_code);
    put_string(out, ",\"traceparent\":", rec->traceparent);
    put_doc(out, ",\"spec\":", spec);
    put_doc(out, ",\"result\":", result);
    put_doc(out, ",\"error\":", error);
    buf_append(out, "}", 1);
}
