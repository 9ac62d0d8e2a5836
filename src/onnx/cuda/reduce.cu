/* ReduceSum and its kin. The input is seen in two parts, the dimensions that stay and those that go (cpu/reduce.c).
 *
 * Where those that go end with the input's last, an output's elements follow each other: a row, which a warp or a block
 * takes in together. Where one that stays is the last, 32 outputs lie side by side, and a block takes in a column for
 * each, eight elements at a time. Real numbers are totalled in FP32, or FP64 for those: many short sums, joined as a
 * tree, keep the digits that one long sum would lose; but a square beyond the range of FP32 is infinite here, and not
 * on the CPU. Whole numbers wrap, in uint64_t. LogSumExp goes over its elements twice, first for the largest one, so that
 * no exponential overflows. */
#include "kernel.cuh"

#include <type_traits>

/* --- operators --------------------------------------------------------------------------------------------------- */

/* What values of type V are totalled in. */
template <typename V> struct wide { using type = uint64_t; };
template <> struct wide<float> { using type = float; };
template <> struct wide<double> { using type = double; };
/* What they are compared in: one that shuffles know. */
template <typename V> struct ordered { using type = V; };
template <> struct ordered<uint8_t> { using type = int32_t; };

/* An operator: what a total begins with, takes an element in as, and is joined to another by. */
#define TOTALS(name, first, expr, joined)                                                                              \
    struct name {                                                                                                      \
        template <typename V> using total = typename wide<V>::type;                                                    \
        template <typename V> __device__ static total<V> begin() { return first; }                                     \
        template <typename V> __device__ static total<V> take(total<V> t, V given) {                                   \
            total<V> v = (total<V>)given;                                                                              \
            return expr;                                                                                               \
        }                                                                                                              \
        template <typename W> __device__ W operator()(W a, W b) const { return joined; }                               \
    };
TOTALS(sum, 0, t + v, a + b)
TOTALS(product, 1, t *v, a *b)
TOTALS(squares, 0, t + v * v, a + b)
TOTALS(sizes, 0, t + (given < 0 ? 0 - v : v), a + b)

template <typename V> __device__ static V lowest() { return -INFINITY; }
template <> __device__ int32_t lowest() { return INT32_MIN; }
template <> __device__ int64_t lowest() { return INT64_MIN; }
template <> __device__ uint8_t lowest() { return 0; } /* of truths */
template <typename V> __device__ static V highest() { return INFINITY; }
template <> __device__ int32_t highest() { return INT32_MAX; }
template <> __device__ int64_t highest() { return INT64_MAX; }
template <> __device__ uint8_t highest() { return 1; }

#define CHOOSES(name, first, better)                                                                                   \
    struct name : better {                                                                                             \
        template <typename V> using total = typename ordered<V>::type;                                                 \
        template <typename V> __device__ static total<V> begin() { return first<V>(); }                                \
        template <typename V> __device__ static total<V> take(total<V> t, V v) { return better()((total<V>)v, t); }    \
    };
CHOOSES(largest, lowest, cuda__larger)
CHOOSES(smallest, highest, cuda__smaller)

enum finish { AS_IS, MEAN, ROOT, LOGARITHM };

template <typename W> __device__ static W finished(W total, enum finish finish, int64_t count) {
    if constexpr (std::is_floating_point<W>::value) {
        if (finish == MEAN) return total / (W)count;
        if (finish == ROOT) return sqrt(total);
        return finish == LOGARITHM ? log(total) : total;
    } else {
        return finish == MEAN && count ? (W)((int64_t)total / count) : total;
    }
}

/* --- rows and columns -------------------------------------------------------------------------------------------- */

struct parts {
    int64_t outputs, count; /* count: elements that make one */
    cuda__walk<uint32_t, 1> kept, gone;
    enum finish finish;
    __device__ int64_t start(int64_t output) const { return at(kept, output); }
    __device__ int64_t element(int64_t number) const { return at(gone, number); }
    __device__ static int64_t at(const cuda__walk<uint32_t, 1> &walk, int64_t i) {
        int64_t ret;
        cuda__walk_find(walk, (uint32_t)i, &ret);
        return ret;
    }
};

template <typename T, typename O> CUDA__ROW_KERNEL rows_kernel(parts p, const T *x, T *out, O join) {
    using V = decltype(cuda__read(x));
    CUDA__EACH_ROW(row, p.outputs) {
        const T *from = x + p.start(row);
        auto total = O::template begin<V>();
        for (int64_t i = threadIdx.x; i < p.count; i += blockDim.x)
            total = O::template take<V>(total, cuda__read(from + p.element(i)));
        total = cuda__block_join(total, O::template begin<V>(), join);
        if (threadIdx.x == 0) cuda__write(out + row, finished(total, p.finish, p.count));
    }
}

#define COLUMN 8    /* threads that share an output */
#define LONG   1024 /* a column with more elements has a block of its own, unless there are enough columns */

template <typename T, typename O> __global__ void columns_kernel(parts p, const T *x, T *out, O join) {
    using V = decltype(cuda__read(x));
    using W = typename O::template total<V>;
    __shared__ W totals[COLUMN][CUDA__WARP];
    for (int64_t first = (int64_t)blockIdx.x * CUDA__WARP; first < p.outputs;
         first += (int64_t)gridDim.x * CUDA__WARP) {
        int64_t output = first + threadIdx.x;
        W total = O::template begin<V>();
        if (output < p.outputs) {
            const T *from = x + p.start(output);
            for (int64_t i = threadIdx.y; i < p.count; i += COLUMN)
                total = O::template take<V>(total, cuda__read(from + p.element(i)));
        }
        totals[threadIdx.y][threadIdx.x] = total;
        __syncthreads();
        if (threadIdx.y == 0 && output < p.outputs) {
            for (int k = 1; k < COLUMN; k++) total = join(total, totals[k][threadIdx.x]);
            cuda__write(out + output, finished(total, p.finish, p.count));
        }
        __syncthreads();
    }
}

/* Infinities have no difference, hence the comparison. */
template <typename T> CUDA__ROW_KERNEL log_sum_exp_kernel(parts p, const T *x, T *out) {
    using V = decltype(cuda__read(x));
    CUDA__EACH_ROW(row, p.outputs) {
        const T *from = x + p.start(row);
        V most = -INFINITY, total = 0;
        for (int64_t i = threadIdx.x; i < p.count; i += blockDim.x)
            most = cuda__larger()(cuda__read(from + p.element(i)), most);
        most = cuda__block_join(most, (V)-INFINITY, cuda__larger());
        for (int64_t i = threadIdx.x; i < p.count; i += blockDim.x) {
            V v = cuda__read(from + p.element(i));
            total += v == most ? 1 : exp(v - most);
        }
        total = cuda__block_join(total, (V)0, cuda__plus());
        if (threadIdx.x == 0) cuda__write(out + row, log(total) + most);
    }
}

/* --- launches ---------------------------------------------------------------------------------------------------- */

/* Indices are taken apart in 31 bits. */
extern "C" bool cuda__reduce_takes(const struct onnx__step *step) { return onnx__count(step->in[0]) <= INT32_MAX; }

/* 1: there is nothing to launch. *ret_side_by_side: the outputs are columns. */
static int read_parts(const struct cuda__call *call, enum finish finish, parts *ret, bool *ret_side_by_side,
                      struct err *err) {
    const struct tensor *x = call->step->in[0], *out = call->step->out[0];
    size_t size = datatype_size(x->datatype);
    struct onnx__reduce reduce;
    if (onnx__reduce_read(call->step, &reduce, err) != 0) return -1;
    if (out->size_bytes == 0) return 1;
    if (reduce.nothing) {
        CUDA__TRY(
            cudaMemcpyAsync(call->out[0], call->in[0], out->size_bytes, cudaMemcpyDeviceToDevice, call->device->stream),
            err);
        return 1;
    }
    struct onnx__strided kept = onnx__reduce_part(x, reduce.axes, true),
                         gone = onnx__reduce_part(x, reduce.axes, false);
    *ret = {onnx__count(out), reduce.count, cuda__walk_of<uint32_t>(&kept, size), cuda__walk_of<uint32_t>(&gone, size),
            finish};
    bool neighbours = kept.strides[kept.rank - 1] == (int64_t)size && kept.shape[kept.rank - 1] >= COLUMN &&
                      gone.strides[gone.rank - 1] != (int64_t)size;
    bool busy = ret->outputs >= (int64_t)call->device->multiprocessors * CUDA__WARP;
    *ret_side_by_side = neighbours && (busy || ret->count <= LONG);
    return 0;
}

template <typename T, typename O>
static int launch_as(const struct cuda__call *call, struct err *err, const parts &p, bool side_by_side, O op) {
    int64_t most = (int64_t)call->device->multiprocessors * 16, blocks = (p.outputs + CUDA__WARP - 1) / CUDA__WARP;
    cuda__rows rows = cuda__rows_of(call, p.outputs, p.count);
    if (side_by_side)
        return cuda__launch(call, err, columns_kernel<T, O>, (unsigned)(blocks < most ? blocks : most),
                            dim3(CUDA__WARP, COLUMN), p, (const T *)call->in[0], (T *)call->out[0], op);
    return cuda__launch(call, err, rows_kernel<T, O>, rows.grid, rows.block, p, (const T *)call->in[0],
                        (T *)call->out[0], op);
}

template <typename O>
static int launch_reduction(const struct cuda__call *call, struct err *err, enum finish finish, O op) {
    parts p;
    bool side_by_side;
    int rc = read_parts(call, finish, &p, &side_by_side, err);
    if (rc != 0) return rc < 0 ? -1 : 0;
    BUG_ON(!cuda__with_number(call->step->in[0]->datatype, [&](auto tag) {
        rc = launch_as<typename decltype(tag)::type>(call, err, p, side_by_side, op);
    }));
    return rc;
}

template <typename O> static int launch_choice(const struct cuda__call *call, struct err *err, O op) {
    parts p;
    bool side_by_side;
    if (call->step->in[0]->datatype != DATATYPE_BOOL) return launch_reduction(call, err, AS_IS, op);
    int rc = read_parts(call, AS_IS, &p, &side_by_side, err);
    return rc != 0 ? (rc < 0 ? -1 : 0) : launch_as<uint8_t>(call, err, p, side_by_side, op);
}

#define REDUCTION(name, op, finish)                                                                                    \
    extern "C" int cuda__##name##_launch(const struct cuda__call *call, struct err *err) {                             \
        return launch_reduction(call, err, finish, op());                                                              \
    }
REDUCTION(reduce_l1, sizes, AS_IS)
REDUCTION(reduce_l2, squares, ROOT)
REDUCTION(reduce_log_sum, sum, LOGARITHM)
REDUCTION(reduce_mean, sum, MEAN)
REDUCTION(reduce_prod, product, AS_IS)
REDUCTION(reduce_sum, sum, AS_IS)
REDUCTION(reduce_sum_square, squares, AS_IS)
extern "C" int cuda__reduce_max_launch(const struct cuda__call *call, struct err *err) {
    return launch_choice(call, err, largest());
}
extern "C" int cuda__reduce_min_launch(const struct cuda__call *call, struct err *err) {
    return launch_choice(call, err, smallest());
}

extern "C" int cuda__reduce_log_sum_exp_launch(const struct cuda__call *call, struct err *err) {
    parts p;
    bool side_by_side;
    int rc = read_parts(call, AS_IS, &p, &side_by_side, err);
    if (rc != 0) return rc < 0 ? -1 : 0;
    cuda__rows rows = cuda__rows_of(call, p.outputs, p.count);
    BUG_ON(!cuda__with_real(call->step->in[0]->datatype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        rc = cuda__launch(call, err, log_sum_exp_kernel<T>, rows.grid, rows.block, p, (const T *)call->in[0],
                          (T *)call->out[0]);
    }));
    return rc;
}
