/* The loops that a run spends its time in, compiled once for each instruction set that is worth it (vec.c says how) and
 * chosen by the processor at hand. Everything is float32; lengths may be any, pointers need no alignment beyond a
 * float's.
 */
#ifndef PENSTOCK_ONNX_CPU_VEC_H
#define PENSTOCK_ONNX_CPU_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../onnx_internal.h"

#define TILE_ROWS    8  /* rows of a tile of a product */
#define TILE_VECTORS 3  /* and its columns, in vectors */
#define TILE_COLUMNS 48 /* its columns at most */

struct onnx__vec {
    const char *name;
    int lanes; /* floats of a vector: a tile has 3 x lanes columns, a narrow one lanes */
    /* out[8][columns] = sum over p of w[p][8] * x[offsets[p] ...]: a tile of weights times windows that are read where
     * they lie. Reads whole vectors; writes rows of 3 x lanes floats, or lanes with `narrow`. */
    void (*tile)(int64_t k, const float *w, const float *x, const int32_t *offsets, bool narrow, float *out);
    /* y[i] = f(x[i]); y may be x. */
    void (*map)(enum onnx__function function, float alpha, float beta, int64_t n, const float *x, float *y);
    /* c[i] = f(c[i] + bias + rest[i]): each part but c may be left out. bias_step 0: one number for all, 1: one for
     * each.
     */
    void (*tail)(const struct onnx__tail *tail, int64_t n, const float *bias, int bias_step, const float *rest,
                 float *c);
    /* y = softmax(scale * x + mask), mask may be NULL; y may be x. */
    void (*softmax)(int64_t n, float scale, const float *x, const float *mask, float *y);
    /* y = (x - mean) / sqrt(variance + epsilon) * scale + bias; bias may be NULL. Returns mean and inverse. */
    void (*layer_norm)(int64_t n, const float *x, const float *scale, const float *bias, float epsilon, float *y,
                       float *ret_mean, float *ret_inverse);
    float (*sum)(int64_t n, const float *x);
    float (*largest)(int64_t n, const float *x);                         /* NaN if one is; -inf of none */
    void (*larger)(int64_t n, const float *x, int64_t stride, float *y); /* y[i] = max(x[i * stride], y[i]) */
    /* y = A x, or with `adds` y += A x */
    void (*times_vector)(int64_t rows, int64_t cols, const float *a, const float *x, bool adds, float *y);
    /* One step of LSTM for n cells with its usual functions: gates i, o, f, c in x and s, which are added. */
    void (*lstm)(int64_t n, const float *x, const float *s, float *h, float *c);
};

const struct onnx__vec *onnx__vec(void); /* the best for this processor */

/* One of each instruction set; NULL where it was not compiled in. */
extern const struct onnx__vec onnx__vec_plain;
#if defined(__x86_64__)
extern const struct onnx__vec onnx__vec_avx2, onnx__vec_avx512;
#endif

#endif
