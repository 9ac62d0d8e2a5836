/* Operators that go along one axis: ArgMax, ArgMin, Hardmax and TopK, which compare, and CumSum.
 *
 * Every element becomes a key, as on the CPU (cpu/order.c): an unsigned number in the same order, in which the two zeros
 * are one and what is no number is the largest; here of the element's own 32 or 64 bits. To search for the smallest,
 * keys are turned around. Lanes whose elements are neighbours have a warp or a block each; lanes that lie side by side
 * have a thread each, so that a warp reads neighbours.
 *
 * TopK takes 32 bits of a key and 32 bits of a place for one number of 64 bits. No two are equal, so that the k largest
 * of them are what is asked for, ties and order included. A block finds the smallest of those digit by digit, 256 at a
 * time, by counting how many numbers have which digit; it collects what is not below it, and sorts that. Short lanes
 * are sorted at once. */
#include "kernel.cuh"

/* --- keys -------------------------------------------------------------------------------------------------------- */

__device__ static uint32_t key_of(float v) {
    uint32_t bits, sign = (uint32_t)1 << 31;
    if (v != v) return UINT32_MAX;
    v += 0.0f; /* -0 becomes 0 */
    memcpy(&bits, &v, sizeof bits);
    return bits & sign ? ~bits : bits | sign;
}
__device__ static uint64_t key_of(double v) {
    uint64_t bits, sign = (uint64_t)1 << 63;
    if (v != v) return UINT64_MAX;
    v += 0.0;
    memcpy(&bits, &v, sizeof bits);
    return bits & sign ? ~bits : bits | sign;
}
__device__ static uint32_t key_of(int32_t v) { return (uint32_t)v ^ (uint32_t)1 << 31; }
__device__ static uint64_t key_of(int64_t v) { return (uint64_t)v ^ (uint64_t)1 << 63; }

/* Where the elements of lane `lane` begin; they are `inner` apart. */
__device__ static int64_t lane_start(const struct onnx__lanes &lanes, int64_t lane) {
    return lane / lanes.inner * lanes.length * lanes.inner + lane % lanes.inner;
}
static int64_t lane_count(const struct onnx__lanes &lanes) { return lanes.outer * lanes.inner; }
static bool side_by_side(const struct onnx__lanes &lanes) { return lanes.inner >= CUDA__WARP; }

/* --- ArgMax, ArgMin, Hardmax ------------------------------------------------------------------------------------- */

struct search {
    struct onnx__lanes lanes;
    bool smallest, last;
};

/* The best of what one thread sees: every `step`th element from `first` on. -1: it sees none. */
template <typename T, typename K>
__device__ static int64_t find_own(const search &s, const T *x, int64_t first, int64_t step, K *ret_key) {
    int64_t found = -1;
    for (int64_t i = first; i < s.lanes.length; i += step) {
        K key = key_of(cuda__read(x + i * s.lanes.inner));
        if (s.smallest) key = ~key;
        if (found >= 0 && (key < *ret_key || (key == *ret_key && !s.last))) continue;
        *ret_key = key;
        found = i;
    }
    return found;
}

/* All threads of the lane get the place. */
template <typename T> __device__ static int64_t find_together(const search &s, const T *x) {
    decltype(key_of(cuda__read(x))) key = 0;
    int64_t own = find_own(s, x, threadIdx.x, blockDim.x, &key);
    bool best = cuda__block_join(key, decltype(key)(0), cuda__larger()) == key && own >= 0;
    return s.last ? cuda__block_join(best ? own : (int64_t)-1, (int64_t)-1, cuda__larger())
                  : cuda__block_join(best ? own : (int64_t)INT64_MAX, (int64_t)INT64_MAX, cuda__smaller());
}

template <typename T> CUDA__ROW_KERNEL arg_kernel(int64_t count, search s, const T *x, int64_t *out) {
    CUDA__EACH_ROW(lane, count) {
        int64_t found = find_together(s, x + lane_start(s.lanes, lane));
        if (threadIdx.x == 0) out[lane] = found;
    }
}
template <typename T> __global__ void arg_side_by_side_kernel(int64_t count, search s, const T *x, int64_t *out) {
    CUDA__EACH(lane, count) {
        decltype(key_of(cuda__read(x))) key = 0;
        out[lane] = find_own(s, x + lane_start(s.lanes, lane), 0, 1, &key);
    }
}
static CUDA__ROW_KERNEL hardmax_kernel(int64_t count, search s, const float *x, float *y) {
    CUDA__EACH_ROW(lane, count) {
        int64_t start = lane_start(s.lanes, lane), found = find_together(s, x + start);
        for (int64_t i = threadIdx.x; i < s.lanes.length; i += blockDim.x) y[start + i * s.lanes.inner] = i == found;
    }
}

static int launch_arg(const struct cuda__call *call, struct err *err, bool smallest) {
    const struct onnx__step *step = call->step;
    search s = {{}, smallest, onnx__step_int(step, "select_last_index", 0) != 0};
    if (onnx__lanes_along(step, onnx__step_int(step, "axis", 0), &s.lanes, err) != 0) return -1;
    int64_t count = lane_count(s.lanes);
    cuda__rows rows = cuda__rows_of(call, count, s.lanes.length);
    int rc = -1;
    BUG_ON(!cuda__with_number(step->in[0]->datatype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        rc = side_by_side(s.lanes)
                 ? cuda__launch(call, err, arg_side_by_side_kernel<T>, cuda__blocks(call, count), CUDA__BLOCK, count, s,
                                (const T *)call->in[0], (int64_t *)call->out[0])
                 : cuda__launch(call, err, arg_kernel<T>, rows.grid, rows.block, count, s, (const T *)call->in[0],
                                (int64_t *)call->out[0]);
    }));
    return rc;
}

extern "C" int cuda__arg_max_launch(const struct cuda__call *call, struct err *err) {
    return launch_arg(call, err, false);
}
extern "C" int cuda__arg_min_launch(const struct cuda__call *call, struct err *err) {
    return launch_arg(call, err, true);
}
extern "C" int cuda__hardmax_launch(const struct cuda__call *call, struct err *err) {
    search s = {};
    if (onnx__lanes_read(call->step, &s.lanes, err) != 0) return -1;
    if (s.lanes.length == 0) return 0;
    cuda__rows rows = cuda__rows_of(call, lane_count(s.lanes), s.lanes.length);
    return cuda__launch(call, err, hardmax_kernel, rows.grid, rows.block, lane_count(s.lanes), s,
                        (const float *)call->in[0], (float *)call->out[0]);
}

/* --- TopK -------------------------------------------------------------------------------------------------------- */

#define SORTED 1024 /* numbers that a block sorts in shared memory */
#define DIGITS 256

struct choice {
    struct onnx__lanes lanes;
    unsigned k;
    uint32_t turn; /* all ones: the smallest */
};

/* A number is never 0, since no place is UINT32_MAX. */
__device__ static uint64_t number_of(uint32_t key, uint32_t place) {
    return (uint64_t)key << 32 | (UINT32_MAX - place);
}
__device__ static uint32_t place_of(uint64_t number) { return UINT32_MAX - (uint32_t)number; }

/* Bitonic, the largest first; `count` is a power of 2. The block waits at both ends. */
__device__ static void sort(uint64_t *list, unsigned count) {
    for (unsigned width = 2; width <= count; width *= 2)
        for (unsigned gap = width / 2; gap > 0; gap /= 2) {
            __syncthreads();
            for (unsigned i = threadIdx.x; i < count; i += blockDim.x) {
                unsigned other = i ^ gap;
                uint64_t a = list[i], b = list[other];
                if (other < i || (a < b) != ((i & width) == 0)) continue;
                list[i] = b;
                list[other] = a;
            }
        }
    __syncthreads();
}

template <typename T> struct lane_reader {
    const choice &c;
    const T *x;
    __device__ uint64_t number(int64_t i) const {
        return number_of(key_of(cuda__read(x + i * c.lanes.inner)) ^ c.turn, (uint32_t)i);
    }
};

/* A number that exactly the k largest are not below. */
template <typename T> __device__ static uint64_t find_bar(const lane_reader<T> &lane) {
    __shared__ unsigned counts[DIGITS], digit, left;
    uint64_t bar = 0, mask = 0;
    if (threadIdx.x == 0) left = lane.c.k;
    for (int shift = 56; shift >= 0; shift -= 8) {
        for (unsigned i = threadIdx.x; i < DIGITS; i += blockDim.x) counts[i] = 0;
        __syncthreads();
        for (int64_t i = threadIdx.x; i < lane.c.lanes.length; i += blockDim.x) {
            uint64_t number = lane.number(i);
            if ((number & mask) == bar) atomicAdd(&counts[number >> shift & (DIGITS - 1)], 1u);
        }
        __syncthreads();
        if (threadIdx.x == 0)
            for (digit = DIGITS - 1; counts[digit] < left; digit--) left -= counts[digit];
        __syncthreads();
        bar |= (uint64_t)digit << shift;
        mask |= (uint64_t)(DIGITS - 1) << shift;
        bool all = counts[digit] == left; /* of this digit: the rest does not matter */
        __syncthreads();
        if (all) break;
    }
    return bar;
}

/* Puts what is to be sorted on the list; returns how many. */
template <typename T> __device__ static unsigned collect(const lane_reader<T> &lane, uint64_t *list) {
    __shared__ unsigned found;
    int64_t length = lane.c.lanes.length;
    if (length <= SORTED) {
        for (int64_t i = threadIdx.x; i < length; i += blockDim.x) list[i] = lane.number(i);
        return (unsigned)length;
    }
    uint64_t bar = find_bar(lane);
    if (threadIdx.x == 0) found = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < length; i += blockDim.x) {
        uint64_t number = lane.number(i);
        if (number >= bar) list[atomicAdd(&found, 1u)] = number;
    }
    return lane.c.k;
}

template <typename T> __global__ void top_k_kernel(int64_t lanes, choice c, const T *x, T *values, int64_t *indices) {
    __shared__ uint64_t list[SORTED];
    for (int64_t number = blockIdx.x; number < lanes; number += gridDim.x) {
        int64_t inner = c.lanes.inner, to = number / inner * c.k * inner + number % inner;
        lane_reader<T> lane = {c, x + lane_start(c.lanes, number)};
        unsigned count = collect(lane, list), full = 2;
        while (full < count) full *= 2;
        for (unsigned i = count + threadIdx.x; i < full; i += blockDim.x) list[i] = 0;
        sort(list, full);
        for (unsigned i = threadIdx.x; i < c.k; i += blockDim.x) {
            uint32_t place = place_of(list[i]);
            if (values) values[to + i * inner] = lane.x[place * inner];
            if (indices) indices[to + i * inner] = place;
        }
        __syncthreads();
    }
}

/* FP16, FP32 and INT32 have keys of 32 bits; of those as many as are sorted in shared memory. */
extern "C" bool cuda__top_k_takes(const struct onnx__step *step) {
    struct onnx__lanes lanes;
    struct err err;
    int64_t k;
    return onnx__top_k_read(step, &lanes, &k, &err) == 0 && k <= SORTED && lanes.length < UINT32_MAX;
}

template <typename T>
static int launch_top_k(const struct cuda__call *call, struct err *err, const choice &c, int64_t lanes) {
    int64_t most = (int64_t)call->device->multiprocessors * 16;
    return cuda__launch(call, err, top_k_kernel<T>, (unsigned)(lanes < most ? lanes : most), CUDA__BLOCK, lanes, c,
                        (const T *)call->in[0], (T *)call->out[0],
                        (int64_t *)(call->step->out_count > 1 ? call->out[1] : NULL));
}

extern "C" int cuda__top_k_launch(const struct cuda__call *call, struct err *err) {
    const struct onnx__step *step = call->step;
    choice c = {};
    int64_t k;
    if (onnx__top_k_read(step, &c.lanes, &k, err) != 0) return -1;
    int64_t lanes = lane_count(c.lanes);
    c.k = (unsigned)k;
    c.turn = step->opset < 11 || onnx__step_int(step, "largest", 1) != 0 ? 0 : UINT32_MAX;
    if (k == 0) return 0;
    switch (step->in[0]->datatype) {
    case DATATYPE_FP16:
        return launch_top_k<__half>(call, err, c, lanes);
    case DATATYPE_FP32:
        return launch_top_k<float>(call, err, c, lanes);
    default:
        return launch_top_k<int32_t>(call, err, c, lanes);
    }
}

/* --- CumSum ------------------------------------------------------------------------------------------------------ */

struct running {
    struct onnx__lanes lanes;
    bool exclusive, reverse;
    __device__ int64_t place(int64_t i) const { return (reverse ? lanes.length - 1 - i : i) * lanes.inner; }
};

/* The sum of `value` of this thread of the row and of those before it. *ret_before: of those before it alone; *ret_all:
 * of all. */
template <typename W> __device__ static W sum_up(W value, W *ret_before, W *ret_all) {
    __shared__ W parts[CUDA__WARP];
    unsigned lane = threadIdx.x % CUDA__WARP, warp = threadIdx.x / CUDA__WARP;
    for (unsigned gap = 1; gap < CUDA__WARP; gap *= 2) {
        W left = __shfl_up_sync(0xffffffffu, value, gap);
        if (lane >= gap) value += left;
    }
    W before = __shfl_up_sync(0xffffffffu, value, 1), all = __shfl_sync(0xffffffffu, value, CUDA__WARP - 1);
    if (lane == 0) before = 0;
    if (blockDim.x > CUDA__WARP) {
        W earlier = 0;
        if (lane == 0) parts[warp] = all;
        __syncthreads();
        all = 0;
        for (unsigned i = 0; i < blockDim.x / CUDA__WARP; i++) {
            if (i == warp) earlier = all;
            all += parts[i];
        }
        __syncthreads();
        value += earlier;
        before += earlier;
    }
    *ret_before = before;
    *ret_all = all;
    return value;
}

template <typename T, typename W> CUDA__ROW_KERNEL sum_kernel(int64_t count, running r, const T *x, T *y) {
    CUDA__EACH_ROW(lane, count) {
        int64_t start = lane_start(r.lanes, lane);
        W carried = 0;
        for (int64_t first = 0; first < r.lanes.length; first += blockDim.x) {
            int64_t i = first + threadIdx.x, at = start + r.place(i);
            bool inside = i < r.lanes.length;
            W before, all, sum = sum_up(inside ? (W)x[at] : (W)0, &before, &all);
            if (inside) y[at] = (T)(carried + (r.exclusive ? before : sum));
            carried += all;
        }
    }
}
template <typename T, typename W> __global__ void sum_side_by_side_kernel(int64_t count, running r, const T *x, T *y) {
    CUDA__EACH(lane, count) {
        int64_t start = lane_start(r.lanes, lane);
        W sum = 0;
        for (int64_t i = 0; i < r.lanes.length; i++) {
            int64_t at = start + r.place(i);
            W before = sum;
            sum += (W)x[at];
            y[at] = (T)(r.exclusive ? before : sum);
        }
    }
}

template <typename T, typename W>
static int launch_sum(const struct cuda__call *call, struct err *err, const running &r) {
    int64_t count = lane_count(r.lanes);
    cuda__rows rows = cuda__rows_of(call, count, r.lanes.length);
    if (side_by_side(r.lanes))
        return cuda__launch(call, err, sum_side_by_side_kernel<T, W>, cuda__blocks(call, count), CUDA__BLOCK, count, r,
                            (const T *)call->in[0], (T *)call->out[0]);
    return cuda__launch(call, err, sum_kernel<T, W>, rows.grid, rows.block, count, r, (const T *)call->in[0],
                        (T *)call->out[0]);
}

/* Real numbers are summed as FP64, whole ones wrap. */
extern "C" int cuda__cum_sum_launch(const struct cuda__call *call, struct err *err) {
    running r = {{}, onnx__step_int(call->step, "exclusive", 0) != 0, onnx__step_int(call->step, "reverse", 0) != 0};
    if (onnx__cum_sum_read(call->step, &r.lanes, err) != 0) return -1;
    switch (call->step->in[0]->datatype) {
    case DATATYPE_FP32:
        return launch_sum<float, double>(call, err, r);
    case DATATYPE_FP64:
        return launch_sum<double, double>(call, err, r);
    case DATATYPE_INT32:
    case DATATYPE_UINT32:
        return launch_sum<uint32_t, uint32_t>(call, err, r);
    default:
        return launch_sum<uint64_t, uint64_t>(call, err, r);
    }
}
