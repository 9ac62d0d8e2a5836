/* Specs, as a worker reads them: tensors in memory and request parameters.
 *
 * A spec was checked when it entered, so an error here means that the store or the log was damaged, or that the rules
 * changed between two releases; it is reported like any bad command, and the job fails instead of the worker. */
#include "wire_internal.h"

#include <string.h>

static int decode_input(json_t *json, size_t index, struct arena *arena, struct tensor *ret, const char **ret_uri,
                        struct err *err) {
    struct wire__tensor tensor;
    if (wire__tensor_read(json, index, &tensor, err) != 0) return -1;
    *ret = (struct tensor){.name = arena_strdup(arena, tensor.name), .datatype = tensor.datatype, .rank = tensor.rank};
    memcpy(ret->shape, tensor.shape, sizeof ret->shape);
    *ret_uri = arena_strdup(arena, tensor.uri);
    if (tensor.uri) {
        ret->size_bytes = (size_t)tensor.count * datatype_size(tensor.datatype); /* BYTES: 0, only the file knows */
        return 0;
    }
    if (wire__tensor_check(&tensor, index, &ret->size_bytes, err) != 0) return -1;
    ret->data = arena_alloc(arena, ret->size_bytes > 0 ? ret->size_bytes : 1); /* NULL would mean: see the uri */
    wire__tensor_store(&tensor, ret->data);
    return 0;
}

static int decode_inputs(const json_t *root, struct arena *arena, struct wire_request *ret, struct err *err) {
    const json_t *inputs = json_object_get(root, "inputs");
    if (inputs && !json_is_array(inputs))
        return err_set(err, ERR_INVALID_MEMBER, "inputs: %s, not an array", wire__json_kind(inputs));
    ret->input_count = json_array_size(inputs);
    if (ret->input_count > WIRE_MAX_INPUTS)
        return err_set(err, ERR_TOO_MANY_INPUTS, "inputs: %zu, more than %d", ret->input_count, WIRE_MAX_INPUTS);
    ret->inputs = arena_alloc(arena, ret->input_count * sizeof *ret->inputs);
    ret->uris = arena_alloc(arena, ret->input_count * sizeof *ret->uris);
    for (size_t i = 0; i < ret->input_count; i++)
        if (decode_input(json_array_get(inputs, i), i, arena, &ret->inputs[i], &ret->uris[i], err) != 0) return -1;
    return 0;
}

static int decode_param(const char *name, const json_t *value, struct arena *arena, struct executor_param *ret,
                        struct err *err) {
    *ret = (struct executor_param){.name = arena_strdup(arena, name)};
    if (json_is_boolean(value)) {
        ret->kind = EXECUTOR_PARAM_BOOL;
        ret->boolean = json_is_true(value);
    } else if (json_is_integer(value)) {
        ret->kind = EXECUTOR_PARAM_INT;
        ret->integer = json_integer_value(value);
    } else if (json_is_real(value)) {
        ret->kind = EXECUTOR_PARAM_DOUBLE;
        ret->number = json_real_value(value);
    } else if (json_is_string(value)) {
        ret->kind = EXECUTOR_PARAM_STRING;
        ret->string = arena_strndup(arena, json_string_value(value), json_string_length(value));
    } else {
        return err_set(err, ERR_INVALID_MEMBER, "parameters/%.100s: %s, not a string, number or boolean", name,
                       wire__json_kind(value));
    }
    return 0;
}

static int decode_params(const json_t *root, struct arena *arena, struct wire_request *ret, struct err *err) {
    json_t *params = json_object_get(root, "parameters");
    ret->params = arena_alloc(arena, json_object_size(params) * sizeof *ret->params);
    for (void *iter = json_object_iter(params); iter; iter = json_object_iter_next(params, iter))
        if (decode_param(json_object_iter_key(iter), json_object_iter_value(iter), arena,
                         &ret->params[ret->param_count++], err) != 0)
            return -1;
    return 0;
}

int wire_spec_decode(const char *spec, size_t len, struct arena *arena, struct wire_request *ret, struct err *err) {
    json_t *root = wire__json_load(spec, len, &wire__limits_document, err);
    if (!root) return -1;
    struct wire_request request = {0};
    int rc = decode_inputs(root, arena, &request, err);
    if (rc == 0) rc = decode_params(root, arena, &request, err);
    if (rc == 0) *ret = request;
    json_decref(root);
    return rc;
}
