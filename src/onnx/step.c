/* What operators share: errors that name their node, attributes with defaults, axes, and shapes. */
#include "onnx_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

int onnx__node_fail(const struct onnx__node *node, enum err_code code, struct err *err, const char *fmt, ...) {
    char text[320];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return err_set(err, code, "node '%.80s' (%.60s): %s", node->name, node->op_type, text);
}

#define MAX_TENSOR_BYTES ((int64_t)1 << 40)

/* --- attributes -------------------------------------------------------------------------------------------------- */

const struct onnx__attr *onnx__step_attr(const struct onnx__step *step, const char *name, enum onnx__attr_kind kind) {
    for (size_t i = 0; i < step->node->attr_count; i++) {
        const struct onnx__attr *attr = &step->node->attrs[i];
        if (attr->kind == kind && strcmp(attr->name, name) == 0) return attr;
    }
    return NULL;
}

int64_t onnx__step_int(const struct onnx__step *step, const char *name, int64_t fallback) {
    const struct onnx__attr *attr = onnx__step_attr(step, name, ATTR_INT);
    return attr ? attr->integer : fallback;
}

float onnx__step_float(const struct onnx__step *step, const char *name, float fallback) {
    const struct onnx__attr *attr = onnx__step_attr(step, name, ATTR_FLOAT);
    return attr ? attr->number : fallback;
}

const char *onnx__step_string(const struct onnx__step *step, const char *name, const char *fallback) {
    const struct onnx__attr *attr = onnx__step_attr(step, name, ATTR_STRING);
    return attr ? attr->string : fallback;
}

int onnx__step_ints(const struct onnx__step *step, const char *name, int index, struct onnx__ints *ret,
                    struct err *err) {
    const struct onnx__attr *attr = name ? onnx__step_attr(step, name, ATTR_INTS) : NULL;
    const struct tensor *input = index < 0 ? NULL : onnx__step_in(step, (size_t)index);
    *ret = (struct onnx__ints){.given = attr || input};
    if (attr) {
        ret->wide = attr->ints;
        ret->count = attr->count;
    } else if (input) {
        if ((input->datatype != DATATYPE_INT64 && input->datatype != DATATYPE_INT32) || input->rank > 1)
            return onnx__step_refuse(step, err, "input '%s' is not a list of INT64 or INT32", input->name);
        ret->count = (size_t)onnx__count(input);
        if (input->datatype == DATATYPE_INT64)
            ret->wide = input->data;
        else
            ret->narrow = input->data;
    }
    return 0;
}

struct tensor *onnx__step_in(const struct onnx__step *step, size_t index) {
    return index < step->in_count ? step->in[index] : NULL;
}

int onnx__step_axis(const struct onnx__step *step, int64_t axis, int rank, int *ret, struct err *err) {
    if (axis < -rank || axis >= rank)
        return onnx__step_refuse(step, err, "axis %" PRId64 " of a tensor with %d dimensions", axis, rank);
    *ret = (int)(axis < 0 ? axis + rank : axis);
    return 0;
}

/* --- shapes ------------------------------------------------------------------------------------------------------ */

void onnx__shape_set(struct tensor *out, enum datatype datatype, int rank, const int64_t *shape) {
    out->datatype = datatype;
    out->rank = rank;
    if (rank) memmove(out->shape, shape, (size_t)rank * sizeof *shape);
}

void onnx__shape_like(struct tensor *out, const struct tensor *like) {
    onnx__shape_set(out, like->datatype, like->rank, like->shape);
}

/* Empty dimensions count as 1, so that the product of any of them fits too: kernels multiply parts of shapes unchecked.
 */
bool onnx__shape_fits(const struct tensor *tensor, size_t *ret_bytes) {
    int64_t most = (int64_t)datatype_size(tensor->datatype);
    for (int i = 0; i < tensor->rank; i++) {
        if (tensor->shape[i] < 0) return false;
        if (__builtin_mul_overflow(most, tensor->shape[i] ? tensor->shape[i] : 1, &most) || most > MAX_TENSOR_BYTES)
            return false;
    }
    *ret_bytes = (size_t)onnx__count(tensor) * datatype_size(tensor->datatype);
    return true;
}

/* NumPy's rule: aligned at the last dimension, 1 stretches. */
bool onnx__shape_broadcast(const struct tensor *a, const struct tensor *b, int *ret_rank, int64_t *ret_shape) {
    int rank = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 0; i < rank; i++) {
        int at_a = i - (rank - a->rank), at_b = i - (rank - b->rank);
        int64_t da = at_a < 0 ? 1 : a->shape[at_a], db = at_b < 0 ? 1 : b->shape[at_b];
        if (da != db && da != 1 && db != 1) return false;
        ret_shape[i] = da == 1 ? db : da;
    }
    *ret_rank = rank;
    return true;
}

int64_t onnx__shape_product(const struct tensor *tensor, int from, int to) {
    int64_t product = 1;
    for (int i = from; i < to; i++) product *= tensor->shape[i];
    return product;
}

const char *onnx__shape_text(const int64_t *shape, int rank, char *text, size_t size) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, i ? "," : "", shape[i]);
    if (used < size) snprintf(text + used, size - used, "]");
    return text;
}
