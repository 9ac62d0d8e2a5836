/* Operators between shapes and values: Shape, Size and ConstantOfShape. The first two ask for no data at all, so that
 * what exporters compute from them (the arithmetic around Reshape, Expand and Slice) is known when a plan is made. */
#include "cpu_internal.h"

/* --- Shape and Size ---------------------------------------------------------------------------------------------- */

/* Which dimensions are asked for: from opset 15 a slice of them, clamped as Python does. */
static void shape_range(const struct onnx__step *step, int *ret_start, int *ret_end) {
    int64_t rank = step->in[0]->rank;
    int64_t range[2] = {onnx__step_int(step, "start", 0), onnx__step_int(step, "end", rank)};
    for (int i = 0; i < 2; i++) {
        if (range[i] < -rank) range[i] = -rank;
        if (range[i] < 0) range[i] += rank;
        if (range[i] > rank) range[i] = rank;
    }
    *ret_start = (int)range[0];
    *ret_end = (int)(range[1] < range[0] ? range[0] : range[1]);
}

OP_INFER(shape) {
    int start, end;
    shape_range(step, &start, &end);
    onnx__shape_set(step->out[0], DATATYPE_INT64, 1, (int64_t[]){end - start});
    return 0;
}

OP_RUN(shape) {
    int start, end;
    shape_range(step, &start, &end);
    if (end > start) memcpy(step->out[0]->data, step->in[0]->shape + start, (size_t)(end - start) * sizeof(int64_t));
    return 0;
}

OP_INFER(size) {
    onnx__shape_set(step->out[0], DATATYPE_INT64, 0, NULL);
    return 0;
}

OP_RUN(size) {
    *(int64_t *)step->out[0]->data = onnx__count(step->in[0]);
    return 0;
}

/* --- ConstantOfShape --------------------------------------------------------------------------------------------- */

OP_INFER(constant_of_shape) {
    const struct tensor *dims = step->in[0];
    const struct onnx__attr *value = onnx__step_attr(step, "value", ATTR_TENSOR);
    if (dims->rank != 1 || dims->shape[0] > TENSOR_MAX_RANK)
        return onnx__step_refuse(step, err, "the shape is not a list of at most %d numbers", TENSOR_MAX_RANK);
    if (value && onnx__count(&value->tensor) != 1) return onnx__step_refuse(step, err, "the value is not one element");
    onnx__shape_set(step->out[0], value ? value->tensor.datatype : DATATYPE_FP32, (int)dims->shape[0], dims->data);
    return 0;
}

OP_RUN(constant_of_shape) {
    const struct onnx__attr *value = onnx__step_attr(step, "value", ATTR_TENSOR);
    struct tensor *out = step->out[0];
    size_t size = datatype_size(out->datatype);
    memset(out->data, 0, out->size_bytes);
    for (size_t at = 0; value && at < out->size_bytes; at += size)
        memcpy((char *)out->data + at, value->tensor.data, size);
    return 0;
}
