/* Operators that move elements and look at none: Transpose and Concat. They know sizes, not datatypes. */
#include "cpu_internal.h"

/* --- Transpose --------------------------------------------------------------------------------------------------- */

static int read_perm(const struct onnx__step *step, int *perm, struct err *err) {
    const struct onnx__attr *attr = onnx__step_attr(step, "perm", ATTR_INTS);
    int rank = step->in[0]->rank;
    unsigned seen = 0;
    if (attr && attr->count != (size_t)rank)
        return onnx__step_refuse(step, err, "perm has %zu numbers for %d dimensions", attr->count, rank);
    for (int i = 0; i < rank; i++) {
        int64_t from = attr ? attr->ints[i] : rank - 1 - i;
        if (from < 0 || from >= rank || (seen >> from & 1))
            return onnx__step_refuse(step, err, "perm is no permutation");
        seen |= 1u << from;
        perm[i] = (int)from;
    }
    return 0;
}

OP_INFER(transpose) {
    const struct tensor *x = step->in[0];
    int perm[TENSOR_MAX_RANK];
    if (read_perm(step, perm, err) != 0) return -1;
    onnx__shape_like(step->out[0], x);
    for (int i = 0; i < x->rank; i++) step->out[0]->shape[i] = x->shape[perm[i]];
    return 0;
}

/* `count` elements, `stride` bytes apart, to one row. The sizes are spelled out so that the compiler sees constants. */
static void gather_row(char *to, const char *from, int64_t count, int64_t stride, size_t size) {
#define GATHER(n)                                                                                                      \
    case n:                                                                                                            \
        for (int64_t i = 0; i < count; i++) memcpy(to + i * n, from + i * stride, n);                                  \
        return;
    switch (size) {
        GATHER(1)
        GATHER(2)
        GATHER(4)
        GATHER(8)
    default:
        BUG_ON(size);
    }
#undef GATHER
}

OP_RUN(transpose) {
    const struct tensor *x = step->in[0];
    struct tensor *out = step->out[0];
    int perm[TENSOR_MAX_RANK], inner = x->rank - 1;
    if (read_perm(step, perm, err) != 0) return -1;
    int64_t total = onnx__count(out), strides[TENSOR_MAX_RANK], index[TENSOR_MAX_RANK] = {0}, at = 0;
    size_t size = datatype_size(x->datatype);
    if (total == 0) return 0;
    if (x->rank == 0) {
        memcpy(out->data, x->data, size);
        return 0;
    }
    for (int i = 0; i < x->rank; i++) strides[i] = onnx__shape_product(x, perm[i] + 1, x->rank) * (int64_t)size;
    int64_t row = out->shape[inner];
    for (int64_t done = 0; done < total; done += row) {
        gather_row((char *)out->data + (size_t)done * size, (const char *)x->data + at, row, strides[inner], size);
        for (int dim = inner - 1; dim >= 0; dim--) {
            at += strides[dim];
            if (++index[dim] < out->shape[dim]) break;
            at -= strides[dim] * out->shape[dim];
            index[dim] = 0;
        }
    }
    return 0;
}

/* --- Concat ------------------------------------------------------------------------------------------------------ */

static int concat_axis(const struct onnx__step *step, int *ret, struct err *err) {
    const struct onnx__attr *attr = onnx__step_attr(step, "axis", ATTR_INT);
    if (!attr) return onnx__step_refuse(step, err, "attribute axis is missing");
    return onnx__step_axis(step, attr->integer, step->in[0]->rank, ret, err);
}

OP_INFER(concat) {
    struct tensor *out = step->out[0];
    int axis;
    if (concat_axis(step, &axis, err) != 0) return -1;
    onnx__shape_like(out, step->in[0]);
    for (size_t i = 1; i < step->in_count; i++) {
        const struct tensor *x = step->in[i];
        bool fits = x && x->datatype == out->datatype && x->rank == out->rank;
        for (int dim = 0; fits && dim < out->rank; dim++) fits = dim == axis || x->shape[dim] == out->shape[dim];
        if (!fits) return onnx__step_refuse(step, err, "input %zu does not fit input 0", i);
        if (__builtin_add_overflow(out->shape[axis], x->shape[axis], &out->shape[axis]))
            return onnx__step_refuse(step, err, "the output is too large");
    }
    return 0;
}

OP_RUN(concat) {
    struct tensor *out = step->out[0];
    int axis;
    if (concat_axis(step, &axis, err) != 0) return -1;
    int64_t outer = onnx__shape_product(out, 0, axis);
    char *to = out->data;
    for (int64_t i = 0; i < outer; i++)
        for (size_t j = 0; j < step->in_count; j++) {
            const struct tensor *x = step->in[j];
            size_t chunk = (size_t)onnx__shape_product(x, axis, x->rank) * datatype_size(x->datatype);
            if (chunk) memcpy(to, (const char *)x->data + (size_t)i * chunk, chunk);
            to += chunk;
        }
    return 0;
}
