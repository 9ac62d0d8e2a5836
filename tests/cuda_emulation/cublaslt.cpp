/* cublasLt's functions that src/onnx/cuda/blas.c looks up, on OpenBLAS. */
#include "internal.h"

#include <cblas.h>
#include <stdint.h>

namespace {

enum { EPILOGUE_NONE = 1, EPILOGUE_RELU = 2, EPILOGUE_BIAS = 4 }; /* flags, but for none */

struct Desc {
    int compute_type, trans_a = 0, trans_b = 0;
    uint32_t epilogue = EPILOGUE_NONE;
    const void *bias = nullptr;
};
struct Layout {
    cudaDataType_t type;
    uint64_t rows, cols;
    int64_t ld, stride = 0;
    int32_t batch = 1;
};
struct Preference {
    size_t workspace = 0;
};
struct Choice {
    uint64_t algo[8];
    size_t workspace;
    int status;
    float waves;
    int reserved[4];
};
enum { SUCCESS = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
const uint64_t ALGO_MARK = 0x656d756c61746564;

void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, float alpha, const float *a, int lda,
          const float *b, int ldb, float beta, float *c, int ldc) {
    cblas_sgemm(CblasColMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, double alpha, const double *a, int lda,
          const double *b, int ldb, double beta, double *c, int ldc) {
    cblas_dgemm(CblasColMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

template <typename T>
void multiply(const Desc &desc, T alpha, const T *a, const Layout &la, const T *b, const Layout &lb, T beta, const T *c,
              T *d, const Layout &ld) {
    int m = (int)ld.rows, n = (int)ld.cols, k = (int)(desc.trans_a ? la.rows : la.cols);
    for (int32_t number = 0; number < ld.batch; number++, a += la.stride, b += lb.stride, c += ld.stride, d += ld.stride) {
        for (int i = 0; c != d && i < m * n; i++) d[i] = c[i];
        gemm(desc.trans_a ? CblasTrans : CblasNoTrans, desc.trans_b ? CblasTrans : CblasNoTrans, m, n, k, alpha, a,
             (int)la.ld, b, (int)lb.ld, beta, d, (int)ld.ld);
        for (int i = 0; (desc.epilogue & EPILOGUE_BIAS) && i < m * n; i++) d[i] += ((const T *)desc.bias)[i % m];
        for (int i = 0; (desc.epilogue & EPILOGUE_RELU) && i < m * n; i++) d[i] = d[i] < 0 ? 0 : d[i];
    }
}

bool fit(const Desc &desc, const Layout &a, const Layout &b, const Layout &d) {
    uint64_t rows = desc.trans_a ? a.cols : a.rows, depth = desc.trans_a ? a.rows : a.cols;
    uint64_t depth_b = desc.trans_b ? b.cols : b.rows, cols = desc.trans_b ? b.rows : b.cols;
    return rows == d.rows && cols == d.cols && depth == depth_b && a.batch == d.batch && b.batch == d.batch &&
           a.ld >= (int64_t)a.rows && b.ld >= (int64_t)b.rows && d.ld >= (int64_t)d.rows && a.type == d.type &&
           b.type == d.type;
}

template <typename T> int set(T *to, const void *value, size_t size) {
    if (size != sizeof *to) return INVALID_VALUE;
    memcpy(to, value, size);
    return SUCCESS;
}

} // namespace

extern "C" {

int cublasLtCreate(void **ret) {
    *ret = new int(0);
    return SUCCESS;
}
int cublasLtDestroy(void *handle) {
    delete (int *)handle;
    return SUCCESS;
}

int cublasLtMatmulDescCreate(Desc **ret, int compute_type, cudaDataType_t) {
    *ret = new Desc;
    (*ret)->compute_type = compute_type;
    return SUCCESS;
}
int cublasLtMatmulDescSetAttribute(Desc *desc, int attribute, const void *value, size_t size) {
    switch (attribute) {
    case 3:
        return set(&desc->trans_a, value, size);
    case 4:
        return set(&desc->trans_b, value, size);
    case 7:
        return set(&desc->epilogue, value, size);
    case 8:
        return set(&desc->bias, value, size);
    default:
        return INVALID_VALUE;
    }
}
int cublasLtMatmulDescDestroy(Desc *desc) {
    delete desc;
    return SUCCESS;
}

int cublasLtMatrixLayoutCreate(Layout **ret, cudaDataType_t type, uint64_t rows, uint64_t cols, int64_t ld) {
    *ret = new Layout;
    (*ret)->type = type, (*ret)->rows = rows, (*ret)->cols = cols, (*ret)->ld = ld;
    return SUCCESS;
}
int cublasLtMatrixLayoutSetAttribute(Layout *layout, int attribute, const void *value, size_t size) {
    if (attribute == 5) return set(&layout->batch, value, size);
    return attribute == 6 ? set(&layout->stride, value, size) : (int)INVALID_VALUE;
}
int cublasLtMatrixLayoutDestroy(Layout *layout) {
    delete layout;
    return SUCCESS;
}

int cublasLtMatmulPreferenceCreate(Preference **ret) {
    *ret = new Preference;
    return SUCCESS;
}
int cublasLtMatmulPreferenceSetAttribute(Preference *preference, int attribute, const void *value, size_t size) {
    return attribute == 1 ? set(&preference->workspace, value, size) : (int)INVALID_VALUE;
}
int cublasLtMatmulPreferenceDestroy(Preference *preference) {
    delete preference;
    return SUCCESS;
}

int cublasLtMatmulAlgoGetHeuristic(void *, const Desc *desc, const Layout *a, const Layout *b, const Layout *,
                                   const Layout *d, const Preference *preference, int wanted, Choice *ret,
                                   int *ret_count) {
    if (cuda_emulation_fails("cublasLtMatmulAlgoGetHeuristic")) return NOT_SUPPORTED;
    if (wanted < 1 || !fit(*desc, *a, *b, *d)) return INVALID_VALUE;
    *ret = Choice();
    ret->algo[0] = ALGO_MARK;
    ret->workspace = preference->workspace < 4096 ? preference->workspace : 4096;
    *ret_count = 1;
    return SUCCESS;
}

int cublasLtMatmul(void *, const Desc *desc, const void *alpha, const void *a, const Layout *la, const void *b,
                   const Layout *lb, const void *beta, const void *c, const Layout *, void *d, const Layout *ld,
                   const uint64_t *algo, void *workspace, size_t workspace_bytes, cudaStream_t stream) {
    if (cuda_emulation_fails("cublasLtMatmul")) return NOT_SUPPORTED;
    if (!fit(*desc, *la, *lb, *ld) || algo[0] != ALGO_MARK) return INVALID_VALUE;
    if (workspace_bytes < 4096 || !workspace) return INVALID_VALUE;
    Desc how = *desc;
    Layout first = *la, second = *lb, out = *ld;
    if (ld->type == CUDA_R_64F) {
        double by = *(const double *)alpha, plus = *(const double *)beta;
        cuda_emulation_enqueue(stream, [=] {
            multiply(how, by, (const double *)a, first, (const double *)b, second, plus, (const double *)c, (double *)d, out);
        });
    } else {
        float by = *(const float *)alpha, plus = *(const float *)beta;
        cuda_emulation_enqueue(stream, [=] {
            multiply(how, by, (const float *)a, first, (const float *)b, second, plus, (const float *)c, (float *)d, out);
        });
    }
    return SUCCESS;
}
}
