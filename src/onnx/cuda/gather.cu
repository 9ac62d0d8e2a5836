/* Operators that pick elements by number, Gather, GatherElements, GatherND and ReverseSequence, and those that write by
 * number into a copy of their input, ScatterElements and ScatterND.
 *
 * The numbers are data: each is checked where it is used, and one that is out of range is a fault of the run and moves
 * nothing. What they pick is moved unread, in words of up to 16 bytes. Updates that are added or otherwise joined to
 * what is there are joined atomically, in no order; that asks for words of 4 or 8 bytes, and others run on the CPU. Of
 * updates of one place that are not joined any one may win, which ONNX leaves open. */
#include "kernel.cuh"

/* --- numbers ----------------------------------------------------------------------------------------------------- */

struct numbers {
    const void *at;
    bool wide; /* INT64, else INT32 */
    struct cuda__fault *fault;
    unsigned step;

    __device__ int64_t read(int64_t i) const { return wide ? ((const int64_t *)at)[i] : ((const int32_t *)at)[i]; }
    /* Number i, counted from the front of a dimension of `dim`; false: it is out of range. */
    __device__ bool find(int64_t i, int64_t dim, int64_t *ret) const {
        int64_t index = read(i);
        bool inside = index >= -dim && index < dim;
        if (!inside) cuda__raise(fault, step, CUDA__INDEX_OUT_OF_RANGE);
        *ret = index < 0 ? index + dim : index;
        return inside;
    }
};

static numbers numbers_of(const struct cuda__call *call) {
    return {call->in[1], call->step->in[1]->datatype == DATATYPE_INT64, call->device->fault, call->number};
}

/* Launches what moves an output in chunks of so many bytes: launch(word, index, words in all, words of a chunk). */
template <typename F> static int with_words(const struct cuda__call *call, int64_t chunk, F launch) {
    int64_t size = (int64_t)cuda__word_of(chunk), n = (int64_t)call->step->out[0]->size_bytes / size;
    if (n == 0) return 0;
    return cuda__with_word((size_t)size, [&](auto word) {
        return cuda__with_index(n, [&](auto index) { return launch(word, index, n, chunk / size); });
    });
}

/* --- Gather ------------------------------------------------------------------------------------------------------ */

/* The output seen as [outer, count, chunk]. */
template <typename W, typename I>
__global__ void gather_kernel(int64_t n, cuda__divider<I> count, cuda__divider<I> chunk, int64_t dim, numbers list,
                              const W *from, W *to) {
    CUDA__EACH(i, n) {
        I col = (I)i, which = cuda__divide(chunk, &col), outer = cuda__divide(count, &which);
        int64_t index;
        if (list.find(which, dim, &index)) to[i] = from[((int64_t)outer * dim + index) * chunk.by + col];
    }
}

extern "C" int cuda__gather_launch(const struct cuda__call *call, struct err *err) {
    const struct tensor *x = call->step->in[0];
    int axis;
    if (onnx__step_axis(call->step, onnx__step_int(call->step, "axis", 0), x->rank, &axis, err) != 0) return -1;
    int64_t chunk = onnx__shape_product(x, axis + 1, x->rank) * (int64_t)datatype_size(x->datatype);
    return with_words(call, chunk, [&](auto word, auto index, int64_t n, int64_t words) {
        using W = typename decltype(word)::type;
        using I = typename decltype(index)::type;
        return cuda__launch(call, err, gather_kernel<W, I>, cuda__blocks(call, n), CUDA__BLOCK, n,
                            cuda__divider<I>::of(onnx__count(call->step->in[1])), cuda__divider<I>::of(words),
                            x->shape[axis], numbers_of(call), (const W *)call->in[0], (W *)call->out[0]);
    });
}

/* --- joining ----------------------------------------------------------------------------------------------------- */

template <size_t SIZE> struct bits_of { using type = unsigned; };
template <> struct bits_of<8> { using type = unsigned long long; };

/* *at becomes `join` of itself and `value`, whatever others do to it meanwhile. */
template <typename T, typename F> __device__ static void join_at(T *at, T value, F join) {
    using B = typename bits_of<sizeof(T)>::type;
    B seen = *(volatile B *)at, expected;
    do {
        expected = seen;
        T before, after;
        B wanted;
        memcpy(&before, &expected, sizeof before);
        after = join(before, value);
        memcpy(&wanted, &after, sizeof wanted);
        seen = atomicCAS((B *)at, expected, wanted);
    } while (seen != expected);
}

/* What becomes of a place and its update. Whole numbers come as unsigned ones where they may wrap. */
struct replace {
    template <typename T> __device__ void operator()(T *at, T value) const { *at = value; }
};
#define JOINED(name, expr)                                                                                             \
    struct name {                                                                                                      \
        template <typename T> __device__ T operator()(T a, T b) const { return expr; }                                 \
        template <typename T> __device__ void operator()(T *at, T value) const { join_at(at, value, *this); }          \
    };
JOINED(join_sum, a + b)
JOINED(join_product, a *b)
JOINED(join_largest, b > a ? b : a)
JOINED(join_smallest, b < a ? b : a)

template <typename F> static int with_joined(enum datatype datatype, F f) {
    switch (datatype) {
    case DATATYPE_FP32:
        return f(cuda__tag<float>());
    case DATATYPE_FP64:
        return f(cuda__tag<double>());
    case DATATYPE_INT32:
        return f(cuda__tag<int32_t>());
    default:
        return f(cuda__tag<int64_t>());
    }
}
template <typename F> static int with_wrapping(enum datatype datatype, F f) {
    if (datatype == DATATYPE_INT32) return f(cuda__tag<uint32_t>());
    return datatype == DATATYPE_INT64 ? f(cuda__tag<uint64_t>()) : with_joined(datatype, f);
}

extern "C" bool cuda__scatter_takes(const struct onnx__step *step) {
    enum onnx__reduction reduction;
    struct err err;
    return onnx__scatter_reduction(step, &reduction, &err) == 0 &&
           (reduction == REDUCE_NONE || step->in[0]->datatype != DATATYPE_UINT8);
}

/* Copies the data to the output, then calls launch(tag of what is moved, its size, what becomes of it). */
template <typename F> static int launch_scatter(const struct cuda__call *call, struct err *err, size_t word, F launch) {
    const struct tensor *out = call->step->out[0];
    enum onnx__reduction reduction;
    if (onnx__scatter_reduction(call->step, &reduction, err) != 0) return -1;
    if (out->size_bytes)
        CUDA__TRY(
            cudaMemcpyAsync(call->out[0], call->in[0], out->size_bytes, cudaMemcpyDeviceToDevice, call->device->stream),
            err);
    switch (reduction) {
    case REDUCE_NONE:
        return cuda__with_word(word, [&](auto tag) { return launch(tag, replace()); });
    case REDUCE_ADD:
        return with_wrapping(out->datatype, [&](auto tag) { return launch(tag, join_sum()); });
    case REDUCE_MUL:
        return with_wrapping(out->datatype, [&](auto tag) { return launch(tag, join_product()); });
    case REDUCE_MAX:
        return with_joined(out->datatype, [&](auto tag) { return launch(tag, join_largest()); });
    default:
        return with_joined(out->datatype, [&](auto tag) { return launch(tag, join_smallest()); });
    }
}

/* --- GatherElements, ScatterElements ----------------------------------------------------------------------------- */

/* Where index i points in input 0: its own place but for one coordinate. */
template <typename I> struct pointer {
    cuda__walk<I, 1> walk; /* along the indices; goes nowhere along the axis */
    int64_t dim, step;     /* of the axis */
    numbers list;
    __device__ bool find(int64_t i, int64_t *ret) const {
        int64_t index;
        cuda__walk_find(walk, (I)i, ret);
        bool inside = list.find(i, dim, &index);
        *ret += index * step;
        return inside;
    }
};

template <typename I> static pointer<I> pointer_of(const struct cuda__call *call, int axis) {
    const struct tensor *x = call->step->in[0], *indices = call->step->in[1];
    struct onnx__strided view = onnx__strided_of(x);
    size_t size = datatype_size(x->datatype);
    int64_t step = view.strides[axis] / (int64_t)size;
    for (int i = 0; i < view.rank; i++) view.shape[i] = indices->shape[i];
    view.strides[axis] = 0;
    view = onnx__strided_joined(&view, size);
    return {cuda__walk_of<I>(&view, size), x->shape[axis], step, numbers_of(call)};
}

template <typename W, typename I>
__global__ void gather_elements_kernel(int64_t n, pointer<I> p, const W *from, W *to) {
    CUDA__EACH(i, n) {
        int64_t at;
        if (p.find(i, &at)) to[i] = from[at];
    }
}

template <typename T, typename I, typename F>
__global__ void scatter_elements_kernel(int64_t n, pointer<I> p, const T *from, T *to, F put) {
    CUDA__EACH(i, n) {
        int64_t at;
        if (p.find(i, &at)) put(to + at, from[i]);
    }
}

extern "C" int cuda__gather_elements_launch(const struct cuda__call *call, struct err *err) {
    int64_t n = onnx__count(call->step->in[1]);
    int axis;
    if (onnx__elements_axis(call->step, &axis, err) != 0) return -1;
    if (n == 0) return 0;
    return cuda__with_element(datatype_size(call->step->in[0]->datatype), [&](auto element) {
        return cuda__with_index(n, [&](auto index) {
            using W = typename decltype(element)::type;
            using I = typename decltype(index)::type;
            return cuda__launch(call, err, gather_elements_kernel<W, I>, cuda__blocks(call, n), CUDA__BLOCK, n,
                                pointer_of<I>(call, axis), (const W *)call->in[0], (W *)call->out[0]);
        });
    });
}

extern "C" int cuda__scatter_elements_launch(const struct cuda__call *call, struct err *err) {
    int64_t n = onnx__count(call->step->in[1]);
    int axis;
    if (onnx__elements_axis(call->step, &axis, err) != 0) return -1;
    return launch_scatter(call, err, datatype_size(call->step->in[0]->datatype), [&](auto element, auto put) {
        return cuda__with_index(n, [&](auto index) {
            using T = typename decltype(element)::type;
            using I = typename decltype(index)::type;
            return cuda__launch(call, err, scatter_elements_kernel<T, I, decltype(put)>, cuda__blocks(call, n),
                                CUDA__BLOCK, n, pointer_of<I>(call, axis), (const T *)call->in[2], (T *)call->out[0],
                                put);
        });
    });
}

/* --- GatherND, ScatterND ----------------------------------------------------------------------------------------- */

/* Where a tuple's chunk begins in input 0, in chunks. */
struct tuples {
    int length;
    int64_t per_batch, batch, dims[TENSOR_MAX_RANK]; /* batch: chunks of one */
    numbers list;
    __device__ bool find(int64_t number, int64_t *ret) const {
        int64_t at = 0;
        for (int i = 0; i < length; i++) {
            int64_t index;
            if (!list.find(number * length + i, dims[i], &index)) return false;
            at = at * dims[i] + index;
        }
        *ret = number / per_batch * batch + at;
        return true;
    }
};

static tuples tuples_of(const struct cuda__call *call, const struct onnx__tuples *read) {
    tuples ret = {};
    ret.length = read->length;
    ret.per_batch = read->per_batch;
    ret.batch = read->batch_size / read->chunk;
    for (int i = 0; i < read->length; i++) ret.dims[i] = call->step->in[0]->shape[read->batch_dims + i];
    ret.list = numbers_of(call);
    return ret;
}

template <typename W, typename I>
__global__ void gather_nd_kernel(int64_t n, cuda__divider<I> chunk, tuples t, const W *from, W *to) {
    CUDA__EACH(i, n) {
        I col = (I)i, number = cuda__divide(chunk, &col);
        int64_t at;
        if (t.find(number, &at)) to[i] = from[at * chunk.by + col];
    }
}

template <typename T, typename I, typename F>
__global__ void scatter_nd_kernel(int64_t n, cuda__divider<I> chunk, tuples t, const T *from, T *to, F put) {
    CUDA__EACH(i, n) {
        I col = (I)i, number = cuda__divide(chunk, &col);
        int64_t at;
        if (t.find(number, &at)) put(to + at * chunk.by + col, from[i]);
    }
}

extern "C" int cuda__gather_nd_launch(const struct cuda__call *call, struct err *err) {
    struct onnx__tuples read;
    if (onnx__tuples_read(call->step, onnx__step_int(call->step, "batch_dims", 0), &read, err) != 0) return -1;
    int64_t chunk = read.chunk * (int64_t)datatype_size(call->step->in[0]->datatype);
    return with_words(call, chunk, [&](auto word, auto index, int64_t n, int64_t words) {
        using W = typename decltype(word)::type;
        using I = typename decltype(index)::type;
        return cuda__launch(call, err, gather_nd_kernel<W, I>, cuda__blocks(call, n), CUDA__BLOCK, n,
                            cuda__divider<I>::of(words), tuples_of(call, &read), (const W *)call->in[0],
                            (W *)call->out[0]);
    });
}

extern "C" int cuda__scatter_nd_launch(const struct cuda__call *call, struct err *err) {
    struct onnx__tuples read;
    if (onnx__tuples_read(call->step, 0, &read, err) != 0) return -1;
    int64_t chunk = read.chunk * (int64_t)datatype_size(call->step->in[0]->datatype), rows = read.per_batch;
    return launch_scatter(call, err, cuda__word_of(chunk), [&](auto element, auto put) {
        using T = typename decltype(element)::type;
        int64_t length = chunk / (int64_t)sizeof(T), n = rows * length;
        if (n == 0) return 0;
        return cuda__with_index(n, [&](auto index) {
            using I = typename decltype(index)::type;
            return cuda__launch(call, err, scatter_nd_kernel<T, I, decltype(put)>, cuda__blocks(call, n), CUDA__BLOCK,
                                n, cuda__divider<I>::of(length), tuples_of(call, &read), (const T *)call->in[2],
                                (T *)call->out[0], put);
        });
    });
}

/* --- ReverseSequence --------------------------------------------------------------------------------------------- */

/* [outer, inner, chunk], of which one is the batch and the other time. */
template <typename W, typename I>
__global__ void reverse_kernel(int64_t n, cuda__divider<I> inner, cuda__divider<I> chunk, bool batch_first,
                               int64_t steps, numbers lens, const W *from, W *to) {
    CUDA__EACH(i, n) {
        I col = (I)i, place = cuda__divide(chunk, &col), outer = cuda__divide(inner, &place);
        int64_t item = batch_first ? outer : place, t = batch_first ? place : outer, length = lens.read(item);
        if (length < 0 || length > steps) {
            cuda__raise(lens.fault, lens.step, CUDA__LENGTH_OUT_OF_RANGE);
            continue;
        }
        if (t < length) t = length - 1 - t;
        to[i] = from[(batch_first ? item * inner.by + t : t * inner.by + item) * chunk.by + col];
    }
}

extern "C" int cuda__reverse_sequence_launch(const struct cuda__call *call, struct err *err) {
    const struct tensor *x = call->step->in[0];
    bool batch_first = onnx__step_int(call->step, "batch_axis", 1) == 0;
    int64_t chunk = onnx__shape_product(x, 2, x->rank) * (int64_t)datatype_size(x->datatype);
    return with_words(call, chunk, [&](auto word, auto index, int64_t n, int64_t words) {
        using W = typename decltype(word)::type;
        using I = typename decltype(index)::type;
        return cuda__launch(call, err, reverse_kernel<W, I>, cuda__blocks(call, n), CUDA__BLOCK, n,
                            cuda__divider<I>::of(x->shape[1]), cuda__divider<I>::of(words), batch_first,
                            x->shape[batch_first ? 1 : 0], numbers_of(call), (const W *)call->in[0], (W *)call->out[0]);
    });
}
