/* wire: JSON and CloudEvents to structs and back. The only user of jansson; schemas/ is the source of truth.
 *
 * Decoders are total: any bytes give a value or an error with a code of the table, never a crash, within the limits
 * below. Everything decoded is allocated from the caller's arena and borrowed from it.
 *
 *     struct job_command cmd;
 *     if (wire_command_decode(&in, arena, &cmd, &err) != 0) reject(&err);
 */
#ifndef PENSTOCK_WIRE_H
#define PENSTOCK_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "penstock/executor.h"
#include "penstock/job.h"
#include "penstock/mem.h"
#include "penstock/tensor.h"

#define WIRE_MAX_VALUE_BYTES  (1024 * 1024)
#define WIRE_MAX_DEPTH        32
#define WIRE_MAX_STRING_BYTES (256 * 1024)
#define WIRE_MAX_INPUTS       64
#define WIRE_MAX_PARAMS       64
#define WIRE_MAX_LABELS       16

struct wire_header {
    const char *name;
    const char *value;
    size_t value_len;
};

/* The bytes of one command as Kafka or HTTP brought them. */
struct wire_message {
    const char *key; /* NULL: none */
    size_t key_len;
    const char *value;
    size_t value_len;
    const struct wire_header *headers;
    size_t header_count;
};

enum wire_command_type {
    WIRE_COMMAND_CREATE,
    WIRE_COMMAND_CANCEL,
    WIRE_COMMAND_PAUSE, /* of a model, or of everything: no job_id */
    WIRE_COMMAND_RESUME,
    WIRE_COMMAND_DRAIN
};

/* A decoded command. What the producer left out is 0 or NULL, except where the schema gives a default (priority). */
struct job_command {
    enum wire_command_type type;
    const char *job_id;
    const char *traceparent; /* from the header or the CloudEvents extension; NULL if absent or malformed */
    /* create */
    const char *model, *model_version; /* version NULL = latest */
    int priority;
    int max_attempts;                     /* 0 = the configured default */
    int64_t timeout_ms, queue_timeout_ms; /* 0 = the configured default */
    int64_t not_before;                   /* ms since the epoch; 0 = now */
    int64_t backoff_ms, backoff_max_ms;   /* 0 = the model's or the configured default */
    struct job_label *labels;
    size_t label_count;
    const char *signature; /* 16 hex digits: equal if model_version and every input's name, datatype and shape are */
    const char *spec; /* canonical JSON of the whole create command: members sorted, no white space. The same job */
    size_t spec_len;  /* sent again, in whatever envelope or layout, has the same spec. */
    /* cancel, pause, resume, drain. The last three have in `model` which model, or NULL for everything. */
    const char *reason;
};

/* Decodes plain JSON, or CloudEvents in structured (content-type application/cloudevents+json) or binary (ce_* headers)
 * mode. Checks everything that the schema says, and that each tensor's data fits its shape and datatype. On error,
 * *ret_job_id (if not NULL) is the job_id when it could be read and is valid, else NULL: so that the rejected event can
 * name it. */
int wire_command_decode(const struct wire_message *in, struct arena *arena, struct job_command *ret,
                        const char **ret_job_id, struct err *err) MUSTCHECK;

/* What a worker needs of a spec. */
struct wire_request {
    struct tensor *inputs; /* decoded data; an input that has a uri has data NULL and its uri in uris[i] */
    const char **uris;
    size_t input_count;
    struct executor_param *params;
    size_t param_count;
};
int wire_spec_decode(const char *spec, size_t len, struct arena *arena, struct wire_request *ret,
                     struct err *err) MUSTCHECK;

/* An output that lies in a file: the document then has "uri", "bytes" and "sha256" in place of "data". */
struct wire_artifact {
    const char *uri; /* NULL: it does not */
    size_t size_bytes;
    const char *sha256;
};

/* Result document: {"model_name","model_version","outputs":[{"data","datatype","name","shape"}]}; artifacts NULL: none.
 * BOOL as true/false; NaN and infinities, which JSON does not have, as the strings "NaN", "Infinity", "-Infinity";
 * UINT64 beyond INT64_MAX as a decimal string (the schema says so). Canonical, as is the error envelope: what went
 * through the event log is the same bytes. */
void wire_result_encode(const char *model, const char *version, const struct tensor *outputs,
                        const struct wire_artifact *artifacts, size_t count, struct buf *out);

/* The error envelope {"code","hint","message","retryable"}; hint by code. Bytes of `message` that are not UTF-8 become
 * U+FFFD. */
void wire_error_encode(enum err_code code, const char *message, bool retryable, struct buf *out);

/* The message of an error envelope ("" if there is none). */
const char *wire_error_message(const char *envelope, size_t len, struct arena *arena);

/* An event as CloudEvents 1.0 in Kafka binary mode: the value, and the ce_* headers (arena). `source` is the ce_source.
 */
struct wire_event_out {
    const char *value;
    size_t value_len;
    struct wire_header headers[16];
    size_t header_count;
};
void wire_event_encode(const struct job_event *ev, const char *source, struct arena *arena, struct wire_event_out *ret);
int wire_event_decode(const char *value, size_t len, struct arena *arena, struct job_event *ret,
                      struct err *err) MUSTCHECK;

/* For `penstock submit` and POST /jobs: the canonical JSON of a command. `model` and
 * `reason` may be NULL. */
void wire_command_encode_cancel(const char *job_id, const char *reason, struct buf *out);
void wire_command_encode_mode(enum wire_command_type type, const char *model, const char *reason, struct buf *out);

/* One of a command's "inputs", with its elements or the uri that names them. */
void wire_input_encode(const struct tensor *tensor, const char *uri, struct buf *out);
/* A record with its result and error documents (NULL: none), as `penstock get --json` and GET /jobs/{id} show it; one
 * line. */
void wire_record_encode(const struct job_record *rec, const char *spec, const char *result, const char *error,
                        struct buf *out);

/* A minimal JSON writer for the edges (CLI, HTTP): escapes a string with its quotes. */
void wire_json_string(const char *s, size_t len, struct buf *out);

/* Sets or replaces top-level members of a JSON object (for `penstock submit --model m --job-id i FILE`). `members` are
 * name/JSON-text pairs. ERR_MALFORMED_JSON if `json` is no object. */
struct wire_member {
    const char *name, *json;
};
int wire_object_merge(const char *json, size_t len, const struct wire_member *members, size_t count, struct buf *out,
                      struct err *err) MUSTCHECK;
/* The same for members that are absent; those that are there stay. */
int wire_object_defaults(const char *json, size_t len, const struct wire_member *members, size_t count, struct buf *out,
                         struct err *err) MUSTCHECK;

#endif
