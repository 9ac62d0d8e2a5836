/* What kernels and their launches share: the one way to launch, a loop over elements, numbers of 16 bits, sums of a
 * block, faults.
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

/* Blocks for n elements: enough to fill the device a few times over; a loop does the rest. */
inline dim3 cuda__blocks(const struct cuda__call *call, int64_t n) {
    int64_t blocks = (n + CUDA__BLOCK - 1) / CUDA__BLOCK, most = (int64_t)call->device->multiprocessors * 16;
    return dim3((unsigned)(blocks < most ? blocks : most));
}
#define CUDA__EACH(i, n)                                                                                               \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, cuda__step = (int64_t)gridDim.x * blockDim.x;      \
         i < (n); i += cuda__step)

/* --- numbers ----------------------------------------------------------------------------------------------------- */

/* FP16 is computed as FP32. */
template <typename T> __device__ inline T cuda__read(const T *at) { return *at; }
__device__ inline float cuda__read(const __half *at) { return __half2float(*at); }
template <typename T, typename V> __device__ inline void cuda__write(T *at, V value) { *at = (T)value; }
template <typename V> __device__ inline void cuda__write(__half *at, V value) { *at = __float2half((float)value); }

template <typename T> struct cuda__tag {
    using type = T;
};

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

/* Threads for a block that goes over `length` elements: a warp where that is enough, since its threads need not wait for
 * others. */
inline unsigned cuda__block_for(int64_t length) { return length <= 32 * CUDA__WARP ? CUDA__WARP : CUDA__BLOCK; }

/* `value` of all threads of a block joined; every thread gets the result. The block has whole warps. */
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
