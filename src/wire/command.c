/* Commands: what a producer asks for, checked completely at the place where it enters.
 *
 * After wire_command_decode nothing downstream looks at a command's form again: ingest stores the spec, a worker
 * decodes it. So everything that job-command.schema.json says is checked here, and so is what a schema cannot say (a
 * tensor's elements against its shape, the Kafka key, calendar dates). tests/vectors runs the same messages through
 * this file and through the schema and compares the verdicts: whoever changes one changes the other.
 *
 * Order of checks: bounds, JSON, envelope, type, job_id, key, members. The job_id comes early so that the rejected
 * event of a command that is wrong further on can name it.
 *
 * The spec is the canonical text (json_write.c) of the create command with type and job_id filled in. It is what "the
 * same command again" is decided by, and it is bounded by WIRE_MAX_VALUE_BYTES like the command itself: a canonical
 * text can be longer than what came (1e15 is written out), and the event that carries it must still fit into a Kafka
 * message. */
#include "wire_internal.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/clock.h"
#include "penstock/fnv.h"

#define REASON_MAX_CHARS   256
#define VERSION_MAX_DIGITS 20
#define LABEL_MAX_CHARS    63
#define TIME_MAX_CHARS     64

static const char *const type_names[] = {[WIRE_COMMAND_CREATE] = "create",
                                         [WIRE_COMMAND_CANCEL] = "cancel",
                                         [WIRE_COMMAND_PAUSE] = "pause",
                                         [WIRE_COMMAND_RESUME] = "resume",
                                         [WIRE_COMMAND_DRAIN] = "drain"};
#define COMMAND_TYPES (sizeof type_names / sizeof type_names[0])

/* --- identity ----------------------------------------------------------------------------------------------------- */

static bool text_is_job_id(struct wire__text text) { return text.s && job_id_is_valid(text.s, text.len); }

static struct wire__text string_text(const json_t *json) {
    return (struct wire__text){json_string_value(json), json_string_length(json)};
}

/* The job_id of a command that could not be read to its end, from wherever it stands. */
static struct wire__text find_job_id(const struct wire_message *in, const json_t *root) {
    const json_t *data = json_object_get(root, "data");
    struct wire__text places[] = {
        string_text(json_object_get(root, "job_id")),
        string_text(json_object_get(data, "job_id")),
        json_object_get(root, "specversion") ? string_text(json_object_get(root, "subject")) : (struct wire__text){0},
        wire__header_find(in, "ce_subject"),
    };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (text_is_job_id(places[i])) return places[i];
    return (struct wire__text){0};
}

/* Of a model or of everything: it names no job, and its subject and key are the model. */
static bool is_mode(enum wire_command_type type) { return type != WIRE_COMMAND_CREATE && type != WIRE_COMMAND_CANCEL; }

static int decode_type(struct wire__envelope *env, enum wire_command_type *ret, struct err *err) {
    const json_t *json = json_object_get(env->body, "type");
    const char *type = json ? json_string_value(json) : env->type;
    if (!json && !type) return err_set(err, ERR_MISSING_MEMBER, "type: missing");
    if (!type) return err_set(err, ERR_UNKNOWN_TYPE, "type: %s, not a string", wire__json_kind(json));
    bool whole = !json || strlen(type) == json_string_length(json);
    size_t t = 0;
    while (t < COMMAND_TYPES && !(whole && strcmp(type, type_names[t]) == 0)) t++;
    if (t == COMMAND_TYPES) return err_set(err, ERR_UNKNOWN_TYPE, "type: \"%.100s\"", type);
    if (env->type && strcmp(env->type, type) != 0)
        return err_set(err, ERR_INVALID_CLOUDEVENT,
                       "type: the command says \"%s\", its CloudEvents type is that of \"%s\"", type, env->type);
    *ret = (enum wire_command_type)t;
    return 0;
}

static int decode_job_id(const struct wire_message *in, const struct wire__envelope *env, struct arena *arena,
                         const char **ret, struct err *err) {
    const json_t *json = json_object_get(env->body, "job_id");
    struct wire__text id = json ? string_text(json) : env->subject;
    if (!json && !id.s) return err_set(err, ERR_MISSING_MEMBER, "job_id: missing");
    if (!id.s) return err_set(err, ERR_INVALID_JOB_ID, "job_id: %s, not a string", wire__json_kind(json));
    int shown = (int)(id.len < 160 ? id.len : 160);
    if (!text_is_job_id(id))
        return err_set(err, ERR_INVALID_JOB_ID, "job_id: \"%.*s\" (%zu bytes)", shown, id.s, id.len);
    if (env->subject.s && (env->subject.len != id.len || memcmp(env->subject.s, id.s, id.len) != 0))
        return err_set(err, ERR_INVALID_CLOUDEVENT, "subject: \"%.*s\" is not the job_id \"%.*s\"",
                       (int)(env->subject.len < 160 ? env->subject.len : 160), env->subject.s, shown, id.s);
    if (in->key && in->key_len > 0 && (in->key_len != id.len || memcmp(in->key, id.s, id.len) != 0))
        return err_set(err, ERR_KEY_MISMATCH, "key: \"%.*s\" is not the job_id \"%.*s\"",
                       (int)(in->key_len < 160 ? in->key_len : 160), in->key, shown, id.s);
    *ret = arena_strndup(arena, id.s, id.len);
    return 0;
}

/* W3C Trace Context, version 00. A malformed one is no reason to refuse work: the trace starts afresh, as the standard
 * says. */
static const char *decode_traceparent(struct wire__text text, struct arena *arena) {
    static const char form[] = "00-tttttttttttttttttttttttttttttttt-pppppppppppppppp-ff";
    if (!text.s || text.len != sizeof form - 1) return NULL;
    bool trace_set = false, parent_set = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.s[i];
        bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (form[i] == '0' || form[i] == '-' ? c != form[i] : !is_hex) return NULL;
        trace_set |= form[i] == 't' && c != '0';
        parent_set |= form[i] == 'p' && c != '0';
    }
    return trace_set && parent_set ? arena_strndup(arena, text.s, text.len) : NULL;
}

/* --- create ------------------------------------------------------------------------------------------------------- */

static int decode_model_name(const json_t *body, struct arena *arena, struct job_command *cmd, struct err *err) {
    const json_t *model = json_object_get(body, "model");
    if (!model) return 0;
    if (!json_is_string(model))
        return err_set(err, ERR_INVALID_MEMBER, "model: %s, not a string", wire__json_kind(model));
    if (!job_model_is_valid(json_string_value(model), json_string_length(model)))
        return err_set(err, ERR_INVALID_MEMBER,
                       "model: \"%.100s\" is not 1 to %d of A-Z a-z 0-9 . _ -, the first no dot",
                       json_string_value(model), JOB_MODEL_MAX);
    cmd->model = arena_strndup(arena, json_string_value(model), json_string_length(model));
    return 0;
}

static int decode_model(const json_t *body, struct arena *arena, struct job_command *cmd, struct err *err) {
    if (decode_model_name(body, arena, cmd, err) != 0) return -1;
    if (!cmd->model) return err_set(err, ERR_MISSING_MEMBER, "model: missing");
    if (wire__get_string(body, "model_version", VERSION_MAX_DIGITS, arena, &cmd->model_version, err) != 0) return -1;
    const char *version = cmd->model_version;
    if (version && (version[0] < '1' || version[0] > '9' || version[strspn(version, "0123456789")] != '\0'))
        return err_set(err, ERR_INVALID_MEMBER, "model_version: \"%s\" is not a positive integer in a string", version);
    return 0;
}

static int decode_numbers(const json_t *body, struct arena *arena, struct job_command *cmd, struct err *err) {
    int64_t priority = JOB_PRIORITY_DEFAULT, max_attempts = 0;
    const char *not_before = NULL;
    if (wire__get_int(body, "priority", 0, JOB_PRIORITY_MAX, &priority, err) != 0 ||
        wire__get_int(body, "max_attempts", 1, WIRE__ATTEMPTS_MAX, &max_attempts, err) != 0 ||
        wire__get_int(body, "timeout_ms", 1, WIRE__TIMEOUT_MAX_MS, &cmd->timeout_ms, err) != 0 ||
        wire__get_int(body, "queue_timeout_ms", 1, WIRE__TIMEOUT_MAX_MS, &cmd->queue_timeout_ms, err) != 0 ||
        wire__get_int(body, "backoff_ms", 1, WIRE__BACKOFF_MAX_MS, &cmd->backoff_ms, err) != 0 ||
        wire__get_int(body, "backoff_max_ms", 1, WIRE__BACKOFF_MAX_MS, &cmd->backoff_max_ms, err) != 0 ||
        wire__get_string(body, "not_before", TIME_MAX_CHARS, arena, &not_before, err) != 0)
        return -1;
    cmd->priority = (int)priority;
    cmd->max_attempts = (int)max_attempts;
    if (not_before && clock_parse_rfc3339(not_before, &cmd->not_before) != 0)
        return err_set(err, ERR_INVALID_MEMBER, "not_before: \"%s\" is not RFC 3339", not_before);
    return 0;
}

/* Kubernetes' rule for label values; empty is allowed for a value. */
static bool label_text_is_valid(const char *s, size_t len) {
    if (len == 0) return true;
    if (len > LABEL_MAX_CHARS) return false;
    for (size_t i = 0; i < len; i++) {
        bool alnum = isascii((unsigned char)s[i]) && isalnum((unsigned char)s[i]);
        bool inner = i > 0 && i + 1 < len && (s[i] == '-' || s[i] == '_' || s[i] == '.');
        if (!alnum && !inner) return false;
    }
    return true;
}

static int decode_labels(const json_t *body, struct arena *arena, struct job_command *cmd, struct err *err) {
    json_t *labels = json_object_get(body, "labels");
    if (!labels) return 0;
    if (!json_is_object(labels))
        return err_set(err, ERR_INVALID_MEMBER, "labels: %s, not an object", wire__json_kind(labels));
    size_t count = json_object_size(labels);
    if (count > WIRE_MAX_LABELS)
        return err_set(err, ERR_INVALID_MEMBER, "labels: %zu, more than %d", count, WIRE_MAX_LABELS);
    cmd->labels = arena_alloc(arena, count * sizeof *cmd->labels);
    for (void *iter = json_object_iter(labels); iter; iter = json_object_iter_next(labels, iter)) {
        const char *name = json_object_iter_key(iter);
        const json_t *value = json_object_iter_value(iter);
        if (name[0] == '\0' || !label_text_is_valid(name, strlen(name)))
            return err_set(err, ERR_INVALID_MEMBER, "labels: the name \"%.100s\" is not as Kubernetes has it", name);
        if (!json_is_string(value))
            return err_set(err, ERR_INVALID_MEMBER, "labels/%s: %s, not a string", name, wire__json_kind(value));
        if (!label_text_is_valid(json_string_value(value), json_string_length(value)))
            return err_set(err, ERR_INVALID_MEMBER, "labels/%s: \"%.100s\" is not as Kubernetes has it", name,
                           json_string_value(value));
        cmd->labels[cmd->label_count++] = (struct job_label){
            arena_strdup(arena, name), arena_strndup(arena, json_string_value(value), json_string_length(value))};
    }
    return 0;
}

static int check_params(const json_t *body, struct err *err) {
    json_t *params = json_object_get(body, "parameters");
    if (!params) return 0;
    if (!json_is_object(params))
        return err_set(err, ERR_INVALID_MEMBER, "parameters: %s, not an object", wire__json_kind(params));
    size_t count = json_object_size(params);
    if (count > WIRE_MAX_PARAMS)
        return err_set(err, ERR_INVALID_MEMBER, "parameters: %zu, more than %d", count, WIRE_MAX_PARAMS);
    for (void *iter = json_object_iter(params); iter; iter = json_object_iter_next(params, iter)) {
        const char *name = json_object_iter_key(iter);
        const json_t *value = json_object_iter_value(iter);
        if (json_is_string(value) && strlen(json_string_value(value)) != json_string_length(value))
            return err_set(err, ERR_INVALID_MEMBER, "parameters/%.100s: contains a NUL character", name);
        if (!json_is_string(value) && !json_is_number(value) && !json_is_boolean(value))
            return err_set(err, ERR_INVALID_MEMBER, "parameters/%.100s: %s, not a string, number or boolean", name,
                           wire__json_kind(value));
    }
    return 0;
}

/* What must be equal for jobs to share a batch. */
static void make_signature(const struct wire__tensor *tensors, size_t count, struct arena *arena,
                           struct job_command *cmd) {
    uint64_t hash = FNV1A;
    if (cmd->model_version) hash = fnv1a(hash, cmd->model_version, strlen(cmd->model_version) + 1);
    for (size_t i = 0; i < count; i++) {
        const struct wire__tensor *tensor = &tensors[i];
        hash = fnv1a(hash, tensor->name, strlen(tensor->name) + 1);
        hash = fnv1a(hash, &tensor->datatype, sizeof tensor->datatype);
        hash = fnv1a(hash, &tensor->rank, sizeof tensor->rank);
        hash = fnv1a(hash, tensor->shape, (size_t)tensor->rank * sizeof tensor->shape[0]);
    }
    cmd->signature = arena_printf(arena, "%016" PRIx64, hash);
}

static int check_inputs(const json_t *body, struct arena *arena, struct job_command *cmd, struct err *err) {
    const json_t *inputs = json_object_get(body, "inputs");
    if (inputs && !json_is_array(inputs))
        return err_set(err, ERR_INVALID_MEMBER, "inputs: %s, not an array", wire__json_kind(inputs));
    size_t count = json_array_size(inputs);
    if (count > WIRE_MAX_INPUTS)
        return err_set(err, ERR_TOO_MANY_INPUTS, "inputs: %zu, more than %d", count, WIRE_MAX_INPUTS);
    struct wire__tensor tensors[WIRE_MAX_INPUTS];
    for (size_t i = 0; i < count; i++) {
        size_t bytes;
        if (wire__tensor_read(json_array_get(inputs, i), i, &tensors[i], err) != 0) return -1;
        for (size_t k = 0; k < i; k++)
            if (strcmp(tensors[k].name, tensors[i].name) == 0)
                return err_set(err, ERR_INVALID_TENSOR, "inputs/%zu/name: \"%.100s\" is the name of inputs/%zu", i,
                               tensors[i].name, k);
        if (tensors[i].data && wire__tensor_check(&tensors[i], i, &bytes, err) != 0) return -1;
    }
    make_signature(tensors, count, arena, cmd);
    return 0;
}

/* The canonical text, with what the envelope carried put into its place. */
static int make_spec(json_t *body, struct arena *arena, struct job_command *cmd, struct err *err) {
    if (!json_object_get(body, "type")) json_object_set_new(body, "type", json_string("create"));
    if (!json_object_get(body, "job_id")) json_object_set_new(body, "job_id", json_string(cmd->job_id));
    struct buf spec = {0};
    wire__put_json(&spec, body);
    int rc = 0;
    if (spec.len > WIRE_MAX_VALUE_BYTES) {
        rc = err_set(err, ERR_TOO_LARGE, "the command has %zu bytes with its numbers written out, more than %d",
                     spec.len, WIRE_MAX_VALUE_BYTES);
    } else {
        cmd->spec = arena_strndup(arena, spec.data, spec.len);
        cmd->spec_len = spec.len;
    }
    buf_done(&spec);
    return rc;
}

static int decode_create(json_t *body, struct arena *arena, struct job_command *cmd, struct err *err) {
    static const char *const known[] = {
        "type",         "job_id",     "model",          "model_version",    "inputs",
        "parameters",   "priority",   "timeout_ms",     "queue_timeout_ms", "not_before",
        "max_attempts", "backoff_ms", "backoff_max_ms", "labels",           NULL};
    if (wire__check_members(body, "", known, err) != 0 || decode_model(body, arena, cmd, err) != 0 ||
        decode_numbers(body, arena, cmd, err) != 0 || decode_labels(body, arena, cmd, err) != 0 ||
        check_params(body, err) != 0 || check_inputs(body, arena, cmd, err) != 0)
        return -1;
    return make_spec(body, arena, cmd, err);
}

static int decode_cancel(json_t *body, struct arena *arena, struct job_command *cmd, struct err *err) {
    static const char *const known[] = {"type", "job_id", "reason", NULL};
    if (wire__check_members(body, "", known, err) != 0) return -1;
    return wire__get_string(body, "reason", REASON_MAX_CHARS, arena, &cmd->reason, err);
}

/* Pause, resume, drain: of a model, or of everything. The key and the CloudEvents subject may name the model. */
static int decode_mode(const struct wire_message *in, const struct wire__envelope *env, struct arena *arena,
                       struct job_command *cmd, struct err *err) {
    static const char *const known[] = {"type", "model", "reason", NULL};
    if (wire__check_members(env->body, "", known, err) != 0 || decode_model_name(env->body, arena, cmd, err) != 0)
        return -1;
    const char *model = cmd->model ? cmd->model : "";
    if (in->key && in->key_len > 0 && (in->key_len != strlen(model) || memcmp(in->key, model, in->key_len) != 0))
        return err_set(err, ERR_KEY_MISMATCH, "key: \"%.*s\" is not the model \"%s\"",
                       (int)(in->key_len < 160 ? in->key_len : 160), in->key, model);
    if (env->subject.s && (env->subject.len != strlen(model) || memcmp(env->subject.s, model, env->subject.len) != 0))
        return err_set(err, ERR_INVALID_CLOUDEVENT, "subject: \"%.*s\" is not the model \"%s\"",
                       (int)(env->subject.len < 160 ? env->subject.len : 160), env->subject.s, model);
    return wire__get_string(env->body, "reason", REASON_MAX_CHARS, arena, &cmd->reason, err);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static int decode_root(const struct wire_message *in, json_t *root, struct arena *arena, struct job_command *cmd,
                       struct err *err) {
    struct wire__envelope env;
    if (wire__envelope_open(in, root, &env, err) != 0 || decode_type(&env, &cmd->type, err) != 0) return -1;
    cmd->traceparent = decode_traceparent(env.traceparent, arena);
    if (is_mode(cmd->type)) return decode_mode(in, &env, arena, cmd, err);
    if (decode_job_id(in, &env, arena, &cmd->job_id, err) != 0) return -1;
    return cmd->type == WIRE_COMMAND_CREATE ? decode_create(env.body, arena, cmd, err)
                                            : decode_cancel(env.body, arena, cmd, err);
}

int wire_command_decode(const struct wire_message *in, struct arena *arena, struct job_command *ret,
                        const char **ret_job_id, struct err *err) {
    if (ret_job_id) *ret_job_id = NULL;
    json_t *root = wire__json_load(in->value, in->value_len, &wire__limits_command, err);
    if (!root) return -1;
    struct job_command cmd = {0};
    int rc = decode_root(in, root, arena, &cmd, err);
    if (rc == 0) {
        *ret = cmd;
        if (ret_job_id) *ret_job_id = cmd.job_id;
    } else if (ret_job_id && !is_mode(cmd.type)) {
        struct wire__text id = find_job_id(in, root);
        if (id.s) *ret_job_id = arena_strndup(arena, id.s, id.len);
    }
    json_decref(root);
    return rc;
}

void wire_command_encode_mode(enum wire_command_type type, const char *model, const char *reason, struct buf *out) {
    wire__put_literal(out, "{");
    if (model) {
        wire__put_literal(out, "\"model\":");
        wire_json_string(model, strlen(model), out);
        wire__put_literal(out, ",");
    }
    if (reason) {
        wire__put_literal(out, "\"reason\":");
        wire_json_string(reason, strlen(reason), out);
        wire__put_literal(out, ",");
    }
    buf_printf(out, "\"type\":\"%s\"}", type_names[type]);
}

void wire_command_encode_cancel(const char *job_id, const char *reason, struct buf *out) {
    wire__put_literal(out, "{\"job_id\":");
    wire_json_string(job_id, strlen(job_id), out);
    if (reason) {
        wire__put_literal(out, ",\"reason\":");
        wire_json_string(reason, strlen(reason), out);
    }
    wire__put_literal(out, ",\"type\":\"cancel\"}");
}
