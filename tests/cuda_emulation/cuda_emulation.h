/* cuda_emulation: what tests may ask of the emulated device, and make it do.
 *
 *     cuda_emulation_reset();
 *     cuda_emulation_fail("cudaMalloc", 2, cudaErrorMemoryAllocation);   // the second call from now
 *     assert(cuda_emulation_calls("cudaMalloc") == before);             // nothing was allocated
 *
 * PENSTOCK_CUDA_EMULATION in the environment makes a process's device "absent", or its driver "missing" or "old";
 * PENSTOCK_CUDA_EMULATION_MULTIPROCESSORS gives it that many, for kernels whose form depends on it. */
#ifndef CUDA_EMULATION_H
#define CUDA_EMULATION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

void cuda_emulation_reset(void); /* no failures to come, no sticky error; one device, with a driver; counts at 0 */
/* The call number `nth` (1: the next) of a runtime function, or of a "kernel" when it runs, gives the error `code`. A
 * kernel's is sticky: every call fails from then on. */
void cuda_emulation_fail(const char *function, int nth, int code);
/* How often a runtime function was called; "kernel": how many have run. */
uint64_t cuda_emulation_calls(const char *function);
/* Devices that there are, and the version of CUDA that the driver knows (0: there is none). */
void cuda_emulation_machine(int devices, int driver_version);
/* What a kernel takes, by the events around it (default 0.05). */
void cuda_emulation_kernel_ms(float ms);
/* Called before each kernel that runs; NULL: nothing. */
void cuda_emulation_on_kernel(void (*call)(void *ctx), void *ctx);

#ifdef __cplusplus
}
#endif
#endif
