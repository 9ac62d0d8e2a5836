/* Which of vec.c's forms this processor can run. */
#include "vec.h"

const struct onnx__vec *onnx__vec(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return &onnx__vec_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &onnx__vec_avx2;
#endif
    return &onnx__vec_plain;
}
