/* The few functions of cuBLASLt that are called, as types to be looked up at run time.
 *
 * The library is not linked: it is 500 MB that a machine may lack, and without it our own kernel multiplies. Its C
 * interface has kept these names, values and layouts since CUDA 11 (cuBLAS documentation, "Using the cuBLASLt API"),
 * and where NVIDIA's header is at hand when this is compiled, the values are compared with it. */
#ifndef PENSTOCK_ONNX_CUBLASLT_H
#define PENSTOCK_ONNX_CUBLASLT_H

#include <library_types.h>

typedef struct cuda__lt_context *cuda__lt_handle;
typedef struct cuda__lt_desc_opaque *cuda__lt_desc;
typedef struct cuda__lt_layout_opaque *cuda__lt_layout;
typedef struct cuda__lt_preference_opaque *cuda__lt_preference;

struct cuda__lt_algo {
    uint64_t data[8];
};
struct cuda__lt_choice {
    struct cuda__lt_algo algo;
    size_t workspace_bytes;
    int status;
    float waves;
    int reserved[4];
};

enum { LT_SUCCESS = 0 };
enum { LT_COMPUTE_32F = 68, LT_COMPUTE_64F = 70, LT_COMPUTE_32F_FAST_16F = 74, LT_COMPUTE_32F_FAST_TF32 = 77 };
enum { LT_DESC_TRANSA = 3, LT_DESC_TRANSB = 4, LT_DESC_EPILOGUE = 7, LT_DESC_BIAS_POINTER = 8 };
enum { LT_OP_N = 0, LT_OP_T = 1 };
enum { LT_EPILOGUE_NONE = 1, LT_EPILOGUE_RELU = 2, LT_EPILOGUE_BIAS = 4, LT_EPILOGUE_RELU_BIAS = 6 };
enum { LT_LAYOUT_BATCH_COUNT = 5, LT_LAYOUT_STRIDED_BATCH_OFFSET = 6 };
enum { LT_PREFERENCE_MAX_WORKSPACE_BYTES = 1 };

typedef int cuda__lt_create(cuda__lt_handle *ret);
typedef int cuda__lt_destroy(cuda__lt_handle handle);
typedef int cuda__lt_desc_create(cuda__lt_desc *ret, int compute_type, cudaDataType_t scale_type);
typedef int cuda__lt_desc_set(cuda__lt_desc desc, int attribute, const void *value, size_t size);
typedef int cuda__lt_desc_destroy(cuda__lt_desc desc);
typedef int cuda__lt_layout_create(cuda__lt_layout *ret, cudaDataType_t type, uint64_t rows, uint64_t cols, int64_t ld);
typedef int cuda__lt_layout_set(cuda__lt_layout layout, int attribute, const void *value, size_t size);
typedef int cuda__lt_layout_destroy(cuda__lt_layout layout);
typedef int cuda__lt_preference_create(cuda__lt_preference *ret);
typedef int cuda__lt_preference_set(cuda__lt_preference preference, int attribute, const void *value, size_t size);
typedef int cuda__lt_preference_destroy(cuda__lt_preference preference);
typedef int cuda__lt_heuristic(cuda__lt_handle handle, cuda__lt_desc desc, cuda__lt_layout a, cuda__lt_layout b,
                               cuda__lt_layout c, cuda__lt_layout d, cuda__lt_preference preference, int wanted,
                               struct cuda__lt_choice *ret, int *ret_count);
typedef int cuda__lt_multiply(cuda__lt_handle handle, cuda__lt_desc desc, const void *alpha, const void *a,
                              cuda__lt_layout layout_a, const void *b, cuda__lt_layout layout_b, const void *beta,
                              const void *c, cuda__lt_layout layout_c, void *d, cuda__lt_layout layout_d,
                              const struct cuda__lt_algo *algo, void *workspace, size_t workspace_bytes,
                              cudaStream_t stream);

#endif
