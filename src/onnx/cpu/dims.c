/* Operators between shapes and values: Shape, Size, ConstantOfShape and Range. The first two ask for no data at all, so
 * that what exporters compute from them (the arithmetic around Reshape, Expand and Slice) is known when a plan is made.
 */
#include "cpu_internal.h"

#include <math.h>

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

/* --- Range ------------------------------------------------------------------------------------------------------- */

static bool is_one(const struct tensor *x, enum datatype datatype) {
    return x->datatype == datatype && onnx__count(x) == 1;
}

/* How many steps of `delta` lie before the limit. In floating point as ONNX has it: ceil((limit - start) / delta). */
static double float_steps(double start, double limit, double delta) {
    double steps = ceil((limit - start) / delta);
    return steps > 0 ? steps : 0; /* no number counts as none */
}

/* In unsigned numbers, where no distance overflows. */
static uint64_t int_steps(int64_t start, int64_t limit, int64_t delta) {
    uint64_t stride = delta > 0 ? (uint64_t)delta : 0 - (uint64_t)delta;
    if (delta > 0 ? start >= limit : start <= limit) return 0;
    uint64_t distance = delta > 0 ? (uint64_t)limit - (uint64_t)start : (uint64_t)start - (uint64_t)limit;
    return (distance - 1) / stride + 1;
}

#define VALUE(type, i) (*(const type *)step->in[i]->data)

OP_INFER(range) {
    enum datatype datatype = step->in[0]->datatype;
    double steps;
    for (int i = 0; i < 3; i++)
        if (!is_one(step->in[i], datatype)) return onnx__step_refuse(step, err, "its inputs are not three numbers");
    if (datatype == DATATYPE_FP32)
        steps = float_steps((double)VALUE(float, 0), (double)VALUE(float, 1), (double)VALUE(float, 2));
    else if (datatype == DATATYPE_FP64)
        steps = float_steps(VALUE(double, 0), VALUE(double, 1), VALUE(double, 2));
    else if (datatype == DATATYPE_INT32)
        steps =
            VALUE(int32_t, 2) ? (double)int_steps(VALUE(int32_t, 0), VALUE(int32_t, 1), VALUE(int32_t, 2)) : INFINITY;
    else
        steps =
            VALUE(int64_t, 2) ? (double)int_steps(VALUE(int64_t, 0), VALUE(int64_t, 1), VALUE(int64_t, 2)) : INFINITY;
    if (!(steps < 1e12)) return onnx__step_refuse(step, err, "the range has no end, or one that is too far");
    onnx__shape_set(step->out[0], datatype, 1, (int64_t[]){(int64_t)steps});
    return 0;
}

#define FILL(type, wide)                                                                                               \
    for (int64_t i = 0; i < count; i++)                                                                                \
    ((type *)step->out[0]->data)[i] = (type)((wide)VALUE(type, 0) + (wide)i * (wide)VALUE(type, 2))

OP_RUN(range) {
    int64_t count = step->out[0]->shape[0];
    switch (step->out[0]->datatype) {
    case DATATYPE_FP32:
        FILL(float, float);
        break;
    case DATATYPE_FP64:
        FILL(double, double);
        break;
    case DATATYPE_INT32:
        FILL(int32_t, uint32_t);
        break;
    default:
        FILL(int64_t, uint64_t);
        break;
    }
    return 0;
}
