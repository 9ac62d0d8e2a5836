/* cuda_cases: the onnx-cuda executor for tests: the real plug-in where it is built and finds a GPU, else the emulated
 * one, which runs the same kernels on the CPU and proves nothing about a GPU (tests/cuda_emulation).
 *
 *     const struct executor_ops *ops = cuda_case_ops();   // skips the test where there is neither
 *     ops->open(...)
 */
#ifndef PENSTOCK_CUDA_CASES_H
#define PENSTOCK_CUDA_CASES_H

#include "penstock/executor.h"

/* Prints once which one it is. NULL where there is neither, with a line that says so. */
const struct executor_ops *cuda_case_ops(void);
bool cuda_case_is_emulated(void); /* what cuda_case_ops gave */

#endif
