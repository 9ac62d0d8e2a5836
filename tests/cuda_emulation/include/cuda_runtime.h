/* CUDA's language for kernels as plain C++: a thread of a block is a fiber (../blocks.cpp), shared memory is static,
 * since blocks run one after the other. */
#ifndef CUDA_EMULATION_RUNTIME_H
#define CUDA_EMULATION_RUNTIME_H

#include <stdint.h>
#include <string.h>

#include <functional>

#include <cuda_runtime_api.h>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__      static
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

struct cuda_emulation_place {
    dim3 thread, block, block_dim, grid_dim;
};
extern cuda_emulation_place cuda_emulation_at; /* where the kernel that runs now is */
#define threadIdx (cuda_emulation_at.thread)
#define blockIdx  (cuda_emulation_at.block)
#define blockDim  (cuda_emulation_at.block_dim)
#define gridDim   (cuda_emulation_at.grid_dim)

void cuda_emulation_launch(dim3 grid, dim3 block, cudaStream_t stream, std::function<void()> kernel);
void cuda_emulation_sync_block(void);
void cuda_emulation_sync_warp(unsigned mask);
/* Gives the warp `value`, and takes that of lane `from`. */
uint64_t cuda_emulation_exchange(unsigned mask, uint64_t value, unsigned from);
unsigned cuda_emulation_lane(void);

inline void __syncthreads(void) { cuda_emulation_sync_block(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { cuda_emulation_sync_warp(mask); }

template <typename T> T cuda_emulation_shuffle(unsigned mask, T value, unsigned from) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "shuffled in one piece");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = cuda_emulation_exchange(mask, bits, from);
    memcpy(&value, &bits, sizeof value);
    return value;
}
template <typename T> T __shfl_sync(unsigned mask, T value, int from) {
    return cuda_emulation_shuffle(mask, value, (unsigned)from % 32);
}
template <typename T> T __shfl_xor_sync(unsigned mask, T value, int lanes) {
    return cuda_emulation_shuffle(mask, value, cuda_emulation_lane() ^ (unsigned)lanes);
}
template <typename T> T __shfl_down_sync(unsigned mask, T value, unsigned lanes) {
    unsigned from = cuda_emulation_lane() + lanes;
    return cuda_emulation_shuffle(mask, value, from < 32 ? from : cuda_emulation_lane());
}
template <typename T> T __shfl_up_sync(unsigned mask, T value, unsigned lanes) {
    unsigned lane = cuda_emulation_lane();
    return cuda_emulation_shuffle(mask, value, lane >= lanes ? lane - lanes : lane);
}

template <typename T> T atomicCAS(T *at, T expected, T value) {
    T before = *at;
    if (before == expected) *at = value;
    return before;
}
template <typename T> T atomicAdd(T *at, T value) {
    T before = *at;
    *at += value;
    return before;
}
template <typename T> T atomicMax(T *at, T value) {
    T before = *at;
    if (value > before) *at = value;
    return before;
}
template <typename T> T atomicMin(T *at, T value) {
    T before = *at;
    if (value < before) *at = value;
    return before;
}
template <typename T> T __ldg(const T *at) { return *at; }

#endif
