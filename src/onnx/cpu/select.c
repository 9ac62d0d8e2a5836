/* Operators that keep or reorder whole slices of a tensor: Compress and ReverseSequence. */
#include "cpu_internal.h"

/* --- Compress ---------------------------------------------------------------------------------------------------- */

/* Without an axis the tensor is one line of elements; then the axis is that line. */
struct compress {
    bool flat;
    int axis;
    int64_t dim, outer;
    size_t chunk; /* bytes that one condition decides on, `outer` times */
};

static int compress_read(const struct onnx__step *step, struct compress *ret, struct err *err) {
    const struct tensor *x = step->in[0], *condition = step->in[1];
    const struct onnx__attr *axis = onnx__step_attr(step, "axis", ATTR_INT);
    size_t size = datatype_size(x->datatype);
    *ret = (struct compress){.flat = !axis, .dim = onnx__count(x), .outer = 1, .chunk = size};
    if (axis) {
        if (onnx__step_axis(step, axis->integer, x->rank, &ret->axis, err) != 0) return -1;
        ret->dim = x->shape[ret->axis];
        ret->outer = onnx__shape_product(x, 0, ret->axis);
        ret->chunk = (size_t)onnx__shape_product(x, ret->axis + 1, x->rank) * size;
    }
    if (condition->datatype != DATATYPE_BOOL || condition->rank != 1)
        return onnx__step_refuse(step, err, "the condition is not a list of BOOL");
    if (condition->shape[0] > ret->dim)
        return onnx__step_refuse(step, err, "%lld conditions for a dimension of %lld", (long long)condition->shape[0],
                                 (long long)ret->dim);
    return 0;
}

OP_INFER(compress) {
    const struct tensor *x = step->in[0], *condition = step->in[1];
    struct compress compress;
    int64_t kept = 0;
    if (compress_read(step, &compress, err) != 0) return -1;
    for (int64_t i = 0; i < condition->shape[0]; i++) kept += ((const uint8_t *)condition->data)[i] != 0;
    onnx__shape_like(step->out[0], x);
    if (compress.flat) step->out[0]->rank = 1;
    step->out[0]->shape[compress.axis] = kept;
    return 0;
}

/* The output is as long as the condition was when the shape was inferred; one that has changed since writes no more. */
OP_RUN(compress) {
    const struct tensor *x = step->in[0], *condition = step->in[1];
    struct compress compress;
    if (compress_read(step, &compress, err) != 0) return -1;
    int64_t kept = step->out[0]->shape[compress.axis];
    char *to = step->out[0]->data;
    for (int64_t i = 0; i < compress.outer && compress.chunk; i++)
        for (int64_t j = 0, done = 0; j < condition->shape[0] && done < kept; j++) {
            if (!((const uint8_t *)condition->data)[j]) continue;
            memcpy(to, (const char *)x->data + (size_t)(i * compress.dim + j) * compress.chunk, compress.chunk);
            to += compress.chunk;
            done++;
        }
    return 0;
}

/* --- ReverseSequence --------------------------------------------------------------------------------------------- */

static int reverse_read(const struct onnx__step *step, int64_t *ret_batch_axis, int64_t *ret_time_axis,
                        struct err *err) {
    const struct tensor *x = step->in[0], *lens = step->in[1];
    *ret_batch_axis = onnx__step_int(step, "batch_axis", 1);
    *ret_time_axis = onnx__step_int(step, "time_axis", 0);
    if (x->rank < 2 || *ret_batch_axis < 0 || *ret_batch_axis > 1 || *ret_time_axis != 1 - *ret_batch_axis)
        return onnx__step_refuse(step, err, "batch_axis and time_axis are not 0 and 1 of the input");
    if (lens->datatype != DATATYPE_INT64 || lens->rank != 1 || lens->shape[0] != x->shape[*ret_batch_axis])
        return onnx__step_refuse(step, err, "sequence_lens is not one INT64 for each of the batch");
    return 0;
}

OP_INFER(reverse_sequence) {
    int64_t batch_axis, time_axis;
    if (reverse_read(step, &batch_axis, &time_axis, err) != 0) return -1;
    return onnx__same_infer(step, err);
}

OP_RUN(reverse_sequence) {
    const struct tensor *x = step->in[0];
    const int64_t *lens = step->in[1]->data;
    int64_t batch_axis, time_axis;
    if (reverse_read(step, &batch_axis, &time_axis, err) != 0) return -1;
    int64_t batch = x->shape[batch_axis], steps = x->shape[time_axis];
    int64_t batch_stride = batch_axis == 0 ? steps : 1, time_stride = batch_axis == 0 ? 1 : batch;
    size_t chunk = (size_t)onnx__shape_product(x, 2, x->rank) * datatype_size(x->datatype);
    for (int64_t i = 0; i < batch; i++) {
        if (lens[i] < 0 || lens[i] > steps)
            return onnx__step_fail(step, err, "a sequence length of %lld with %lld steps", (long long)lens[i],
                                   (long long)steps);
        for (int64_t t = 0; t < steps && chunk; t++) {
            int64_t from = t < lens[i] ? lens[i] - 1 - t : t;
            memcpy((char *)step->out[0]->data + (size_t)(i * batch_stride + t * time_stride) * chunk,
                   (const char *)x->data + (size_t)(i * batch_stride + from * time_stride) * chunk, chunk);
        }
    }
    return 0;
}
