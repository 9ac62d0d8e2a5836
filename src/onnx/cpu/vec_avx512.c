/* vec.c for processors with AVX-512: twice the registers, twice as wide. */
#if defined(__x86_64__)
#define VEC_NAME  onnx__vec_avx512
#define VEC_TEXT  "avx512"
#define VEC_BYTES 64
#define VEC_ROWS  8
#include "vec.c"
#endif
