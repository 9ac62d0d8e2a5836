/* Products of matrices by cuBLASLt.
 *
 * The library is opened when the first session is, beside the runtime's version; it stays open. It counts columns
 * first: c = a b in rows is c' = b' a' in columns, so a and b change places and nothing is moved. Which of its
 * algorithms to take is asked once for each product when a plan is made, with the workspace that all steps share.
 *
 * Precision: float32 multiplies in float32. With tf32 and float16 the tensor cores do: operands are rounded to 10 bits
 * of fraction inside the product (float16 also has a smaller range), sums stay float32; values in memory stay float32,
 * too.
 */
#include "cuda_internal.h"

#include "cublaslt.h"

#include <dlfcn.h>
#include <stdlib.h>

#if defined(__has_include)
#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
_Static_assert(LT_COMPUTE_32F == (int)CUBLAS_COMPUTE_32F && LT_COMPUTE_64F == (int)CUBLAS_COMPUTE_64F &&
                   LT_COMPUTE_32F_FAST_16F == (int)CUBLAS_COMPUTE_32F_FAST_16F &&
                   LT_COMPUTE_32F_FAST_TF32 == (int)CUBLAS_COMPUTE_32F_FAST_TF32,
               "cublaslt.h: compute types");
_Static_assert(LT_DESC_TRANSA == (int)CUBLASLT_MATMUL_DESC_TRANSA &&
                   LT_DESC_TRANSB == (int)CUBLASLT_MATMUL_DESC_TRANSB &&
                   LT_DESC_EPILOGUE == (int)CUBLASLT_MATMUL_DESC_EPILOGUE &&
                   LT_DESC_BIAS_POINTER == (int)CUBLASLT_MATMUL_DESC_BIAS_POINTER && LT_OP_N == (int)CUBLAS_OP_N &&
                   LT_OP_T == (int)CUBLAS_OP_T && LT_EPILOGUE_NONE == (int)CUBLASLT_EPILOGUE_DEFAULT &&
                   LT_EPILOGUE_RELU == (int)CUBLASLT_EPILOGUE_RELU && LT_EPILOGUE_BIAS == (int)CUBLASLT_EPILOGUE_BIAS &&
                   LT_EPILOGUE_RELU_BIAS == (int)CUBLASLT_EPILOGUE_RELU_BIAS,
               "cublaslt.h: descriptors");
_Static_assert(LT_LAYOUT_BATCH_COUNT == (int)CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT &&
                   LT_LAYOUT_STRIDED_BATCH_OFFSET == (int)CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET &&
                   LT_PREFERENCE_MAX_WORKSPACE_BYTES == (int)CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
               "cublaslt.h: layouts and preferences");
_Static_assert(sizeof(struct cuda__lt_algo) == sizeof(cublasLtMatmulAlgo_t) &&
                   sizeof(struct cuda__lt_choice) == sizeof(cublasLtMatmulHeuristicResult_t),
               "cublaslt.h: structures");
#endif
#endif

#ifndef CUDA__CUBLASLT_NAME
#define CUDA__CUBLASLT_NAME "libcublasLt.so." CUDA__TEXT(CUDA__MAJOR)
#define CUDA__MAJOR         13
#define CUDA__TEXT(x)       CUDA__TEXT_OF(x)
#define CUDA__TEXT_OF(x)    #x
_Static_assert(CUDART_VERSION / 1000 == CUDA__MAJOR, "the major version of cuBLASLt is the toolkit's");
#endif

struct cuda__blas {
    void *library;
    cuda__lt_handle handle;
    cuda__lt_create *create;
    cuda__lt_destroy *destroy;
    cuda__lt_desc_create *desc_create;
    cuda__lt_desc_set *desc_set;
    cuda__lt_desc_destroy *desc_destroy;
    cuda__lt_layout_create *layout_create;
    cuda__lt_layout_set *layout_set;
    cuda__lt_layout_destroy *layout_destroy;
    cuda__lt_preference_create *preference_create;
    cuda__lt_preference_set *preference_set;
    cuda__lt_preference_destroy *preference_destroy;
    cuda__lt_heuristic *heuristic;
    cuda__lt_multiply *multiply;
};

struct cuda__matmul {
    struct cuda__blas *blas;
    cuda__lt_desc desc;
    cuda__lt_layout layouts[3]; /* of b, a and c: first operand, second operand, result */
    struct cuda__lt_algo algo;
    union {
        float single;
        double real;
    } alpha, beta;
    const void *added;
};

/* --- the library ------------------------------------------------------------------------------------------------- */

static bool look_up(struct cuda__blas *blas) {
    const struct {
        const char *name;
        void **at;
    } symbols[] = {{"cublasLtCreate", (void **)&blas->create},
                   {"cublasLtDestroy", (void **)&blas->destroy},
                   {"cublasLtMatmulDescCreate", (void **)&blas->desc_create},
                   {"cublasLtMatmulDescSetAttribute", (void **)&blas->desc_set},
                   {"cublasLtMatmulDescDestroy", (void **)&blas->desc_destroy},
                   {"cublasLtMatrixLayoutCreate", (void **)&blas->layout_create},
                   {"cublasLtMatrixLayoutSetAttribute", (void **)&blas->layout_set},
                   {"cublasLtMatrixLayoutDestroy", (void **)&blas->layout_destroy},
                   {"cublasLtMatmulPreferenceCreate", (void **)&blas->preference_create},
                   {"cublasLtMatmulPreferenceSetAttribute", (void **)&blas->preference_set},
                   {"cublasLtMatmulPreferenceDestroy", (void **)&blas->preference_destroy},
                   {"cublasLtMatmulAlgoGetHeuristic", (void **)&blas->heuristic},
                   {"cublasLtMatmul", (void **)&blas->multiply}};
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++)
        if (!(*symbols[i].at = dlsym(blas->library, symbols[i].name))) return false;
    return true;
}

struct cuda__blas *cuda__blas_open(void) {
    void *library = dlopen(CUDA__CUBLASLT_NAME, RTLD_NOW | RTLD_LOCAL);
    if (!library) return NULL;
    struct cuda__blas *blas = mem_calloc(1, sizeof *blas);
    blas->library = library; /* never closed: its threads and its device memory outlive dlclose */
    if (look_up(blas) && blas->create(&blas->handle) == LT_SUCCESS) return blas;
    free(blas);
    return NULL;
}

void cuda__blas_close(struct cuda__blas *blas) {
    if (!blas) return;
    (void)blas->destroy(blas->handle);
    free(blas);
}

/* --- a product --------------------------------------------------------------------------------------------------- */

static int compute_type(const struct cuda__product *product, enum onnx_precision precision) {
    if (product->datatype == DATATYPE_FP64) return LT_COMPUTE_64F;
    if (precision == ONNX_PRECISION_TF32) return LT_COMPUTE_32F_FAST_TF32;
    return precision == ONNX_PRECISION_FLOAT16 ? LT_COMPUTE_32F_FAST_16F : LT_COMPUTE_32F;
}

/* `rows` by `cols` as columns, one after the other without a gap. */
static bool make_layout(struct cuda__matmul *mm, int index, cudaDataType_t type, int64_t rows, int64_t cols,
                        int64_t batch, int64_t stride) {
    struct cuda__blas *blas = mm->blas;
    int32_t count = (int32_t)batch;
    return blas->layout_create(&mm->layouts[index], type, (uint64_t)rows, (uint64_t)cols, rows) == LT_SUCCESS &&
           blas->layout_set(mm->layouts[index], LT_LAYOUT_BATCH_COUNT, &count, sizeof count) == LT_SUCCESS &&
           blas->layout_set(mm->layouts[index], LT_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride) == LT_SUCCESS;
}

static bool make_desc(struct cuda__matmul *mm, const struct cuda__product *p, int compute, cudaDataType_t type) {
    struct cuda__blas *blas = mm->blas;
    int32_t first = p->trans_b ? LT_OP_T : LT_OP_N, second = p->trans_a ? LT_OP_T : LT_OP_N;
    uint32_t epilogue = p->bias ? (p->relu ? LT_EPILOGUE_RELU_BIAS : LT_EPILOGUE_BIAS)
                                : (p->relu ? LT_EPILOGUE_RELU : LT_EPILOGUE_NONE);
    if (blas->desc_create(&mm->desc, compute, type) != LT_SUCCESS ||
        blas->desc_set(mm->desc, LT_DESC_TRANSA, &first, sizeof first) != LT_SUCCESS ||
        blas->desc_set(mm->desc, LT_DESC_TRANSB, &second, sizeof second) != LT_SUCCESS)
        return false;
    return blas->desc_set(mm->desc, LT_DESC_EPILOGUE, &epilogue, sizeof epilogue) == LT_SUCCESS &&
           (!p->bias || blas->desc_set(mm->desc, LT_DESC_BIAS_POINTER, &p->bias, sizeof p->bias) == LT_SUCCESS);
}

static bool choose(struct cuda__matmul *mm, size_t *ret_workspace) {
    struct cuda__blas *blas = mm->blas;
    struct cuda__lt_choice choice;
    cuda__lt_preference preference;
    size_t most = CUDA__BLAS_WORKSPACE;
    int count = 0;
    if (blas->preference_create(&preference) != LT_SUCCESS) return false;
    bool found =
        blas->preference_set(preference, LT_PREFERENCE_MAX_WORKSPACE_BYTES, &most, sizeof most) == LT_SUCCESS &&
        blas->heuristic(blas->handle, mm->desc, mm->layouts[0], mm->layouts[1], mm->layouts[2], mm->layouts[2],
                        preference, 1, &choice, &count) == LT_SUCCESS &&
        count == 1;
    (void)blas->preference_destroy(preference);
    if (!found) return false;
    mm->algo = choice.algo;
    *ret_workspace = choice.workspace_bytes;
    return true;
}

struct cuda__matmul *cuda__blas_plan(struct cuda__blas *blas, const struct cuda__product *product,
                                     enum onnx_precision precision, size_t *ret_workspace) {
    const struct cuda__product *p = product;
    cudaDataType_t type = p->datatype == DATATYPE_FP64 ? CUDA_R_64F : CUDA_R_32F;
    if (p->batch > INT32_MAX) return NULL;
    struct cuda__matmul *mm = mem_calloc(1, sizeof *mm);
    mm->blas = blas;
    mm->added = p->added;
    if (p->datatype == DATATYPE_FP64) {
        mm->alpha.real = (double)p->alpha;
        mm->beta.real = (double)p->beta;
    } else {
        mm->alpha.single = p->alpha;
        mm->beta.single = p->beta;
    }
    if (make_desc(mm, p, compute_type(p, precision), type) &&
        make_layout(mm, 0, type, p->trans_b ? p->k : p->n, p->trans_b ? p->n : p->k, p->batch, p->stride_b) &&
        make_layout(mm, 1, type, p->trans_a ? p->m : p->k, p->trans_a ? p->k : p->m, p->batch, p->stride_a) &&
        make_layout(mm, 2, type, p->n, p->m, p->batch, p->stride_c) && choose(mm, ret_workspace))
        return mm;
    cuda__blas_forget(mm);
    return NULL;
}

int cuda__blas_run(const struct cuda__matmul *mm, const void *a, const void *b, void *c,
                   const struct cuda__device *device, struct err *err) {
    size_t room = device->workspace_bytes < CUDA__BLAS_WORKSPACE ? device->workspace_bytes : CUDA__BLAS_WORKSPACE;
    int status = mm->blas->multiply(mm->blas->handle, mm->desc, &mm->alpha, b, mm->layouts[0], a, mm->layouts[1],
                                    &mm->beta, mm->added ? mm->added : c, mm->layouts[2], c, mm->layouts[2], &mm->algo,
                                    device->workspace, room, device->stream);
    if (status == LT_SUCCESS) return 0;
    cudaError_t code = cudaPeekAtLastError();
    if (code != cudaSuccess) return cuda__fail(code, "cublasLtMatmul", err);
    return err_set(err, ERR_EXECUTION_FAILED, "cuBLASLt: cublasLtMatmul answers %d", status);
}

void cuda__blas_forget(struct cuda__matmul *mm) {
    if (!mm) return;
    for (int i = 0; i < 3; i++)
        if (mm->layouts[i]) (void)mm->blas->layout_destroy(mm->layouts[i]);
    if (mm->desc) (void)mm->blas->desc_destroy(mm->desc);
    free(mm);
}
