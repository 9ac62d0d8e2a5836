/* Inference requests of the Open Inference Protocol, and their answers.
 *
 * A request becomes a create command like any other, so nothing here knows how jobs run. What JSON cannot hold well,
 * tensors as bytes, comes and goes behind the JSON: the head of each says how many bytes are its own, and they stand in
 * the order of the heads. A tensor's bytes are looked at only as far as their number and, for BYTES, their lengths go:
 * every pattern of bits is a number.
 *
 * What the protocol's parameters say about scheduling is said in a command's members: "timeout" (microseconds, as
 * Triton has it) and "priority" (1 is the most urgent, as Triton has it; 9 here). All others are the model's. */
#include "wire_internal.h"

#include <inttypes.h>
#include <string.h>

#include "penstock/wire_infer.h"

static const struct wire__limits limits_request = {(size_t)256 * 1024 * 1024, WIRE_MAX_DEPTH, WIRE_MAX_STRING_BYTES};

/* The JSON and what follows it. */
struct reader {
    struct arena *arena;
    const char *binary;
    size_t binary_len;
    struct err *err;
};

static const char *json_text(struct arena *arena, const json_t *json) {
    struct buf out = {0};
    wire__put_json(&out, json);
    const char *copy = arena_strndup(arena, out.data, out.len);
    buf_done(&out);
    return copy;
}

static int parameters_of(json_t *object, const char *at, json_t **ret, struct err *err) {
    *ret = json_object_get(object, "parameters");
    if (*ret && !json_is_object(*ret))
        return err_set(err, ERR_INVALID_MEMBER, "%sparameters: %s, not an object", at, wire__json_kind(*ret));
    return 0;
}

/* --- inputs --------------------------------------------------------------------------------------------------------
 */

/* Does each element's length lead to the next, and the last one to the end? */
static bool bytes_are_sound(const char *data, size_t len, int64_t count) {
    for (; count > 0; count--) {
        uint32_t size;
        if (len < sizeof size) return false;
        memcpy(&size, data, sizeof size);
        if (len - sizeof size < size) return false;
        data += sizeof size + size;
        len -= sizeof size + size;
    }
    return len == 0;
}

static int take_binary(struct reader *in, size_t index, int64_t size, int64_t count, struct tensor *tensor) {
    bool text = tensor->datatype == DATATYPE_BYTES;
    if (size < 0 || (uint64_t)size > in->binary_len)
        return err_set(in->err, ERR_INVALID_TENSOR,
                       "inputs/%zu: binary_data_size is %" PRId64 ", but %zu bytes are left behind the JSON", index,
                       size, in->binary_len);
    if (!text && (uint64_t)size != (uint64_t)count * datatype_size(tensor->datatype))
        return err_set(in->err, ERR_INVALID_TENSOR,
                       "inputs/%zu: binary_data_size is %" PRId64 ", not %zu a %s for %" PRId64 " elements", index,
                       size, datatype_size(tensor->datatype), datatype_name(tensor->datatype), count);
    if (text && !bytes_are_sound(in->binary, (size_t)size, count))
        return err_set(in->err, ERR_INVALID_TENSOR, "inputs/%zu: its bytes are not %" PRId64 " elements of BYTES",
                       index, count);
    tensor->data = (void *)(uintptr_t)in->binary; /* read only */
    tensor->size_bytes = (size_t)size;
    in->binary += size;
    in->binary_len -= (size_t)size;
    return 0;
}

static int read_input(struct reader *in, json_t *json, size_t index, struct wire_infer_input *ret) {
    json_t *params, *data, *size;
    struct wire__tensor head;
    int64_t bytes;
    char at[40];
    snprintf(at, sizeof at, "inputs/%zu/", index);
    if (parameters_of(json, at, &params, in->err) != 0) return -1;
    size = json_object_get(params, "binary_data_size");
    if (json_object_size(params) > (size ? 1u : 0u))
        return err_set(in->err, ERR_INVALID_MEMBER, "%sparameters: binary_data_size is all that is known here", at);
    if (size && !wire__json_integer(size, &bytes))
        return err_set(in->err, ERR_INVALID_MEMBER, "%sparameters/binary_data_size: %s, not an integer", at,
                       wire__json_kind(size));
    if (size && json_object_get(json, "data"))
        return err_set(in->err, ERR_INVALID_TENSOR, "inputs/%zu: both data and binary_data_size", index);
    if (json_object_get(json, "uri"))
        return err_set(in->err, ERR_UNKNOWN_MEMBER, "%suri: unknown here; POST /jobs takes it", at);
    if (size && json_object_set_new(json, "data", json_array()) != 0)
        return err_set(in->err, ERR_INVALID_TENSOR, "inputs/%zu: %s, not an object", index, wire__json_kind(json));
    (void)json_object_del(json, "parameters");
    if (wire__tensor_read(json, index, &head, in->err) != 0) return -1;
    *ret = (struct wire_infer_input){
        .tensor = {.name = arena_strdup(in->arena, head.name), .datatype = head.datatype, .rank = head.rank}};
    memcpy(ret->tensor.shape, head.shape, sizeof ret->tensor.shape);
    if (size) return take_binary(in, index, bytes, head.count, &ret->tensor);
    data = head.data;
    ret->json = json_text(in->arena, data);
    return 0;
}

static int read_inputs(struct reader *in, const json_t *root, struct wire_infer *ret) {
    const json_t *inputs = json_object_get(root, "inputs");
    if (!inputs) return err_set(in->err, ERR_MISSING_MEMBER, "inputs: missing");
    if (!json_is_array(inputs))
        return err_set(in->err, ERR_INVALID_MEMBER, "inputs: %s, not an array", wire__json_kind(inputs));
    ret->input_count = json_array_size(inputs);
    if (ret->input_count > WIRE_MAX_INPUTS)
        return err_set(in->err, ERR_TOO_MANY_INPUTS, "inputs: %zu, more than %d", ret->input_count, WIRE_MAX_INPUTS);
    ret->inputs = arena_alloc(in->arena, ret->input_count * sizeof *ret->inputs);
    for (size_t i = 0; i < ret->input_count; i++)
        if (read_input(in, json_array_get(inputs, i), i, &ret->inputs[i]) != 0) return -1;
    if (in->binary_len > 0)
        return err_set(in->err, ERR_INVALID_TENSOR, "%zu bytes behind the JSON belong to no input", in->binary_len);
    return 0;
}

/* --- outputs and parameters ----------------------------------------------------------------------------------------
 */

static int read_flag(const json_t *params, const char *at, const char *name, bool *ret, struct err *err) {
    const json_t *flag = json_object_get(params, name);
    if (flag && !json_is_boolean(flag))
        return err_set(err, ERR_INVALID_MEMBER, "%sparameters/%s: %s, not a boolean", at, name, wire__json_kind(flag));
    if (flag) *ret = json_is_true(flag);
    return 0;
}

static int read_output(struct reader *in, json_t *json, size_t index, struct wire_infer *request,
                       struct wire_infer_output *ret) {
    static const char *const known[] = {"name", "parameters", NULL}, *const known_params[] = {"binary_data", NULL};
    json_t *params;
    char at[40];
    snprintf(at, sizeof at, "outputs/%zu/", index);
    const char *name = json_string_value(json_object_get(json, "name"));
    if (!name) return err_set(in->err, ERR_INVALID_MEMBER, "%sname: an output is an object with a name", at);
    if (wire__check_members(json, at, known, in->err) != 0 || parameters_of(json, at, &params, in->err) != 0) return -1;
    if (params && wire__check_members(params, at, known_params, in->err) != 0) return -1; /* no classification */
    *ret = (struct wire_infer_output){arena_strdup(in->arena, name), request->all_binary};
    return read_flag(params, at, "binary_data", &ret->binary, in->err);
}

static int read_outputs(struct reader *in, const json_t *root, struct wire_infer *ret) {
    const json_t *outputs = json_object_get(root, "outputs");
    if (outputs && !json_is_array(outputs))
        return err_set(in->err, ERR_INVALID_MEMBER, "outputs: %s, not an array", wire__json_kind(outputs));
    ret->output_count = json_array_size(outputs);
    if (ret->output_count > WIRE_MAX_INPUTS)
        return err_set(in->err, ERR_INVALID_MEMBER, "outputs: %zu, more than %d", ret->output_count, WIRE_MAX_INPUTS);
    ret->outputs = arena_alloc(in->arena, ret->output_count * sizeof *ret->outputs);
    for (size_t i = 0; i < ret->output_count; i++)
        if (read_output(in, json_array_get(outputs, i), i, ret, &ret->outputs[i]) != 0) return -1;
    return 0;
}

static int read_parameters(struct reader *in, json_t *root, struct wire_infer *ret) {
    json_t *params;
    int64_t timeout_us = 0, priority = 0;
    if (parameters_of(root, "", &params, in->err) != 0) return -1;
    ret->priority = -1;
    ret->parameters = "{}";
    if (!params) return 0;
    if (wire__get_int(params, "timeout", 0, WIRE__TIMEOUT_MAX_MS * 1000, &timeout_us, in->err) != 0 ||
        wire__get_int(params, "priority", 0, UINT32_MAX, &priority, in->err) != 0 ||
        read_flag(params, "", "binary_data_output", &ret->all_binary, in->err) != 0)
        return -1;
    ret->timeout_ms = timeout_us / 1000 + (timeout_us % 1000 != 0);
    if (priority > 0) ret->priority = priority > 9 ? 0 : 10 - (int)priority;
    (void)json_object_del(params, "timeout");
    (void)json_object_del(params, "priority");
    (void)json_object_del(params, "binary_data_output");
    ret->parameters = json_text(in->arena, params);
    return 0;
}

int wire_infer_decode(const char *body, size_t len, size_t json_len, struct arena *arena, struct wire_infer *ret,
                      struct err *err) {
    static const char *const known[] = {"id", "parameters", "inputs", "outputs", NULL};
    struct reader in = {.arena = arena, .err = err};
    struct wire_infer request = {0};
    if (json_len > len)
        return err_set(err, ERR_INVALID_MEMBER, "Inference-Header-Content-Length is %zu, but the body has %zu bytes",
                       json_len, len);
    in.binary = body + json_len;
    in.binary_len = len - json_len;
    json_t *root = wire__json_load(body, json_len, &limits_request, err);
    if (!root) return -1;
    int rc = wire__check_members(root, "", known, err);
    if (rc == 0) rc = wire__get_string(root, "id", 256, arena, &request.id, err);
    if (rc == 0) rc = read_parameters(&in, root, &request);
    if (rc == 0) rc = read_inputs(&in, root, &request);
    if (rc == 0) rc = read_outputs(&in, root, &request);
    if (rc == 0) *ret = request;
    json_decref(root);
    return rc;
}

/* --- the command ---------------------------------------------------------------------------------------------------
 */

static void put_text(struct buf *out, const char *before, const char *text) {
    buf_puts(out, before);
    wire_json_string(text, strlen(text), out);
}

static void put_head(struct buf *out, const struct tensor *tensor) {
    put_text(out, "{\"name\":", tensor->name);
    buf_printf(out, ",\"datatype\":\"%s\",\"shape\":[", datatype_name(tensor->datatype));
    for (int i = 0; i < tensor->rank; i++) buf_printf(out, "%s%" PRId64, i ? "," : "", tensor->shape[i]);
    buf_puts(out, "]");
}

static void put_data(struct buf *out, const struct tensor *tensor) {
    buf_puts(out, ",\"data\":[");
    wire__put_elements(out, tensor);
    buf_puts(out, "]}");
}

static void put_input(struct buf *out, const struct wire_infer_input *input) {
    put_head(out, &input->tensor);
    if (input->uri) {
        put_text(out, ",\"uri\":", input->uri);
        buf_puts(out, "}");
    } else if (input->json) {
        buf_printf(out, ",\"data\":");
        buf_puts(out, input->json);
        buf_puts(out, "}");
    } else {
        put_data(out, &input->tensor);
    }
}

void wire_infer_command(const struct wire_infer *in, const char *job_id, const char *model, const char *version,
                        struct buf *out) {
    put_text(out, "{\"type\":\"create\",\"job_id\":", job_id);
    put_text(out, ",\"model\":", model);
    if (version) put_text(out, ",\"model_version\":", version);
    if (in->timeout_ms > 0) buf_printf(out, ",\"timeout_ms\":%" PRId64, in->timeout_ms);
    if (in->priority >= 0) buf_printf(out, ",\"priority\":%d", in->priority);
    buf_puts(out, ",\"parameters\":");
    buf_puts(out, in->parameters);
    buf_puts(out, ",\"inputs\":[");
    for (size_t i = 0; i < in->input_count; i++) {
        if (i) buf_puts(out, ",");
        put_input(out, &in->inputs[i]);
    }
    buf_puts(out, "]}");
}

/* --- the answer ----------------------------------------------------------------------------------------------------
 */

struct writer {
    wire_infer_load_fn *load;
    void *self;
    struct arena *arena;
    struct buf *json, *binary;
    struct err *err;
};

/* An output of a result document, with its data, wherever they lie. */
static int load_output(struct writer *to, json_t *json, size_t index, struct tensor *ret) {
    struct wire__tensor head;
    (void)json_object_del(json, "bytes"); /* of an artifact */
    (void)json_object_del(json, "sha256");
    if (wire__tensor_read(json, index, &head, to->err) != 0) return -1;
    *ret = (struct tensor){.name = arena_strdup(to->arena, head.name), .datatype = head.datatype, .rank = head.rank};
    memcpy(ret->shape, head.shape, sizeof ret->shape);
    if (head.uri) return to->load(to->self, head.uri, ret, to->arena, to->err);
    if (wire__tensor_check(&head, index, &ret->size_bytes, to->err) != 0) return -1;
    ret->data = arena_alloc(to->arena, ret->size_bytes > 0 ? ret->size_bytes : 1);
    wire__tensor_store(&head, ret->data);
    return 0;
}

static int put_output(struct writer *to, json_t *json, size_t index, bool binary) {
    struct tensor tensor;
    if (load_output(to, json, index, &tensor) != 0) return -1;
    put_head(to->json, &tensor);
    if (binary) {
        buf_printf(to->json, ",\"parameters\":{\"binary_data_size\":%zu}}", tensor.size_bytes);
        buf_append(to->binary, tensor.data, tensor.size_bytes);
    } else {
        put_data(to->json, &tensor);
    }
    return 0;
}

static json_t *find_output(json_t *outputs, const char *name, size_t *ret_index) {
    for (size_t i = 0; i < json_array_size(outputs); i++) {
        const char *there = json_string_value(json_object_get(json_array_get(outputs, i), "name"));
        *ret_index = i;
        if (there && strcmp(there, name) == 0) return json_array_get(outputs, i);
    }
    return NULL;
}

static int put_outputs(struct writer *to, const struct wire_infer *in, json_t *outputs) {
    bool all = in->output_count == 0;
    size_t count = all ? json_array_size(outputs) : in->output_count;
    for (size_t i = 0, index; i < count; i++) {
        json_t *output = all ? json_array_get(outputs, index = i) : find_output(outputs, in->outputs[i].name, &index);
        if (!output)
            return err_set(to->err, ERR_INVALID_MEMBER, "outputs/%zu/name: the model gives no '%.100s'", i,
                           in->outputs[i].name);
        if (i) buf_puts(to->json, ",");
        if (put_output(to, output, index, all ? in->all_binary : in->outputs[i].binary) != 0) return -1;
    }
    return 0;
}

int wire_infer_answer(const struct wire_infer *in, const char *result, size_t len, wire_infer_load_fn *load, void *self,
                      struct arena *arena, struct buf *json, struct buf *binary, struct err *err) {
    struct writer to = {load, self, arena, json, binary, err};
    json_t *root = wire__json_load(result, len, &wire__limits_document, err);
    if (!root) return -1;
    const char *model = json_string_value(json_object_get(root, "model_name"));
    const char *version = json_string_value(json_object_get(root, "model_version"));
    put_text(json, "{\"model_name\":", model ? model : "");
    put_text(json, ",\"model_version\":", version ? version : "");
    if (in->id) put_text(json, ",\"id\":", in->id);
    buf_puts(json, ",\"outputs\":[");
    int rc = put_outputs(&to, in, json_object_get(root, "outputs"));
    buf_puts(json, "]}");
    json_decref(root);
    return rc;
}
