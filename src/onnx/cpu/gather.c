/* Operators that pick elements by number: Gather, GatherElements, GatherND, OneHot and NonZero. The numbers are data,
 * so that each is checked when it is used, and one that is out of range fails the run, naming the node. */
#include "cpu_internal.h"

#include <inttypes.h>

/* --- numbers ----------------------------------------------------------------------------------------------------- */

int onnx__index_check(const struct onnx__step *step, const struct tensor *indices, struct err *err) {
    if (indices->datatype == DATATYPE_INT64 || indices->datatype == DATATYPE_INT32) return 0;
    return onnx__step_refuse(step, err, "indices of datatype %s", datatype_name(indices->datatype));
}

int onnx__index_read(const struct onnx__step *step, const struct tensor *indices, int64_t at, int64_t dim, int64_t *ret,
                     struct err *err) {
    int64_t index = indices->datatype == DATATYPE_INT64 ? ((const int64_t *)indices->data)[at]
                                                        : ((const int32_t *)indices->data)[at];
    if (index < -dim || index >= dim)
        return onnx__step_fail(step, err, "index %" PRId64 " of a dimension of %" PRId64, index, dim);
    *ret = index < 0 ? index + dim : index;
    return 0;
}

/* --- Gather ------------------------------------------------------------------------------------------------------ */

OP_INFER(gather) {
    const struct tensor *x = step->in[0], *indices = step->in[1];
    int axis;
    if (onnx__index_check(step, indices, err) != 0 ||
        onnx__step_axis(step, onnx__step_int(step, "axis", 0), x->rank, &axis, err) != 0)
        return -1;
    int rank = x->rank - 1 + indices->rank;
    if (rank > TENSOR_MAX_RANK)
        return onnx__step_refuse(step, err, "the output would have %d dimensions, more than %d", rank, TENSOR_MAX_RANK);
    struct tensor *out = step->out[0];
    onnx__shape_set(out, x->datatype, axis, x->shape);
    for (int i = 0; i < indices->rank; i++) out->shape[out->rank++] = indices->shape[i];
    for (int i = axis + 1; i < x->rank; i++) out->shape[out->rank++] = x->shape[i];
    return 0;
}

OP_RUN(gather) {
    const struct tensor *x = step->in[0], *indices = step->in[1];
    int axis;
    if (onnx__step_axis(step, onnx__step_int(step, "axis", 0), x->rank, &axis, err) != 0) return -1;
    int64_t outer = onnx__shape_product(x, 0, axis), count = onnx__count(indices), dim = x->shape[axis];
    size_t chunk = (size_t)onnx__shape_product(x, axis + 1, x->rank) * datatype_size(x->datatype);
    char *to = step->out[0]->data;
    for (int64_t i = 0; i < outer; i++)
        for (int64_t j = 0; j < count; j++, to += chunk) {
            int64_t index;
            if (onnx__index_read(step, indices, j, dim, &index, err) != 0) return -1;
            if (chunk) memcpy(to, (const char *)x->data + (size_t)(i * dim + index) * chunk, chunk);
        }
    return 0;
}

/* --- GatherElements ---------------------------------------------------------------------------------------------- */

int onnx__elements_axis(const struct onnx__step *step, int *ret, struct err *err) {
    const struct tensor *x = step->in[0], *indices = step->in[1];
    if (onnx__index_check(step, indices, err) != 0 ||
        onnx__step_axis(step, onnx__step_int(step, "axis", 0), x->rank, ret, err) != 0)
        return -1;
    bool fits = indices->rank == x->rank;
    for (int i = 0; fits && i < x->rank; i++) fits = i == *ret || indices->shape[i] <= x->shape[i];
    return fits ? 0 : onnx__step_refuse(step, err, "the indices reach beyond the data");
}

int onnx__elements_find(const struct onnx__step *step, int axis, int64_t number, int64_t *ret, struct err *err) {
    const struct tensor *x = step->in[0], *indices = step->in[1];
    int64_t at = 0, stride = 1, rest = number;
    for (int i = x->rank - 1; i >= 0; i--) {
        int64_t index = rest % indices->shape[i];
        rest /= indices->shape[i];
        if (i == axis && onnx__index_read(step, indices, number, x->shape[i], &index, err) != 0) return -1;
        at += index * stride;
        stride *= x->shape[i];
    }
    *ret = at;
    return 0;
}

OP_INFER(gather_elements) {
    int axis;
    if (onnx__elements_axis(step, &axis, err) != 0) return -1;
    onnx__shape_set(step->out[0], step->in[0]->datatype, step->in[1]->rank, step->in[1]->shape);
    return 0;
}

OP_RUN(gather_elements) {
    const struct tensor *x = step->in[0];
    size_t size = datatype_size(x->datatype);
    int64_t count = onnx__count(step->out[0]);
    int axis;
    if (onnx__elements_axis(step, &axis, err) != 0) return -1;
    for (int64_t i = 0; i < count; i++) {
        int64_t at;
        if (onnx__elements_find(step, axis, i, &at, err) != 0) return -1;
        memcpy((char *)step->out[0]->data + (size_t)i * size, (const char *)x->data + (size_t)at * size, size);
    }
    return 0;
}

/* --- GatherND ---------------------------------------------------------------------------------------------------- */

int onnx__tuples_read(const struct onnx__step *step, int64_t batch_dims, struct onnx__tuples *ret, struct err *err) {
    const struct tensor *x = step->in[0], *indices = step->in[1];
    if (onnx__index_check(step, indices, err) != 0) return -1;
    int shorter = x->rank < indices->rank ? x->rank : indices->rank;
    bool fits = batch_dims >= 0 && batch_dims < shorter;
    int batch = fits ? (int)batch_dims : 0;
    for (int i = 0; fits && i < batch; i++) fits = x->shape[i] == indices->shape[i];
    int64_t length = fits ? indices->shape[indices->rank - 1] : 0;
    if (!fits || length < 1 || length > x->rank - batch)
        return onnx__step_refuse(step, err, "the indices do not fit the data");
    *ret = (struct onnx__tuples){.batch_dims = batch, .length = (int)length};
    int end = batch + ret->length;
    ret->batches = onnx__shape_product(indices, 0, batch);
    ret->per_batch = onnx__shape_product(indices, batch, indices->rank - 1);
    ret->batch_size = onnx__shape_product(x, batch, x->rank);
    ret->chunk = onnx__shape_product(x, end, x->rank);
    ret->shape = (struct tensor){.datatype = x->datatype};
    if (indices->rank - 1 + x->rank - end > TENSOR_MAX_RANK)
        return onnx__step_refuse(step, err, "the output would have more than %d dimensions", TENSOR_MAX_RANK);
    for (int i = 0; i < indices->rank - 1; i++) ret->shape.shape[ret->shape.rank++] = indices->shape[i];
    for (int i = end; i < x->rank; i++) ret->shape.shape[ret->shape.rank++] = x->shape[i];
    return 0;
}

int onnx__tuples_find(const struct onnx__step *step, const struct onnx__tuples *tuples, int64_t number, int64_t *ret,
                      struct err *err) {
    const struct tensor *x = step->in[0];
    int64_t at = 0;
    for (int i = 0; i < tuples->length; i++) {
        int64_t dim = x->shape[tuples->batch_dims + i], index;
        if (onnx__index_read(step, step->in[1], number * tuples->length + i, dim, &index, err) != 0) return -1;
        at = at * dim + index;
    }
    *ret = number / tuples->per_batch * tuples->batch_size + at * tuples->chunk;
    return 0;
}

OP_INFER(gather_nd) {
    struct onnx__tuples tuples;
    if (onnx__tuples_read(step, onnx__step_int(step, "batch_dims", 0), &tuples, err) != 0) return -1;
    onnx__shape_like(step->out[0], &tuples.shape);
    return 0;
}

OP_RUN(gather_nd) {
    struct onnx__tuples tuples;
    if (onnx__tuples_read(step, onnx__step_int(step, "batch_dims", 0), &tuples, err) != 0) return -1;
    size_t size = datatype_size(step->in[0]->datatype), chunk = (size_t)tuples.chunk * size;
    char *to = step->out[0]->data;
    for (int64_t i = 0; i < tuples.batches * tuples.per_batch; i++, to += chunk) {
        int64_t at;
        if (onnx__tuples_find(step, &tuples, i, &at, err) != 0) return -1;
        if (chunk) memcpy(to, (const char *)step->in[0]->data + (size_t)at * size, chunk);
    }
    return 0;
}

/* --- OneHot ------------------------------------------------------------------------------------------------------ */

/* The operator takes numbers of any datatype; a fraction is cut off, and what is no number is far outside. */
static int64_t whole_number(const struct tensor *x, int64_t at) {
    double value;
    switch (x->datatype) {
    case DATATYPE_INT64:
        return ((const int64_t *)x->data)[at];
    case DATATYPE_INT32:
        return ((const int32_t *)x->data)[at];
    case DATATYPE_UINT8:
        return ((const uint8_t *)x->data)[at];
    case DATATYPE_FP64:
        value = ((const double *)x->data)[at];
        break;
    default:
        value = (double)((const float *)x->data)[at];
        break;
    }
    return value > -1e18 && value < 1e18 ? (int64_t)value : INT64_MAX;
}

OP_INFER(one_hot) {
    const struct tensor *indices = step->in[0], *depth = step->in[1], *values = step->in[2];
    int axis, rank = indices->rank + 1;
    if (!(TYPES_NUMBER >> depth->datatype & 1) || depth->rank > 1 || onnx__count(depth) != 1)
        return onnx__step_refuse(step, err, "the depth is not one number");
    if (values->rank != 1 || values->shape[0] != 2) return onnx__step_refuse(step, err, "the values are not two");
    if (rank > TENSOR_MAX_RANK) return onnx__step_refuse(step, err, "the output would have %d dimensions", rank);
    if (onnx__step_axis(step, onnx__step_int(step, "axis", -1), rank, &axis, err) != 0) return -1;
    struct tensor *out = step->out[0];
    out->datatype = values->datatype;
    out->rank = rank;
    for (int i = 0, from = 0; i < rank; i++)
        out->shape[i] = i == axis ? whole_number(depth, 0) : indices->shape[from++];
    return 0;
}

OP_RUN(one_hot) {
    const struct tensor *indices = step->in[0];
    const char *values = step->in[2]->data;
    struct tensor *out = step->out[0];
    size_t size = datatype_size(out->datatype);
    int axis;
    if (onnx__step_axis(step, onnx__step_int(step, "axis", -1), out->rank, &axis, err) != 0) return -1;
    int64_t depth = out->shape[axis], inner = onnx__shape_product(out, axis + 1, out->rank);
    for (size_t at = 0; at < out->size_bytes; at += size) memcpy((char *)out->data + at, values, size);
    for (int64_t i = 0, count = onnx__count(indices); i < count; i++) {
        int64_t index = whole_number(indices, i);
        if (index < -depth || index >= depth) continue;
        if (index < 0) index += depth;
        size_t at = (size_t)((i / inner * depth + index) * inner + i % inner);
        memcpy((char *)out->data + at * size, values + size, size);
    }
    return 0;
}

/* --- NonZero ----------------------------------------------------------------------------------------------------- */

/* For a floating point -0 too, which is no run of zero bytes. */
static bool is_zero(const struct tensor *x, int64_t at) {
    static const char zeros[8];
    size_t size = datatype_size(x->datatype);
    if (x->datatype == DATATYPE_FP32) return ((const float *)x->data)[at] == 0;
    if (x->datatype == DATATYPE_FP64) return ((const double *)x->data)[at] == 0;
    return memcmp((const char *)x->data + (size_t)at * size, zeros, size) == 0;
}

/* The output's shape is a matter of data: known only where the input is, and refused elsewhere. */
OP_INFER(non_zero) {
    const struct tensor *x = step->in[0];
    int64_t found = 0, count = onnx__count(x);
    for (int64_t i = 0; i < count; i++) found += !is_zero(x, i);
    onnx__shape_set(step->out[0], DATATYPE_INT64, 2, (int64_t[]){x->rank, found});
    return 0;
}

OP_RUN(non_zero) {
    const struct tensor *x = step->in[0];
    int64_t *to = step->out[0]->data, columns = step->out[0]->shape[1], found = 0;
    for (int64_t i = 0, count = onnx__count(x); i < count && found < columns; i++) {
        if (is_zero(x, i)) continue;
        int64_t rest = i;
        for (int dim = x->rank - 1; dim >= 0; dim--) {
            to[dim * columns + found] = rest % x->shape[dim];
            rest /= x->shape[dim];
        }
        found++;
    }
    return 0;
}
