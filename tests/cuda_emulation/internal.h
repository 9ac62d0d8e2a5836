/* Between the files of the emulation. */
#ifndef CUDA_EMULATION_INTERNAL_H
#define CUDA_EMULATION_INTERNAL_H

#include <functional>

#include <cuda_runtime.h>

/* runtime.cpp: work for the device, in the order of its stream; or for the graph that is being recorded. */
void cuda_emulation_enqueue(cudaStream_t stream, std::function<void()> work);
/* Counts the call of another library's function. True: it is to fail (cuda_emulation_fail). */
bool cuda_emulation_fails(const char *function);
[[noreturn]] void cuda_emulation_die(const char *what);

/* blocks.cpp: all blocks of a grid, now. */
void cuda_emulation_run_grid(dim3 grid, dim3 block, const std::function<void()> &kernel);

#endif
