/* Loops for vectors, written once and compiled for several instruction sets: this file by itself for the least
 * processor of the platform, and included by vec_avx2.c and vec_avx512.c, which CMakeLists.txt compiles with the flags
 * that their names say. onnx__vec() picks by what the processor says it can do, so that one binary runs anywhere and is
 * fast where it can be.
 *
 * The loops are plain C in a form that compilers turn into vectors: no calls, no branches (an `if` in them is a
 * selection), sums declared as such by `omp simd`. Only the tile of products is spelled out in vector types, since the
 * compiler must keep its 24 sums in registers.
 *
 * The functions of a number are polynomials, fitted for the least largest error in float32; tests/unit/test_onnx_vec.c
 * holds them against libm. Infinities and NaN come out as from libm; what would be below the smallest normal number
 * becomes 0.
 */
#include "vec.h"

#include <math.h>
#include <string.h>

#ifndef VEC_NAME
#define VEC_NAME  onnx__vec_plain
#define VEC_TEXT  "plain"
#define VEC_BYTES 16
#define VEC_ROWS  4 /* rows of a tile at a time: as many sums as there are registers for */
#endif

/* --- products ---------------------------------------------------------------------------------------------------- */

typedef float vector __attribute__((vector_size(VEC_BYTES), aligned(4), may_alias));
#define LANES (VEC_BYTES / (int)sizeof(float))

#define TILE(name, columns)                                                                                            \
    static void name(int64_t k, const float *w, const float *x, const int32_t *offsets, float *out) {                  \
        vector sums[VEC_ROWS][columns];                                                                                \
        for (int i = 0; i < VEC_ROWS; i++)                                                                             \
            for (int j = 0; j < (columns); j++) sums[i][j] = (vector){0};                                              \
        for (int64_t p = 0; p < k; p++, w += TILE_ROWS) {                                                              \
            const float *at = x + offsets[p];                                                                          \
            vector b[columns];                                                                                         \
            for (int j = 0; j < (columns); j++) b[j] = *(const vector *)(at + j * LANES);                              \
            for (int i = 0; i < VEC_ROWS; i++)                                                                         \
                for (int j = 0; j < (columns); j++) sums[i][j] += w[i] * b[j];                                         \
        }                                                                                                              \
        for (int i = 0; i < VEC_ROWS; i++)                                                                             \
            for (int j = 0; j < (columns); j++) *(vector *)(out + (i * (columns) + j) * LANES) = sums[i][j];           \
    }
TILE(wide_tile, TILE_VECTORS)
TILE(narrow_tile, 1)

static void tile(int64_t k, const float *w, const float *x, const int32_t *offsets, bool narrow, float *out) {
    for (int row = 0; row < TILE_ROWS; row += VEC_ROWS) {
        if (narrow)
            narrow_tile(k, w + row, x, offsets, out + row * LANES);
        else
            wide_tile(k, w + row, x, offsets, out + row * TILE_VECTORS * LANES);
    }
}

static float dot(int64_t n, const float *a, const float *b) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void times_vector(int64_t rows, int64_t cols, const float *a, const float *x, bool adds, float *y) {
    for (int64_t i = 0; i < rows; i++, a += cols) y[i] = (adds ? y[i] : 0) + dot(cols, a, x);
}

/* --- functions of a number --------------------------------------------------------------------------------------- */

static inline float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* 2^n * e^r with r in [-ln 2 / 2, ln 2 / 2]. The two ends are where float32 ends; a NaN passes all comparisons by. n
 * goes in two halves, since 2^128 is no float. */
static inline float exponential(float x) {
    float low = x < -87.3f ? -87.3f : x, within = low > 88.8f ? 88.8f : low;
    float n = within * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the sum is rounded to a whole number */
    n -= 12582912.0f;
    float r = within - n * 0.693359375f + n * 2.12194440e-4f;
    float power = 1.3950332e-3f;
    power = power * r + 8.3688209e-3f;
    power = power * r + 4.1666210e-2f;
    power = power * r + 1.6666520e-1f;
    power = power * r + 0.5f;
    power = power * r * r + r + 1;
    int whole = (int)n, half = whole / 2;
    float result = power * from_bits((uint32_t)(half + 127) << 23) * from_bits((uint32_t)(whole - half + 127) << 23);
    return x < -87.3f ? 0 : result;
}

static inline float logistic(float x) { return 1 / (1 + exponential(-x)); }

static inline float hyperbolic(float x) {
    float size = fabsf(x), s = x * x, e = exponential(-2 * size);
    float small = -5.6599849e-3f;
    small = small * s + 2.0590983e-2f;
    small = small * s - 5.3721067e-2f;
    small = small * s + 1.3331127e-1f;
    small = small * s - 3.3333260e-1f;
    small = small * s * x + x;
    float large = copysignf((1 - e) / (1 + e), x);
    return size < 0.625f ? small : large;
}

static inline float error_function(float x) {
    float size = fabsf(x), t = size > 3.95f ? 3.95f : size, s = x * x;
    float small = 7.8538578e-5f;
    small = small * s - 8.0101925e-4f;
    small = small * s + 5.1883277e-3f;
    small = small * s - 2.6853811e-2f;
    small = small * s + 1.1283585e-1f;
    small = small * s - 3.7612626e-1f;
    small = small * s + 1.1283791f;
    small = small * x;
    float log_rest = 1.8557486e-4f;
    log_rest = log_rest * t - 2.9396154e-3f;
    log_rest = log_rest * t + 2.1805350e-2f;
    log_rest = log_rest * t - 1.0303743e-1f;
    log_rest = log_rest * t - 6.3822562e-1f;
    log_rest = log_rest * t - 1.1270400f;
    log_rest = log_rest * t - 3.5370931e-4f;
    float large = copysignf(1 - exponential(log_rest), x);
    return size < 1 ? small : (size < 3.95f ? large : copysignf(1, x) + 0 * x);
}

static inline float clamp01(float x) { return x < 0 ? 0 : (x > 1 ? 1 : x); }

#define EACH(expr)                                                                                                     \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
        float v = x[i];                                                                                                \
        y[i] = (expr);                                                                                                 \
    }                                                                                                                  \
    break;

static void map(enum onnx__function function, float alpha, float beta, int64_t n, const float *x, float *y) {
    switch (function) {
    case FUNCTION_NONE:
        if (x != y) memcpy(y, x, (size_t)n * sizeof *y);
        break;
    case FUNCTION_RELU:
        EACH(v < 0 ? 0 : v)
    case FUNCTION_CLIP:
        EACH(v < alpha ? alpha : (v > beta ? beta : v))
    case FUNCTION_LEAKY_RELU:
        EACH(v < 0 ? alpha * v : v)
    case FUNCTION_HARD_SIGMOID:
        EACH(clamp01(alpha * v + beta))
    case FUNCTION_HARD_SWISH:
        EACH(v * clamp01(v / 6 + 0.5f))
    case FUNCTION_EXP:
        EACH(exponential(v))
    case FUNCTION_SIGMOID:
        EACH(logistic(v))
    case FUNCTION_TANH:
        EACH(hyperbolic(v))
    case FUNCTION_ERF:
        EACH(error_function(v))
    case FUNCTION_GELU:
        EACH(0.5f * v * (1 + error_function(v * 0.70710678f)))
    case FUNCTION_GELU_TANH:
        EACH(0.5f * v * (1 + hyperbolic(0.79788456f * (v + 0.044715f * v * v * v))))
    }
}

/* --- rows -------------------------------------------------------------------------------------------------------- */

static void tail(const struct onnx__tail *tail, int64_t n, const float *bias, int bias_step, const float *rest,
                 float *c) {
    if (bias && bias_step)
        for (int64_t i = 0; i < n; i++) c[i] += bias[i];
    if (bias && !bias_step) {
        float same = *bias;
        for (int64_t i = 0; i < n; i++) c[i] += same;
    }
    if (rest)
        for (int64_t i = 0; i < n; i++) c[i] += rest[i];
    if (tail && tail->function != FUNCTION_NONE) map(tail->function, tail->alpha, tail->beta, n, c, c);
}

static float sum(int64_t n, const float *x) {
    float total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < n; i++) total += x[i];
    return total;
}

static float largest(int64_t n, const float *x) {
    float most = -INFINITY, poison = 0;
#pragma omp simd reduction(max : most) reduction(+ : poison)
    for (int64_t i = 0; i < n; i++) {
        most = x[i] > most ? x[i] : most;
        poison += x[i] != x[i] ? x[i] : 0;
    }
    return most + poison;
}

#define LARGER(step)                                                                                                   \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
        float v = x[i * (step)];                                                                                       \
        y[i] = v > y[i] || v != v ? v : y[i];                                                                          \
    }

/* Spelled out for the usual strides, which the compiler then makes shuffles of. */
static void larger(int64_t n, const float *x, int64_t stride, float *y) {
    if (stride == 1)
        LARGER(1)
    else if (stride == 2)
        LARGER(2)
    else
        LARGER(stride)
}

static void softmax(int64_t n, float scale, const float *x, const float *mask, float *y) {
    for (int64_t i = 0; i < n; i++) y[i] = scale * x[i] + (mask ? mask[i] : 0);
    float most = largest(n, y), total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < n; i++) {
        y[i] = exponential(y[i] - most);
        total += y[i];
    }
    float whole = 1 / total;
    for (int64_t i = 0; i < n; i++) y[i] *= whole;
}

/* Two passes: the difference of two large sums would lose the variance. */
static void layer_norm(int64_t n, const float *x, const float *scale, const float *bias, float epsilon, float *y,
                       float *ret_mean, float *ret_inverse) {
    float mean = sum(n, x) / (float)n, squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    float inverse = 1 / sqrtf(squares / (float)n + epsilon);
    for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * inverse * scale[i] + (bias ? bias[i] : 0);
    *ret_mean = mean;
    *ret_inverse = inverse;
}

static void lstm(int64_t n, const float *x, const float *s, float *h, float *c) {
    for (int64_t j = 0; j < n; j++) {
        float in = logistic(x[j] + s[j]), forget = logistic(x[2 * n + j] + s[2 * n + j]);
        float cell = forget * c[j] + in * hyperbolic(x[3 * n + j] + s[3 * n + j]);
        c[j] = cell;
        h[j] = logistic(x[n + j] + s[n + j]) * hyperbolic(cell);
    }
}

const struct onnx__vec VEC_NAME = {
    .name = VEC_TEXT,
    .lanes = LANES,
    .tile = tile,
    .map = map,
    .tail = tail,
    .softmax = softmax,
    .layer_norm = layer_norm,
    .sum = sum,
    .largest = largest,
    .larger = larger,
    .times_vector = times_vector,
    .lstm = lstm,
};
