/* __half as two bytes and conversions, which are all that src/onnx/cuda uses of it. */
#ifndef CUDA_EMULATION_FP16_H
#define CUDA_EMULATION_FP16_H

#include <stdint.h>

struct __half {
    uint16_t bits;
};

extern "C" {
float cuda_emulation_half_read(uint16_t bits);
uint16_t cuda_emulation_half_of_float(float value);
uint16_t cuda_emulation_half_of_double(double value);
}

inline float __half2float(__half value) { return cuda_emulation_half_read(value.bits); }
inline __half __float2half(float value) { return {cuda_emulation_half_of_float(value)}; }
inline __half __double2half(double value) { return {cuda_emulation_half_of_double(value)}; }

#endif
