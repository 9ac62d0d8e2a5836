/* err: what went wrong, in a form that a person can act on and a role loop can obey.
 *
 * Hides: nothing; a `struct err` lives on the caller's stack and is written once, where the error arises, with a complete
 * message. Its class decides, in the role loop and nowhere else, what happens next; its code is public vocabulary: the
 * same word stands in the job record, the event, the dead letter, the HTTP answer and the command line's output.
 *
 *     struct err err;
 *     if (store_claim(st, &want, arena, &batch, &err) != 0) {
 *         if (err.class == ERR_CLASS_RETRY) back_off();
 *         log_err("worker", &err);
 *     }
 */
#ifndef PENSTOCK_ERR_H
#define PENSTOCK_ERR_H

#include <stdbool.h>
#include <stddef.h>

#define MUSTCHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* What the role loop does with an error. */
enum err_class {
    ERR_CLASS_RETRY,  /* back off, acknowledge nothing, try again */
    ERR_CLASS_REJECT, /* this one command (or job) is refused; go on with the next */
    ERR_CLASS_FATAL,  /* drain and exit non-zero */
};

/* The table of every public error: symbol, word on the wire, class, may the producer retry, HTTP status, hint.
 * docs/protocol.md prints it; a test compares the two. Append; never renumber or rename. */
#define ERR_TABLE(X)                                                                                                                         \
    X(ERR_MALFORMED_JSON, "malformed_json", REJECT, false, 400, "send one JSON object in UTF-8 without duplicate members")                   \
    X(ERR_TOO_LARGE, "too_large", REJECT, false, 413, "a command is at most 1 MiB: upload big inputs and name them by uri")                  \
    X(ERR_TOO_DEEP, "too_deep", REJECT, false, 400, "nest at most 32 levels")                                                                \
    X(ERR_STRING_TOO_LONG, "string_too_long", REJECT, false, 400, "a string is at most 256 KiB")                                             \
    X(ERR_UNKNOWN_TYPE, "unknown_type", REJECT, false, 400, "type is create, cancel, pause, resume or drain")                                \
    X(ERR_UNKNOWN_MEMBER, "unknown_member", REJECT, false, 400, "remove the member, or put it under \"parameters\"")                         \
    X(ERR_MISSING_MEMBER, "missing_member", REJECT, false, 400, "add the member; schemas/job-command.schema.json lists them")                \
    X(ERR_INVALID_MEMBER, "invalid_member", REJECT, false, 400, "see the member's type and range in job-command.schema.json")                \
    X(ERR_INVALID_JOB_ID, "invalid_job_id", REJECT, false, 400, "use 1 to 128 of the characters A-Z a-z 0-9 . _ : -")                        \
    X(ERR_KEY_MISMATCH, "key_mismatch", REJECT, false, 400, "the Kafka key must be the job_id (of a mode: the model), or absent")            \
    X(ERR_INVALID_CLOUDEVENT, "invalid_cloudevent", REJECT, false, 400, "send CloudEvents 1.0, structured or binary, as JSON")               \
    X(ERR_TOO_MANY_INPUTS, "too_many_inputs", REJECT, false, 400, "a job has at most 64 inputs")                                             \
    X(ERR_INVALID_TENSOR, "invalid_tensor", REJECT, false, 400, "the number of elements must be the product of the shape")                   \
    X(ERR_UNSUPPORTED_DATATYPE, "unsupported_datatype", REJECT, false, 400, "use an Open Inference Protocol v2 datatype")                    \
    X(ERR_UNKNOWN_MODEL, "unknown_model", REJECT, false, 404, "`penstock models` lists the models and versions")                             \
    X(ERR_JOB_CONFLICT, "job_conflict", REJECT, false, 409, "this job_id was used for another job: choose a new one")                        \
    X(ERR_INVALID_TRANSITION, "invalid_transition", REJECT, false, 409, "docs/protocol.md has the table of transitions")                     \
    X(ERR_TOO_LATE, "too_late", REJECT, false, 409, "the job had already ended; its record tells how")                                       \
    X(ERR_INVALID_INPUT, "invalid_input", REJECT, false, 400, "`penstock models` shows the names, shapes and types it takes")                \
    X(ERR_RESULT_TOO_LARGE, "result_too_large", REJECT, false, 500, "ask for fewer outputs, or raise worker.max_result_bytes")               \
    X(ERR_MODEL_LOAD_FAILED, "model_load_failed", REJECT, false, 500, "the worker's log and `penstock models` say why")                      \
    X(ERR_EXECUTION_FAILED, "execution_failed", REJECT, true, 500, "the executor's message says why")                                        \
    X(ERR_OUT_OF_MEMORY, "out_of_memory", REJECT, true, 503, "lower max_batch_size or give the worker more memory")                          \
    X(ERR_TIMEOUT, "timeout", REJECT, false, 504, "raise timeout_ms, or give the model more workers")                                        \
    X(ERR_QUEUE_TIMEOUT, "queue_timeout", REJECT, true, 504, "no worker was free in time: add workers or raise the timeout")                 \
    X(ERR_WORKER_LOST, "worker_lost", REJECT, false, 500, "its workers died: the job may be what kills them")                                \
    X(ERR_CANCELLED, "cancelled", REJECT, false, 409, "the job was cancelled on request")                                                    \
    X(ERR_LEASE_LOST, "lease_lost", REJECT, true, 500, "another worker has the job now; this result is discarded")                           \
    X(ERR_NOT_FOUND, "not_found", REJECT, false, 404, "check the id; records are kept for the retention time only")                          \
    X(ERR_USAGE, "usage", FATAL, false, 400, "see --help")                                                                                   \
    X(ERR_CONFIG, "invalid_config", FATAL, false, 500, "`penstock config` explains every setting")                                           \
    X(ERR_STORE_UNAVAILABLE, "store_unavailable", RETRY, true, 503, "is Redis running at store.url?")                                        \
    X(ERR_STORE_FENCED, "store_fenced", RETRY, true, 503, "Redis was restarted or recovered; the process attaches again")                    \
    X(ERR_STORE_UNFIT, "store_unfit", FATAL, false, 500, "docs/operations.md lists the Redis settings that are required")                    \
    X(ERR_STORE_CORRUPT, "store_corrupt", FATAL, false, 500, "`penstock verify` compares Redis with the event log")                          \
    X(ERR_BUS_UNAVAILABLE, "bus_unavailable", RETRY, true, 503, "is Kafka at kafka.bootstrap.servers, with this security.protocol?")         \
    X(ERR_BUS_FATAL, "bus_fatal", FATAL, false, 503, "the Kafka client must be started afresh")                                              \
    X(ERR_COMMANDS_LOST, "commands_lost", FATAL, false, 500, "retention deleted unread commands; --accept-lost-commands goes on")            \
    X(ERR_UNSUPPORTED_MODEL, "unsupported_model", REJECT, false, 501, "the message names the node and operator")                             \
    X(ERR_NO_DEVICE, "no_device", FATAL, false, 500, "set worker.executor to onnx-cpu, or install a GPU and driver")                         \
    X(ERR_SYSTEM, "system", FATAL, false, 500, "the message carries the operating system's reason")                                          \
    X(ERR_DRAINING, "draining", REJECT, true, 503, "the model takes no new jobs until it is resumed: send it again then")                    \
    X(ERR_TIMED_OUT_WAITING, "wait_timeout", RETRY, true, 504, "the job goes on; wait again or read its record")                             \
    X(ERR_DRIVER_UNFIT, "driver_unfit", FATAL, false, 500, "install the NVIDIA driver that the message asks for")                            \
    X(ERR_DEVICE_LOST, "device_lost", REJECT, true, 503, "the worker is started afresh; if it lasts, nvidia-smi and dmesg")                  \
    X(ERR_UNAUTHORIZED, "unauthorized", REJECT, false, 401, "send a header Authorization: Bearer with a token of the server")                \
    X(ERR_FORBIDDEN, "forbidden", REJECT, false, 403, "the message says what the request may not do")                                        \
    X(ERR_METHOD_NOT_ALLOWED, "method_not_allowed", REJECT, false, 405, "the Allow header lists the methods; /schemas/openapi.yaml has all") \
    X(ERR_UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", REJECT, false, 415, "send the Content-Type that /schemas/openapi.yaml names")    \
    X(ERR_RANGE_NOT_SATISFIABLE, "range_not_satisfiable", REJECT, false, 416, "Content-Range has the size of the file")                      \
    X(ERR_REQUEST_TIMEOUT, "request_timeout", RETRY, true, 408, "send the request faster, in one go")                                        \
    X(ERR_QUEUE_FULL, "queue_full", RETRY, true, 429, "so many jobs of this model wait already: send it again later")                        \
    X(ERR_OVERLOADED, "overloaded", RETRY, true, 503, "the server is busy or about to stop: send it again")                                  \
    X(ERR_BUS_DENIED, "bus_denied", RETRY, true, 503, "grant the Kafka user the right, or correct its password: docs/operations.md")

#define X(symbol, word, class, retryable, status, hint) symbol,
enum err_code { ERR_NONE = 0, ERR_TABLE(X) ERR_CODE_COUNT };
#undef X

struct err {
    enum err_class class;
    enum err_code code;
    char msg[512]; /* complete at its origin: "redis EVALSHA ingest: connection reset by peer" */
};

/* Writes `err` with the class that the table gives `code`. Returns -1, so that a failing function can end in
 * `return err_set(err, ...)`. `err` may be NULL where the caller does not care. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As err_set, and appends ": " and strerror(errno). */
int err_set_errno(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "<context>: " before the message that is there. Returns -1. */
int err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

const char *err_code_name(enum err_code code);    /* the word on the wire; "none" for ERR_NONE */
int err_code_status(enum err_code code);            /* of the HTTP answer */
const char *err_code_hint(enum err_code code);    /* one sentence: what to do about it */
bool err_code_retryable(enum err_code code);      /* may the same command succeed if sent again? */
enum err_code err_code_from_name(const char *name); /* ERR_NONE if unknown */

/* For broken invariants: our own mistakes, never for bad input. Kept in release builds; aborts with the place. */
#define BUG_ON(cond) ((cond) ? err_bug(#cond, __FILE__, __LINE__) : (void)0)
void err_bug(const char *cond, const char *file, int line) __attribute__((noreturn, cold));

#endif
