/* Operators that fill: Pad and CenterCropPad around their input, Trilu on one side of a diagonal, OneHot all but one
 * place, ConstantOfShape and Range everything; Dropout, of which at inference the mask alone is left. */
#include "kernel.cuh"

/* --- Pad, CenterCropPad ------------------------------------------------------------------------------------------ */

template <typename I> struct padding {
    enum onnx__pad_mode mode;
    int rank;
    cuda__divider<I> dims[TENSOR_MAX_RANK];                                        /* of the output */
    int64_t begin[TENSOR_MAX_RANK], size[TENSOR_MAX_RANK], steps[TENSOR_MAX_RANK]; /* size: of the input */
};

/* Which index of a dimension an index of the padded one shows; -1: the constant (cpu/pad.c). */
__device__ static int64_t shown(enum onnx__pad_mode mode, int64_t index, int64_t size) {
    if (index >= 0 && index < size) return index;
    int64_t period = 2 * (size - 1);
    switch (mode) {
    case PAD_REFLECT:
        if (period == 0) return 0;
        index = (index % period + period) % period;
        return index < size ? index : period - index;
    case PAD_EDGE:
        return index < 0 ? 0 : size - 1;
    case PAD_WRAP:
        return (index % size + size) % size;
    default:
        return -1;
    }
}

template <typename W, typename I>
__global__ void pad_kernel(int64_t n, padding<I> pad, const W *x, const W *given, W constant, W *to) {
    W around = given ? *given : constant;
    CUDA__EACH(i, n) {
        I rest = (I)i;
        int64_t at = 0;
        bool inside = true;
        for (int dim = pad.rank - 1; dim >= 0; dim--) {
            I index = rest;
            rest = cuda__divide(pad.dims[dim], &index);
            int64_t from = shown(pad.mode, (int64_t)index - pad.begin[dim], pad.size[dim]);
            inside = inside && from >= 0;
            at += from * pad.steps[dim];
        }
        to[i] = inside ? x[at] : around;
    }
}

/* A dimension without a pad is one with the dimension before it, where that has none either, or where what lies around
 * it is all the same. */
template <typename I> static padding<I> padding_of(const struct onnx__step *step, const struct onnx__pad *pad) {
    const struct tensor *x = step->in[0];
    padding<I> ret = {};
    int64_t dims[TENSOR_MAX_RANK];
    ret.mode = pad->mode;
    for (int i = 0; i < x->rank; i++) {
        int last = ret.rank - 1;
        bool bare = pad->begin[i] == 0 && pad->end[i] == 0;
        if (bare && last >= 0 && (pad->mode == PAD_CONSTANT || dims[last] == ret.size[last])) {
            dims[last] *= x->shape[i];
            ret.size[last] *= x->shape[i];
            ret.begin[last] *= x->shape[i];
        } else {
            last = ret.rank++;
            dims[last] = step->out[0]->shape[i];
            ret.size[last] = x->shape[i];
            ret.begin[last] = pad->begin[i];
        }
        ret.steps[last] = onnx__shape_product(x, i + 1, x->rank);
    }
    for (int i = 0; i < ret.rank; i++) ret.dims[i] = cuda__divider<I>::of(dims[i]);
    return ret;
}

static int launch_pad(const struct cuda__call *call, struct err *err, const struct onnx__pad *pad, const void *given,
                      const char constant[8]) {
    int64_t n = onnx__count(call->step->out[0]);
    if (n == 0) return 0;
    return cuda__with_element(datatype_size(call->step->in[0]->datatype), [&](auto word) {
        return cuda__with_index(n, [&](auto index) {
            using W = typename decltype(word)::type;
            using I = typename decltype(index)::type;
            W around = {};
            memcpy(&around, constant, sizeof around);
            return cuda__launch(call, err, pad_kernel<W, I>, cuda__blocks(call, n), CUDA__BLOCK, n,
                                padding_of<I>(call->step, pad), (const W *)call->in[0], (const W *)given, around,
                                (W *)call->out[0]);
        });
    });
}

extern "C" int cuda__pad_launch(const struct cuda__call *call, struct err *err) {
    struct onnx__pad pad;
    char constant[8];
    if (onnx__pad_read(call->step, &pad, err) != 0) return -1;
    onnx__pad_constant(call->step, constant);
    return launch_pad(call, err, &pad, call->step->in_count > 2 ? call->in[2] : NULL, constant);
}

extern "C" int cuda__center_crop_pad_launch(const struct cuda__call *call, struct err *err) {
    static const char zeros[8] = {};
    struct onnx__pad pad;
    if (onnx__center_crop_pad_read(call->step, &pad, err) != 0) return -1;
    return launch_pad(call, err, &pad, NULL, zeros);
}

/* --- Trilu ------------------------------------------------------------------------------------------------------- */

template <typename W, typename I>
__global__ void trilu_kernel(int64_t n, cuda__divider<I> rows, cuda__divider<I> cols, const int64_t *k, bool upper,
                             const W *x, W *to) {
    int64_t diagonal = k ? *k : 0, most_rows = rows.by, most_cols = cols.by;
    if (diagonal < -most_rows) diagonal = -most_rows; /* beyond the corner nothing changes */
    if (diagonal > most_cols) diagonal = most_cols;
    CUDA__EACH(i, n) {
        I col = (I)i, row = cuda__divide(cols, &col);
        (void)cuda__divide(rows, &row);
        int64_t beyond = (int64_t)col - (int64_t)row - diagonal; /* of the diagonal */
        to[i] = (upper ? beyond >= 0 : beyond <= 0) ? x[i] : W{};
    }
}

extern "C" int cuda__trilu_launch(const struct cuda__call *call, struct err *err) {
    const struct tensor *x = call->step->in[0];
    bool upper = onnx__step_int(call->step, "upper", 1) != 0;
    int64_t n = onnx__count(x);
    const void *k = call->step->in_count > 1 ? call->in[1] : NULL;
    if (n == 0) return 0;
    return cuda__with_element(datatype_size(x->datatype), [&](auto word) {
        return cuda__with_index(n, [&](auto index) {
            using W = typename decltype(word)::type;
            using I = typename decltype(index)::type;
            return cuda__launch(call, err, trilu_kernel<W, I>, cuda__blocks(call, n), CUDA__BLOCK, n,
                                cuda__divider<I>::of(x->shape[x->rank - 2]),
                                cuda__divider<I>::of(x->shape[x->rank - 1]), (const int64_t *)k, upper,
                                (const W *)call->in[0], (W *)call->out[0]);
        });
    });
}

/* --- OneHot ------------------------------------------------------------------------------------------------------ */

/* A fraction is cut off, and what is no number is far outside (cpu/gather.c). */
__device__ static int64_t whole_number(enum datatype datatype, const void *x, int64_t at) {
    double value;
    switch (datatype) {
    case DATATYPE_INT64:
        return ((const int64_t *)x)[at];
    case DATATYPE_INT32:
        return ((const int32_t *)x)[at];
    case DATATYPE_UINT8:
        return ((const uint8_t *)x)[at];
    case DATATYPE_FP64:
        value = ((const double *)x)[at];
        break;
    default:
        value = (double)((const float *)x)[at];
    }
    return value > -1e18 && value < 1e18 ? (int64_t)value : INT64_MAX;
}

template <typename W, typename I>
__global__ void one_hot_kernel(int64_t n, cuda__divider<I> depth, cuda__divider<I> inner, enum datatype datatype,
                               const void *indices, const W *values, W *to) {
    int64_t most = depth.by;
    CUDA__EACH(i, n) {
        I col = (I)i, row = cuda__divide(inner, &col), place = row;
        row = cuda__divide(depth, &place);
        int64_t index = whole_number(datatype, indices, (int64_t)row * inner.by + col);
        if (index < 0 && index >= -most) index += most;
        to[i] = values[index == (int64_t)place];
    }
}

extern "C" int cuda__one_hot_launch(const struct cuda__call *call, struct err *err) {
    const struct tensor *out = call->step->out[0];
    int64_t n = onnx__count(out);
    int axis;
    if (onnx__step_axis(call->step, onnx__step_int(call->step, "axis", -1), out->rank, &axis, err) != 0) return -1;
    if (n == 0) return 0;
    return cuda__with_element(datatype_size(out->datatype), [&](auto word) {
        return cuda__with_index(n, [&](auto index) {
            using W = typename decltype(word)::type;
            using I = typename decltype(index)::type;
            return cuda__launch(call, err, one_hot_kernel<W, I>, cuda__blocks(call, n), CUDA__BLOCK, n,
                                cuda__divider<I>::of(out->shape[axis]),
                                cuda__divider<I>::of(onnx__shape_product(out, axis + 1, out->rank)),
                                call->step->in[0]->datatype, call->in[0], (const W *)call->in[2], (W *)call->out[0]);
        });
    });
}

/* --- ConstantOfShape, Range -------------------------------------------------------------------------------------- */

/* Both are known with their shapes, and computed when the plan is made, unless they are too large for that. */
template <typename W> __global__ void constant_kernel(int64_t n, W value, W *to) { CUDA__EACH(i, n) to[i] = value; }

extern "C" int cuda__constant_of_shape_launch(const struct cuda__call *call, struct err *err) {
    const struct onnx__attr *value = onnx__step_attr(call->step, "value", ATTR_TENSOR);
    const struct tensor *out = call->step->out[0];
    int64_t n = onnx__count(out);
    return cuda__with_element(datatype_size(out->datatype), [&](auto word) {
        using W = typename decltype(word)::type;
        W one = {};
        if (value) memcpy(&one, value->tensor.data, sizeof one);
        return cuda__launch(call, err, constant_kernel<W>, cuda__blocks(call, n), CUDA__BLOCK, n, one,
                            (W *)call->out[0]);
    });
}

/* Whole numbers are counted in the unsigned type, which wraps. */
template <typename T> __global__ void range_kernel(int64_t n, const T *start, const T *delta, T *to) {
    CUDA__EACH(i, n) to[i] = *start + (T)i * *delta;
}

template <typename T> static int launch_range(const struct cuda__call *call, struct err *err) {
    int64_t n = onnx__count(call->step->out[0]);
    return cuda__launch(call, err, range_kernel<T>, cuda__blocks(call, n), CUDA__BLOCK, n, (const T *)call->in[0],
                        (const T *)call->in[2], (T *)call->out[0]);
}

extern "C" int cuda__range_launch(const struct cuda__call *call, struct err *err) {
    switch (call->step->out[0]->datatype) {
    case DATATYPE_FP32:
        return launch_range<float>(call, err);
    case DATATYPE_FP64:
        return launch_range<double>(call, err);
    case DATATYPE_INT32:
        return launch_range<uint32_t>(call, err);
    default:
        return launch_range<uint64_t>(call, err);
    }
}

/* --- Dropout ----------------------------------------------------------------------------------------------------- */

/* Output 0 is the input itself; nothing was dropped. */
extern "C" int cuda__dropout_launch(const struct cuda__call *call, struct err *err) {
    const struct onnx__step *step = call->step;
    if (step->out_count < 2 || !step->out[1] || step->out[1]->size_bytes == 0) return 0;
    CUDA__TRY(cudaMemsetAsync(call->out[1], 1, step->out[1]->size_bytes, call->device->stream), err);
    return 0;
}
