/* Attention: softmax(scale x Q K^T + mask) V, a step of the fused graph alone (fuse.c finds it). Q, K and V are taken
 * as the linear layers before them leave them, [batch, sequence, heads, size], and the result is left so, too: the
 * transpositions that a file spells out are steps of BLAS from row to row. Each head of each batch is a task, done in
 * blocks of rows, so that its scores never leave the cache.
 *
 * Inputs: Q, K, V, and optionally the mask, which is broadcast over [batch, heads, queries, keys]. Attribute scale.
 */
#include "cpu_internal.h"
#include "vec.h"

#define BLOCK_ROWS 64

/* The mask's last dimension is the keys; each before is the scores' own or 1. */
static bool read_mask(const struct tensor *mask, struct onnx__attention *at) {
    const int64_t dims[4] = {at->batch, at->heads, at->queries, at->keys};
    int64_t step = 1;
    if (mask->datatype != DATATYPE_FP32 || mask->rank < 1 || mask->rank > 4) return false;
    for (int i = mask->rank - 1; i >= 0; i--) {
        int dim = i + 4 - mask->rank;
        if (mask->shape[i] != dims[dim] && (mask->shape[i] != 1 || dim == 3)) return false;
        if (dim < 3) at->mask_steps[dim] = mask->shape[i] == 1 ? 0 : step;
        step *= mask->shape[i];
    }
    return true;
}

int onnx__attention_read(const struct onnx__step *step, struct onnx__attention *at, struct err *err) {
    const struct tensor *q = step->in[0], *k = step->in[1], *v = step->in[2], *mask = onnx__step_in(step, 3);
    *at = (struct onnx__attention){.step = step, .scale = onnx__step_float(step, "scale", 1)};
    if (q->rank != 4 || k->rank != 4 || v->rank != 4 || k->datatype != DATATYPE_FP32 || v->datatype != DATATYPE_FP32)
        return onnx__step_refuse(step, err, "Q, K and V must be FP32 of four dimensions");
    at->batch = q->shape[0];
    at->queries = q->shape[1];
    at->heads = q->shape[2];
    at->size = q->shape[3];
    at->keys = k->shape[1];
    at->value_size = v->shape[3];
    at->block = at->queries < BLOCK_ROWS ? at->queries : BLOCK_ROWS;
    if (k->shape[0] != at->batch || v->shape[0] != at->batch || k->shape[2] != at->heads || v->shape[2] != at->heads ||
        k->shape[3] != at->size || v->shape[1] != at->keys || (mask && !read_mask(mask, at)))
        return onnx__step_refuse(step, err, "Q, K, V and the mask do not fit each other");
    const struct onnx__gemm largest = {.m = at->queries, .n = at->keys * at->heads, .k = at->size * at->heads};
    return onnx__gemm_check(step, &largest, err);
}

OP_INFER(attention) {
    struct onnx__attention at;
    if (onnx__attention_read(step, &at, err) != 0) return -1;
    onnx__shape_set(step->out[0], DATATYPE_FP32, 4, (int64_t[]){at.batch, at.queries, at.heads, at.value_size});
    step->scratch_bytes = (size_t)(at.block * at.keys * step->threads) * sizeof(float);
    return 0;
}

static void mask_scores(const struct onnx__attention *at, int64_t batch, int64_t head, int64_t first, int64_t rows,
                        float *scores) {
    const struct tensor *mask = onnx__step_in(at->step, 3);
    for (int64_t i = 0; i < rows; i++, scores += at->keys) {
        const float *line = mask ? mask->data : NULL;
        if (line) line += batch * at->mask_steps[0] + head * at->mask_steps[1] + (first + i) * at->mask_steps[2];
        onnx__vec()->softmax(at->keys, at->scale, scores, line, scores);
    }
}

static void run_head(void *ctx, int64_t task, int worker) {
    const struct onnx__attention *at = ctx;
    int64_t batch = task / at->heads, head = task % at->heads;
    int row = (int)(at->heads * at->size), value_row = (int)(at->heads * at->value_size);
    const float *q = onnx__floats(at->step, 0) + batch * at->queries * row + head * at->size;
    const float *k = onnx__floats(at->step, 1) + batch * at->keys * row + head * at->size;
    const float *v = onnx__floats(at->step, 2) + batch * at->keys * value_row + head * at->value_size;
    float *y = onnx__out_floats(at->step) + batch * at->queries * value_row + head * at->value_size;
    float *scores = (float *)at->step->scratch + worker * at->block * at->keys;
    for (int64_t first = 0; first < at->queries; first += at->block) {
        int64_t rows = at->queries - first < at->block ? at->queries - first : at->block;
        struct onnx__part scoring = {.gemm = {.trans_b = true, .m = rows, .n = at->keys, .k = at->size, .alpha = 1},
                                     .lda = row,
                                     .ldb = row,
                                     .ldc = (int)at->keys,
                                     .a = q + first * row,
                                     .b = k,
                                     .c = scores};
        struct onnx__part mixing = {.gemm = {.m = rows, .n = at->value_size, .k = at->keys, .alpha = 1},
                                    .lda = (int)at->keys,
                                    .ldb = value_row,
                                    .ldc = value_row,
                                    .a = scores,
                                    .b = v,
                                    .c = y + first * value_row};
        onnx__part_run(&scoring);
        mask_scores(at, batch, head, first, rows, scores);
        onnx__part_run(&mixing);
    }
}

OP_RUN(attention) {
    struct onnx__attention at;
    if (onnx__attention_read(step, &at, err) != 0) return -1;
    onnx__team_run(step->team, at.batch * at.heads, run_head, &at);
    return 0;
}
