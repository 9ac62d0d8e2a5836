/* MatMul and Gemm: real numbers on OpenBLAS, whole numbers by loops that wrap as NumPy's do.
 *
 * MatMul follows NumPy: vectors are promoted, leading dimensions broadcast. The common case, a stack of matrices times
 * one matrix, is a single call over all rows; otherwise it is one call per matrix of the stack. BLAS counts in int, so
 * sizes are checked when shapes are inferred.
 */
#include "cpu_internal.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>

int onnx__gemm_check(const struct onnx__step *step, const struct onnx__gemm *gemm, struct err *err) {
    if (gemm->m <= INT_MAX && gemm->n <= INT_MAX && gemm->k <= INT_MAX) return 0;
    return onnx__step_refuse(step, err, "a matrix has more than %d rows or columns", INT_MAX);
}

void onnx__gemm_call(const struct onnx__gemm *gemm, const float *a, const float *b, float *c) {
    int m = (int)gemm->m, n = (int)gemm->n, k = (int)gemm->k;
    if (m == 0 || n == 0) return;
    int lda = gemm->trans_a ? m : k, ldb = gemm->trans_b ? k : n;
    cblas_sgemm(CblasRowMajor, gemm->trans_a ? CblasTrans : CblasNoTrans, gemm->trans_b ? CblasTrans : CblasNoTrans, m,
                n, k, gemm->alpha, a, lda ? lda : 1, b, ldb ? ldb : 1, gemm->beta, c, n);
}

static void gemm_double(const struct onnx__gemm *gemm, const double *a, const double *b, double *c) {
    int m = (int)gemm->m, n = (int)gemm->n, k = (int)gemm->k;
    int lda = gemm->trans_a ? m : k, ldb = gemm->trans_b ? k : n;
    cblas_dgemm(CblasRowMajor, gemm->trans_a ? CblasTrans : CblasNoTrans, gemm->trans_b ? CblasTrans : CblasNoTrans, m,
                n, k, (double)gemm->alpha, a, lda ? lda : 1, b, ldb ? ldb : 1, (double)gemm->beta, c, n);
}

/* Unsigned, whose low bits are those of signed numbers too. */
#define GEMM_WHOLE(type)                                                                                               \
    static void gemm_##type(const struct onnx__gemm *gemm, const type *a, const type *b, type *c) {                    \
        int64_t a_row = gemm->trans_a ? 1 : gemm->k, a_col = gemm->trans_a ? gemm->m : 1;                              \
        int64_t b_row = gemm->trans_b ? 1 : gemm->n, b_col = gemm->trans_b ? gemm->k : 1;                              \
        type alpha = (type)(int64_t)gemm->alpha, beta = (type)(int64_t)gemm->beta;                                     \
        for (int64_t i = 0; i < gemm->m; i++, c += gemm->n) {                                                          \
            for (int64_t j = 0; j < gemm->n; j++) c[j] = beta ? (type)(beta * c[j]) : 0;                               \
            for (int64_t l = 0; l < gemm->k; l++) {                                                                    \
                type factor = (type)(alpha * a[i * a_row + l * a_col]);                                                \
                for (int64_t j = 0; j < gemm->n; j++) c[j] += (type)(factor * b[l * b_row + j * b_col]);               \
            }                                                                                                          \
        }                                                                                                              \
    }
GEMM_WHOLE(uint32_t)
GEMM_WHOLE(uint64_t)

static void gemm_any(enum datatype datatype, const struct onnx__gemm *gemm, const void *a, const void *b, void *c) {
    if (gemm->m == 0 || gemm->n == 0) return;
    if (datatype == DATATYPE_FP32)
        onnx__gemm_call(gemm, a, b, c);
    else if (datatype == DATATYPE_FP64)
        gemm_double(gemm, a, b, c);
    else if (datatype_size(datatype) == sizeof(uint32_t))
        gemm_uint32_t(gemm, a, b, c);
    else
        gemm_uint64_t(gemm, a, b, c);
}

/* --- MatMul ------------------------------------------------------------------------------------------------------ */

int onnx__matmul_read(const struct onnx__step *step, struct onnx__matmul *mm, struct err *err) {
    *mm = (struct onnx__matmul){.a = *step->in[0], .b = *step->in[1], .gemm = {.alpha = 1, .beta = 0}};
    if (mm->a.rank < 1 || mm->b.rank < 1) return onnx__step_refuse(step, err, "an input is a scalar");
    if (mm->b.datatype != mm->a.datatype) return onnx__step_refuse(step, err, "inputs of different datatypes");
    if (mm->a.rank == 1) onnx__shape_set(&mm->a, mm->a.datatype, 2, (int64_t[]){1, mm->a.shape[0]});
    if (mm->b.rank == 1) onnx__shape_set(&mm->b, mm->b.datatype, 2, (int64_t[]){mm->b.shape[0], 1});
    mm->gemm.m = mm->a.shape[mm->a.rank - 2];
    mm->gemm.k = mm->a.shape[mm->a.rank - 1];
    mm->gemm.n = mm->b.shape[mm->b.rank - 1];
    struct tensor stack_a = mm->a, stack_b = mm->b;
    stack_a.rank -= 2;
    stack_b.rank -= 2;
    if (mm->gemm.k != mm->b.shape[mm->b.rank - 2] ||
        !onnx__shape_broadcast(&stack_a, &stack_b, &mm->batch_rank, mm->batch)) {
        char left[128], right[128];
        return onnx__step_refuse(step, err, "shapes %s and %s cannot be multiplied",
                                 onnx__shape_text(step->in[0]->shape, step->in[0]->rank, left, sizeof left),
                                 onnx__shape_text(step->in[1]->shape, step->in[1]->rank, right, sizeof right));
    }
    if (stack_b.rank == 0) { /* one matrix for all: the stack's rows are the rows */
        mm->gemm.m *= onnx__count(&stack_a);
        mm->batch_rank = 0;
    }
    return onnx__gemm_check(step, &mm->gemm, err);
}

OP_INFER(matmul) {
    struct onnx__matmul mm;
    if (onnx__matmul_read(step, &mm, err) != 0) return -1;
    struct tensor *out = step->out[0];
    struct tensor stack_a = mm.a, stack_b = mm.b;
    stack_a.rank -= 2;
    stack_b.rank -= 2;
    out->datatype = mm.a.datatype;
    (void)onnx__shape_broadcast(&stack_a, &stack_b, &out->rank, out->shape); /* onnx__matmul_read has checked it */
    if (step->in[0]->rank > 1) out->shape[out->rank++] = mm.a.shape[mm.a.rank - 2];
    if (step->in[1]->rank > 1) out->shape[out->rank++] = mm.b.shape[mm.b.rank - 1];
    return 0;
}

int64_t onnx__matmul_offset(const struct onnx__matmul *mm, const struct tensor *operand, int64_t number) {
    int64_t offset = 0, size = operand->shape[operand->rank - 2] * operand->shape[operand->rank - 1];
    int own = operand->rank - 2;
    for (int i = mm->batch_rank - 1; i >= 0; i--) {
        int64_t index = number % mm->batch[i];
        number /= mm->batch[i];
        int at = i - (mm->batch_rank - own);
        if (at < 0) break;
        if (operand->shape[at] != 1) offset += index * size;
        size *= operand->shape[at];
    }
    return offset;
}

OP_RUN(matmul) {
    struct onnx__matmul mm;
    if (onnx__matmul_read(step, &mm, err) != 0) return -1;
    int64_t matrices = 1;
    for (int i = 0; i < mm.batch_rank; i++) matrices *= mm.batch[i];
    size_t size = datatype_size(mm.a.datatype);
    for (int64_t i = 0; i < matrices; i++)
        gemm_any(mm.a.datatype, &mm.gemm,
                 (const char *)step->in[0]->data + (size_t)onnx__matmul_offset(&mm, &mm.a, i) * size,
                 (const char *)step->in[1]->data + (size_t)onnx__matmul_offset(&mm, &mm.b, i) * size,
                 (char *)step->out[0]->data + (size_t)(i * mm.gemm.m * mm.gemm.n) * size);
    return 0;
}

/* --- Gemm -------------------------------------------------------------------------------------------------------- */

/* As a factor of whole numbers. */
static bool is_whole(float factor) { return factor == truncf(factor) && fabsf(factor) <= (float)INT32_MAX; }

int onnx__gemm_read(const struct onnx__step *step, struct onnx__gemm *gemm, struct err *err) {
    const struct tensor *a = step->in[0], *b = step->in[1];
    if (a->rank != 2 || b->rank != 2 || b->datatype != a->datatype)
        return onnx__step_refuse(step, err, "inputs A and B must be matrices of one datatype");
    gemm->trans_a = onnx__step_int(step, "transA", 0) != 0;
    gemm->trans_b = onnx__step_int(step, "transB", 0) != 0;
    gemm->alpha = onnx__step_float(step, "alpha", 1);
    gemm->beta = onnx__step_float(step, "beta", 1);
    if ((TYPES_INT & TYPE_BIT(a->datatype)) && !(is_whole(gemm->alpha) && is_whole(gemm->beta)))
        return onnx__step_refuse(step, err, "alpha and beta of whole numbers must be whole");
    gemm->m = a->shape[gemm->trans_a];
    gemm->k = a->shape[!gemm->trans_a];
    gemm->n = b->shape[!gemm->trans_b];
    if (b->shape[gemm->trans_b] != gemm->k) {
        char left[128], right[128];
        return onnx__step_refuse(step, err, "shapes %s and %s cannot be multiplied",
                                 onnx__shape_text(a->shape, a->rank, left, sizeof left),
                                 onnx__shape_text(b->shape, b->rank, right, sizeof right));
    }
    return onnx__gemm_check(step, gemm, err);
}

OP_INFER(gemm) {
    struct onnx__gemm gemm;
    if (onnx__gemm_read(step, &gemm, err) != 0) return -1;
    const struct tensor *c = onnx__step_in(step, 2);
    struct tensor *out = step->out[0];
    onnx__shape_set(out, step->in[0]->datatype, 2, (int64_t[]){gemm.m, gemm.n});
    if (!c) return 0;
    int64_t rows = c->rank > 1 ? c->shape[c->rank - 2] : 1, cols = c->rank > 0 ? c->shape[c->rank - 1] : 1;
    if (c->datatype != out->datatype || c->rank > 2 || (rows != 1 && rows != gemm.m) || (cols != 1 && cols != gemm.n))
        return onnx__step_refuse(step, err, "input C cannot be broadcast to the output");
    return 0;
}

OP_RUN(gemm) {
    struct onnx__gemm gemm;
    if (onnx__gemm_read(step, &gemm, err) != 0) return -1;
    const struct tensor *c = onnx__step_in(step, 2), *out = step->out[0];
    if (c && gemm.beta != 0) { /* C is stretched over the output, for the product to be added to it */
        struct onnx__strided spread = onnx__strided_spread(c, out);
        onnx__strided_copy(&spread, datatype_size(c->datatype), c->data, out->data);
    } else {
        gemm.beta = 0;
    }
    gemm_any(out->datatype, &gemm, step->in[0]->data, step->in[1]->data, out->data);
    return 0;
}
