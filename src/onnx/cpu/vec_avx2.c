/* vec.c for processors with AVX2 and FMA. */
#if defined(__x86_64__)
#define VEC_NAME  onnx__vec_avx2
#define VEC_TEXT  "avx2"
#define VEC_BYTES 32
#define VEC_ROWS  4
#include "vec.c"
#endif
