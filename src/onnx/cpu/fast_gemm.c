/* MatMul and Gemm of FP32, fast: the product is cut into parts that the team shares out, each one BLAS call, and what
 * follows the product in the fused graph (bias, another tensor, a function) is done part by part while the part is in
 * the cache. Everything else is the reference's (gemm.c).
 */
#include "cpu_internal.h"
#include "vec.h"

#include <cblas.h>

#define PART_EDGE    512 /* rows or columns of a part: packing its operands is a small part of its work */
#define SHARED_FLOPS ((int64_t)1024 * 1024) /* less than that is not worth waking anybody */

static void part_tail(const struct onnx__part *part) {
    const struct onnx__vec *vec = onnx__vec();
    for (int64_t i = 0; i < part->gemm.m; i++) {
        const float *bias = part->bias && part->bias_by_row ? part->bias + i : part->bias;
        const float *rest = part->rest ? part->rest + i * part->ldc : NULL;
        vec->tail(part->tail, part->gemm.n, bias, !part->bias_by_row, rest, part->c + i * part->ldc);
    }
}

void onnx__part_run(const struct onnx__part *part) {
    const struct onnx__gemm *gemm = &part->gemm;
    int m = (int)gemm->m, n = (int)gemm->n, k = (int)gemm->k;
    if (m == 0 || n == 0) return;
    if (m == 1 && k > 0 && !gemm->trans_a) /* BLAS would pack the whole matrix for one row */
        cblas_sgemv(CblasRowMajor, gemm->trans_b ? CblasNoTrans : CblasTrans, gemm->trans_b ? n : k,
                    gemm->trans_b ? k : n, gemm->alpha, part->b, part->ldb ? part->ldb : 1, part->a, 1, gemm->beta,
                    part->c, 1);
    else
        cblas_sgemm(CblasRowMajor, gemm->trans_a ? CblasTrans : CblasNoTrans, gemm->trans_b ? CblasTrans : CblasNoTrans,
                    m, n, k, gemm->alpha, part->a, part->lda ? part->lda : 1, part->b, part->ldb ? part->ldb : 1,
                    gemm->beta, part->c, part->ldc);
    if (part->bias || part->rest || part->tail) part_tail(part);
}

/* --- one product in parts ------------------------------------------------------------------------------------------
 */

struct product {
    const struct onnx__part *whole;
    bool by_rows;
    int64_t edge;
};

static void run_one_part(void *ctx, int64_t task, int worker) {
    const struct product *product = ctx;
    struct onnx__part part = *product->whole;
    int64_t first = task * product->edge, size = product->by_rows ? part.gemm.m : part.gemm.n;
    int64_t count = size - first < product->edge ? size - first : product->edge;
    if (product->by_rows) {
        part.gemm.m = count;
        part.a += first * (part.gemm.trans_a ? 1 : part.lda);
        part.c += first * part.ldc;
        if (part.rest) part.rest += first * part.ldc;
        if (part.bias && part.bias_by_row) part.bias += first;
    } else {
        part.gemm.n = count;
        part.b += first * (part.gemm.trans_b ? part.ldb : 1);
        part.c += first;
        if (part.rest) part.rest += first;
        if (part.bias && !part.bias_by_row) part.bias += first;
    }
    onnx__part_run(&part);
}

/* Along the longer side, so that the smaller operand is what each part packs again. */
static void run_product(const struct onnx__part *whole, struct onnx__team *team) {
    const struct onnx__gemm *gemm = &whole->gemm;
    struct product product = {.whole = whole, .by_rows = gemm->m > gemm->n};
    int64_t size = product.by_rows ? gemm->m : gemm->n, parts = (size + PART_EDGE - 1) / PART_EDGE;
    int64_t threads = gemm->m * gemm->n * gemm->k < SHARED_FLOPS / 2 ? 1 : onnx__team_size(team);
    parts = (parts + threads - 1) / threads * threads;
    product.edge = parts ? ((size + parts - 1) / parts + 15) / 16 * 16 : 1;
    onnx__team_run(threads > 1 ? team : NULL, (size + product.edge - 1) / product.edge, run_one_part, &product);
}

/* --- tails ---------------------------------------------------------------------------------------------------------
 */

static bool same_shape(const struct tensor *a, const struct tensor *b) {
    return a->rank == b->rank && (a->rank == 0 || memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0);
}

int onnx__tail_check(const struct onnx__step *step, struct err *err) {
    const struct tensor *rest = step->node->tail ? onnx__step_in(step, TAIL_REST) : NULL, *out = step->out[0];
    struct tensor both = {0};
    if (!rest) return 0;
    if (rest->datatype == out->datatype && onnx__shape_broadcast(out, rest, &both.rank, both.shape) &&
        same_shape(&both, out))
        return 0;
    return onnx__step_refuse(step, err, "'%s' cannot be added to the output as it is", rest->name);
}

struct onnx__ending onnx__tail_ending(const struct onnx__step *step) {
    const struct onnx__tail *tail = step->node->tail;
    const struct tensor *rest = tail ? onnx__step_in(step, TAIL_REST) : NULL;
    if (rest && !same_shape(rest, step->out[0])) return (struct onnx__ending){.late = true};
    return (struct onnx__ending){.tail = tail, .rest = rest ? rest->data : NULL};
}

void onnx__tail_late(const struct onnx__step *step) {
    const struct onnx__tail *tail = step->node->tail;
    const struct tensor *operands[] = {step->out[0], step->in[TAIL_REST]};
    struct onnx__rows rows;
    for (onnx__rows_init(&rows, step->out[0], 2, operands); rows.done < rows.total; onnx__rows_next(&rows)) {
        const float *rest = (const void *)rows.at[1];
        onnx__vec()->tail(tail, rows.n, rest, (int)rows.stride[1], NULL, onnx__out_floats(step) + rows.done);
    }
}

/* --- MatMul --------------------------------------------------------------------------------------------------------
 */

OP_INFER(fast_matmul) {
    if (onnx__matmul_infer(step, err) != 0) return -1;
    return onnx__tail_check(step, err);
}

struct stack {
    const struct onnx__step *step;
    const struct onnx__matmul *mm;
    struct onnx__part part;
};

static struct onnx__part matrix_part(const struct stack *stack, int64_t number) {
    struct onnx__part part = stack->part;
    int64_t size = part.gemm.m * part.gemm.n;
    part.a += onnx__matmul_offset(stack->mm, &stack->mm->a, number);
    part.b += onnx__matmul_offset(stack->mm, &stack->mm->b, number);
    part.c += number * size;
    if (part.rest) part.rest += number * size;
    return part;
}

static void run_matrix(void *ctx, int64_t number, int worker) {
    struct onnx__part part = matrix_part(ctx, number);
    onnx__part_run(&part);
}

OP_RUN(fast_matmul) {
    struct onnx__matmul mm;
    if (step->out[0]->datatype != DATATYPE_FP32) return onnx__matmul_run(step, err);
    if (onnx__matmul_read(step, &mm, err) != 0) return -1;
    const struct tensor *bias = step->node->tail ? onnx__step_in(step, TAIL_BIAS) : NULL;
    const struct onnx__ending ending = onnx__tail_ending(step);
    struct stack stack = {.step = step, .mm = &mm};
    stack.part = (struct onnx__part){.gemm = mm.gemm,
                                     .lda = (int)mm.gemm.k,
                                     .ldb = (int)mm.gemm.n,
                                     .ldc = (int)mm.gemm.n,
                                     .a = onnx__floats(step, 0),
                                     .b = onnx__floats(step, 1),
                                     .c = onnx__out_floats(step),
                                     .bias = bias ? bias->data : NULL,
                                     .rest = ending.rest,
                                     .tail = ending.tail};
    int64_t matrices = 1;
    for (int i = 0; i < mm.batch_rank; i++) matrices *= mm.batch[i];
    if (matrices == 1)
        run_product(&stack.part, step->team);
    else
        onnx__team_run(step->team, matrices, run_matrix, &stack);
    if (ending.late) onnx__tail_late(step);
    return 0;
}

/* --- Gemm ----------------------------------------------------------------------------------------------------------
 */

OP_INFER(fast_gemm) {
    if (onnx__gemm_infer(step, err) != 0) return -1;
    return onnx__tail_check(step, err);
}

OP_RUN(fast_gemm) {
    struct onnx__gemm gemm;
    if (step->out[0]->datatype != DATATYPE_FP32) return onnx__gemm_run(step, err);
    if (onnx__gemm_read(step, &gemm, err) != 0) return -1;
    const struct tensor *c = onnx__step_in(step, 2), *out = step->out[0];
    const struct onnx__ending ending = onnx__tail_ending(step);
    bool as_bias = c && gemm.beta == 1 && onnx__count(c) == gemm.n && (c->rank == 1 || c->shape[c->rank - 1] == gemm.n);
    if (c && gemm.beta != 0 && !as_bias) { /* C is stretched over the output, for the product to be added to it */
        struct onnx__strided spread = onnx__strided_spread(c, out);
        onnx__strided_copy(&spread, sizeof(float), c->data, out->data);
    } else {
        gemm.beta = 0;
    }
    const struct onnx__part whole = {.gemm = gemm,
                                     .lda = (int)(gemm.trans_a ? gemm.m : gemm.k),
                                     .ldb = (int)(gemm.trans_b ? gemm.k : gemm.n),
                                     .ldc = (int)gemm.n,
                                     .a = onnx__floats(step, 0),
                                     .b = onnx__floats(step, 1),
                                     .c = onnx__out_floats(step),
                                     .bias = as_bias ? c->data : NULL,
                                     .rest = ending.rest,
                                     .tail = ending.tail};
    run_product(&whole, step->team);
    if (ending.late) onnx__tail_late(step);
    return 0;
}
