/* What kernels and their launches share: the one way to launch, a loop over elements, numbers of 16 bits, words that are
 * moved unread, division by what all threads share, faults, sums of a block.
 *
 * Every .cu file of this folder is compiled twice: by nvcc, and by the host's compiler against the stand-in in
 * tests/cuda_emulation, where the tests run it. So kernels are launched by cuda__launch alone, and call what the
 * stand-in has too: threadIdx and its kin, __syncthreads, __shfl_*_sync with a full mask, atomics, __half. */
#ifndef PENSTOCK_ONNX_CUDA_KERNEL_CUH
#define PENSTOCK_ONNX_CUDA_KERNEL_CUH

#include <math.h>

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "cuda_internal.h"

#define CUDA__BLOCK 256 /* threads of a block, where nothing asks for another number */
#define CUDA__WARP  32

/* Arguments are converted to the kernel's parameters. An empty grid launches nothing. */
template <typename... P, typename... A>
int cuda__launch(const struct cuda__call *call, struct err *err, void (*kernel)(P...), dim3 grid, dim3 block,
                 A... args) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return 0;
#ifdef CUDA_EMULATION
    cuda_emulation_launch(grid, block, call->device->stream, [=] { kernel(static_cast<P>(args)...); });
#else
    kernel<<<grid, block, 0, call->device->stream>>>(static_cast<P>(args)...);
#endif
    cudaError_t code = cudaPeekAtLastError();
    if (code == cudaSuccess) return 0;
    (void)onnx__node_fail(call->step->node, ERR_EXECUTION_FAILED, err, "its kernel cannot be launched");
    return cuda__fail(code, err ? err->msg : "launch", err);
}

/* Before a loop whose arrays are to be registers; the emulation's compiler does not know it. */
#ifdef CUDA_EMULATION
#define CUDA__UNROLL
#else
#define CUDA__UNROLL _Pragma("unroll")
#endif

/* Blocks for n elements: enough to fill the device a few times over; a loop does the rest. */
inline dim3 cuda__blocks(const struct cuda__call *call, int64_t n) {
    int64_t blocks = (n + CUDA__BLOCK - 1) / CUDA__BLOCK, most = (int64_t)call->device->multiprocessors * 16;
    return dim3((unsigned)(blocks < most ? blocks : most));
}
#define CUDA__EACH(i, n)                                                                                               \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, cuda__step = (int64_t)gridDim.x * blockDim.x;     \
         i < (n); i += cuda__step)

/* --- numbers ----------------------------------------------------------------------------------------------------- */

/* FP16 is computed as FP32. */
template <typename T> __device__ inline T cuda__read(const T *at) { return *at; }
__device__ inline float cuda__read(const __half *at) { return __half2float(*at); }
template <typename T, typename V> __device__ inline void cuda__write(T *at, V value) { *at = (T)value; }
template <typename V> __device__ inline void cuda__write(__half *at, V value) { *at = __float2half((float)value); }

template <typename T> struct cuda__tag { using type = T; };

/* Calls f with the tag of a type; false where the datatype is none of them. */
template <typename F> bool cuda__with_real(enum datatype datatype, F f) {
    if (datatype == DATATYPE_FP32) return f(cuda__tag<float>()), true;
    if (datatype == DATATYPE_FP64) return f(cuda__tag<double>()), true;
    if (datatype == DATATYPE_FP16) return f(cuda__tag<__half>()), true;
    return false;
}
/* The numbers that networks compute with. */
#define CUDA__TYPES_NUMBER (TYPES_REAL | TYPE_BIT(DATATYPE_INT32) | TYPE_BIT(DATATYPE_INT64))
template <typename F> bool cuda__with_number(enum datatype datatype, F f) {
    if (datatype == DATATYPE_INT32) return f(cuda__tag<int32_t>()), true;
    if (datatype == DATATYPE_INT64) return f(cuda__tag<int64_t>()), true;
    return cuda__with_real(datatype, f);
}

/* --- words ------------------------------------------------------------------------------------------------------- */

/* What is moved and not computed with: 1 to 16 bytes, each of which is one load and one store. */
struct alignas(16) cuda__quad {
    uint32_t parts[4];
};
/* The widest word of which the sizes and offsets, in bytes, or-ed into `sizes` are multiples. */
inline size_t cuda__word_of(int64_t sizes) {
    int64_t lowest = sizes & -sizes;
    return sizes == 0 || lowest > (int64_t)sizeof(cuda__quad) ? sizeof(cuda__quad) : (size_t)lowest;
}
/* Words that elements are. */
template <typename F> int cuda__with_element(size_t size, F f) {
    switch (size) {
    case 1:
        return f(cuda__tag<uint8_t>());
    case 2:
        return f(cuda__tag<uint16_t>());
    case 4:
        return f(cuda__tag<uint32_t>());
    default:
        return f(cuda__tag<uint64_t>());
    }
}
template <typename F> int cuda__with_word(size_t size, F f) {
    return size == sizeof(cuda__quad) ? f(cuda__tag<cuda__quad>()) : cuda__with_element(size, f);
}

/* --- division ---------------------------------------------------------------------------------------------------- */

/* Indices are taken apart by dimensions that all threads share. Those below 2^31 by a product and a shift, after
 * Granlund and Montgomery, "Division by Invariant Integers using Multiplication" (1994); others are divided. */
template <typename I> struct cuda__divider {
    int64_t by;
    static cuda__divider of(int64_t by) { return {by}; }
    __device__ int64_t quotient(int64_t i) const { return i / by; }
};
template <> struct cuda__divider<uint32_t> {
    uint32_t by, factor, shift;
    static cuda__divider of(int64_t by) {
        uint32_t shift = 0;
        if (by == 0) by = 1; /* an empty dimension has no indices */
        while (((int64_t)1 << shift) < by) shift++;
        return {(uint32_t)by,
                (uint32_t)((((uint64_t)1 << 32) * (((uint64_t)1 << shift) - (uint64_t)by)) / (uint64_t)by + 1), shift};
    }
    __device__ uint32_t quotient(uint32_t i) const { return ((uint32_t)((uint64_t)i * factor >> 32) + i) >> shift; }
};
/* i becomes the remainder. */
template <typename I> __device__ inline I cuda__divide(const cuda__divider<I> &divider, I *i) {
    I quotient = divider.quotient(*i);
    *i -= quotient * (I)divider.by;
    return quotient;
}
/* Calls f with the tag of a type that holds all indices below n. */
template <typename F> int cuda__with_index(int64_t n, F f) {
    return n <= INT32_MAX ? f(cuda__tag<uint32_t>()) : f(cuda__tag<int64_t>());
}

/* Places, in elements, of what is counted along some dimensions; N of them at once. */
template <typename I, int N> struct cuda__walk {
    int rank;
    cuda__divider<I> dims[STRIDED_MAX_RANK];
    int64_t steps[N][STRIDED_MAX_RANK];
};
template <typename I, int N> __device__ inline void cuda__walk_find(const cuda__walk<I, N> &walk, I i, int64_t *at) {
    for (int k = 0; k < N; k++) at[k] = 0;
    for (int dim = walk.rank - 1; dim > 0; dim--) {
        I index = i;
        i = cuda__divide(walk.dims[dim], &index);
        for (int k = 0; k < N; k++) at[k] += (int64_t)index * walk.steps[k][dim];
    }
    for (int k = 0; k < N; k++) at[k] += (int64_t)i * walk.steps[k][0];
}
/* `size`: bytes of an element. */
template <typename I> cuda__walk<I, 1> cuda__walk_of(const struct onnx__strided *view, size_t size) {
    cuda__walk<I, 1> walk = {};
    walk.rank = view->rank;
    for (int i = 0; i < view->rank; i++) {
        walk.dims[i] = cuda__divider<I>::of(view->shape[i]);
        walk.steps[0][i] = view->strides[i] / (int64_t)size;
    }
    return walk;
}

/* --- faults ------------------------------------------------------------------------------------------------------ */

/* The first one of a run is kept. */
__device__ inline void cuda__raise(struct cuda__fault *fault, unsigned step, unsigned code) {
    if (atomicCAS(&fault->step, 0u, step) == 0) fault->code = code;
}

/* --- a block ----------------------------------------------------------------------------------------------------- */

struct cuda__plus {
    template <typename T> __device__ T operator()(T a, T b) const { return a + b; }
};
struct cuda__larger {
    template <typename T> __device__ T operator()(T a, T b) const { return a > b || a != a ? a : b; }
};

struct cuda__smaller {
    template <typename T> __device__ T operator()(T a, T b) const { return a < b || a != a ? a : b; }
};

/* Threads for a block that goes over `length` elements: a warp where that is enough, since its threads need not wait for
 * others. */
inline unsigned cuda__block_for(int64_t length) { return length <= 32 * CUDA__WARP ? CUDA__WARP : CUDA__BLOCK; }

/* Rows that are gone over by as many threads as they are worth: a warp each, eight of them in a block, or a block each,
 * and a large one where rows are few. */
struct cuda__rows {
    dim3 grid, block;
};
inline cuda__rows cuda__rows_of(const struct cuda__call *call, int64_t rows, int64_t length) {
    int64_t most = (int64_t)call->device->multiprocessors * 16;
    bool short_ones = length <= 32 * CUDA__WARP,
         few = rows < call->device->multiprocessors && length >= 64 * CUDA__BLOCK;
    dim3 block = short_ones ? dim3(CUDA__WARP, CUDA__BLOCK / CUDA__WARP) : dim3(few ? 4 * CUDA__BLOCK : CUDA__BLOCK);
    int64_t blocks = (rows + block.y - 1) / block.y;
    return {dim3((unsigned)(blocks < most ? blocks : most)), block};
}
/* What a kernel of rows begins with: the largest of those blocks must find the registers that it needs. */
#define CUDA__ROW_KERNEL __global__ void __launch_bounds__(4 * CUDA__BLOCK)
/* The threads of a row see it together, so they may wait for each other as those of a block do. */
#define CUDA__EACH_ROW(row, rows)                                                                                      \
    for (int64_t row = (int64_t)blockIdx.x * blockDim.y + threadIdx.y; row < (rows);                                   \
         row += (int64_t)gridDim.x * blockDim.y)

/* `value` of all threads of a row joined; every thread gets the result. A row has a warp
 * of its own or a block. */
template <typename T, typename F> __device__ T cuda__block_join(T value, T neutral, F join) {
    __shared__ T parts[CUDA__WARP];
    for (int lane = CUDA__WARP / 2; lane > 0; lane /= 2) value = join(value, __shfl_xor_sync(0xffffffffu, value, lane));
    if (blockDim.x == CUDA__WARP) return value;
    if (threadIdx.x % CUDA__WARP == 0) parts[threadIdx.x / CUDA__WARP] = value;
    __syncthreads();
    value = threadIdx.x % CUDA__WARP < blockDim.x / CUDA__WARP ? parts[threadIdx.x % CUDA__WARP] : neutral;
    for (int lane = CUDA__WARP / 2; lane > 0; lane /= 2) value = join(value, __shfl_xor_sync(0xffffffffu, value, lane));
    __syncthreads(); /* parts may be written again by the next call */
    return value;
}

#endif
