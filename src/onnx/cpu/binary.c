/* Element by element, more than one operand, with NumPy's broadcasting: arithmetic, comparison, logic, and the choice
 * between two (Where).
 *
 * Each operator is an expression of one line; macros make a loop of it for each datatype that it takes, and
 * broadcast.c says where its rows lie. FP16 is computed as FP32, a stretch at a time. Operators of any number of
 * operands begin with the first, spread over the output, and take in the others one by one.
 *
 * Integers wrap, as in NumPy, by computing in uint64_t, whose low bits are the same; dividing by zero is an error of
 * the run, since C leaves it undefined.
 */
#include "cpu_internal.h"

#include <math.h>
#include <tgmath.h>

OP_INFER(same) {
    onnx__shape_like(step->out[0], step->in[0]);
    return 0;
}

OP_INFER(binary) { return onnx__broadcast_infer(step, 0, step->in[0]->datatype, err); }

/* --- one row ----------------------------------------------------------------------------------------------------- */

/* n elements; sa and sb are 0 or 1. Returns false on a division by zero. */
typedef bool row_fn(int64_t n, const void *a, int64_t sa, const void *b, int64_t sb, void *out);

#define ROW(name, type, out_type, guard, expr)                                                                         \
    static bool name##_##type(int64_t n, const void *a, int64_t sa, const void *b, int64_t sb, void *out) {            \
        const type *pa = a, *pb = b;                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            type x = pa[i * sa], y = pb[i * sb];                                                                       \
            if (guard) return false;                                                                                   \
            ((out_type *)out)[i] = (out_type)(expr);                                                                   \
        }                                                                                                              \
        return true;                                                                                                   \
    }
#define SAME(name, type, guard, expr)  ROW(name, type, type, guard, expr)
#define TRUTH(name, type, guard, expr) ROW(name, type, uint8_t, guard, expr)
#define REAL(M, name, expr)            M(name, float, false, expr) M(name, double, false, expr)
#define SIGNED(M, name, guard, expr)                                                                                   \
    M(name, int8_t, guard, expr)                                                                                       \
    M(name, int16_t, guard, expr) M(name, int32_t, guard, expr) M(name, int64_t, guard, expr)
#define UNSIGNED(M, name, guard, expr)                                                                                 \
    M(name, uint8_t, guard, expr)                                                                                      \
    M(name, uint16_t, guard, expr) M(name, uint32_t, guard, expr) M(name, uint64_t, guard, expr)
#define WHOLE(M, name, guard, expr) SIGNED(M, name, guard, expr) UNSIGNED(M, name, guard, expr)
#define NUMBER(M, name, expr)       REAL(M, name, expr) WHOLE(M, name, false, expr)

static bool half_row(row_fn *fn, const struct onnx__rows *rows, char *out, bool to_half) {
    float a[HALF_STRETCH], b[HALF_STRETCH], result[HALF_STRETCH];
    for (int64_t at = 0; at < rows->n; at += HALF_STRETCH) {
        int64_t n = rows->n - at < HALF_STRETCH ? rows->n - at : HALF_STRETCH, sa = rows->stride[0],
                sb = rows->stride[1];
        onnx__convert(DATATYPE_FP16, rows->at[0] + at * sa * 2, DATATYPE_FP32, a, sa ? n : 1);
        onnx__convert(DATATYPE_FP16, rows->at[1] + at * sb * 2, DATATYPE_FP32, b, sb ? n : 1);
        if (!fn(n, a, sa, b, sb, to_half ? (void *)result : out + at)) return false;
        if (to_half) onnx__convert(DATATYPE_FP32, result, DATATYPE_FP16, out + at * 2, n);
    }
    return true;
}

static int run_pair(const struct onnx__step *step, row_fn *const *fns, const struct tensor *a, const struct tensor *b,
                    struct err *err) {
    const struct tensor *out = step->out[0];
    const struct tensor *operands[] = {a, b};
    size_t size = datatype_size(out->datatype);
    struct onnx__rows rows;
    for (onnx__rows_init(&rows, out, 2, operands); rows.done < rows.total; onnx__rows_next(&rows)) {
        char *to = (char *)out->data + (size_t)rows.done * size;
        bool fine = a->datatype == DATATYPE_FP16
                        ? half_row(fns[DATATYPE_FP32], &rows, to, out->datatype == DATATYPE_FP16)
                        : fns[a->datatype](rows.n, rows.at[0], rows.stride[0], rows.at[1], rows.stride[1], to);
        if (!fine) return onnx__step_fail(step, err, "an integer is divided by zero");
    }
    return 0;
}

static int run_binary(const struct onnx__step *step, row_fn *const *fns, struct err *err) {
    struct tensor b = onnx__broadcast_operand(step, 1);
    return run_pair(step, fns, step->in[0], &b, err);
}

#define OPERATOR(name, fns)                                                                                            \
    OP_RUN(name) {                                                                                                     \
        static row_fn *const table[DATATYPE_COUNT] = {fns(name)};                                                      \
        return run_binary(step, table, err);                                                                           \
    }

/* --- arithmetic -------------------------------------------------------------------------------------------------- */

REAL(SAME, add, x + y)
WHOLE(SAME, add, false, (uint64_t)x + (uint64_t)y)
OPERATOR(add, FNS_NUMBER)

REAL(SAME, sub, x - y)
WHOLE(SAME, sub, false, (uint64_t)x - (uint64_t)y)
OPERATOR(sub, FNS_NUMBER)

REAL(SAME, mul, x *y)
WHOLE(SAME, mul, false, (uint64_t)x *(uint64_t)y)
OPERATOR(mul, FNS_NUMBER)

REAL(SAME, div, x / y)
SIGNED(SAME, div, y == 0, y == -1 ? 0 - (uint64_t)x : (uint64_t)(x / y)) /* the least number / -1 overflows */
UNSIGNED(SAME, div, y == 0, x / y)
OPERATOR(div, FNS_NUMBER)

/* The remainder has the sign of the divisor as in Python, or with fmod that of the dividend as in C. */
REAL(SAME, mod, x - y * floor(x / y))
SIGNED(SAME, mod, y == 0, y == -1 ? 0 : x % y + (x % y != 0 && (x < 0) != (y < 0) ? y : 0))
UNSIGNED(SAME, mod, y == 0, x % y)
REAL(SAME, fmod, fmod(x, y))
SIGNED(SAME, fmod, y == 0, y == -1 ? 0 : x % y)
UNSIGNED(SAME, fmod, y == 0, x % y)

OP_RUN(mod) {
    static row_fn *const pythons[DATATYPE_COUNT] = {FNS_NUMBER(mod)}, *const cs[DATATYPE_COUNT] = {FNS_NUMBER(fmod)};
    return run_binary(step, onnx__step_int(step, "fmod", 0) ? cs : pythons, err);
}

UNSIGNED(SAME, shift_left, false, (uint64_t)y < sizeof x * 8 ? (uint64_t)x << y : 0)
UNSIGNED(SAME, shift_right, false, (uint64_t)y < sizeof x * 8 ? x >> y : 0)

OP_INFER(bit_shift) {
    const char *direction = onnx__step_string(step, "direction", "");
    if (strcmp(direction, "LEFT") != 0 && strcmp(direction, "RIGHT") != 0)
        return onnx__step_refuse(step, err, "direction '%.40s' is not known", direction);
    return onnx__binary_infer(step, err);
}

OP_RUN(bit_shift) {
    static row_fn *const left[DATATYPE_COUNT] = {FNS_UNSIGNED(shift_left)};
    static row_fn *const right[DATATYPE_COUNT] = {FNS_UNSIGNED(shift_right)};
    bool to_left = strcmp(onnx__step_string(step, "direction", ""), "LEFT") == 0;
    return run_binary(step, to_left ? left : right, err);
}

REAL(SAME, prelu, x < 0 ? x * y : x)
SIGNED(SAME, prelu, false, x < 0 ? (uint64_t)x * (uint64_t)y : (uint64_t)x)

/* The slope is stretched over the input, which is not. Until opset 6 a list is one slope per channel. */
static struct tensor slope_of(const struct onnx__step *step) {
    struct tensor slope = onnx__broadcast_operand(step, 1);
    while (step->opset < 7 && slope.rank > 0 && slope.rank < step->in[0]->rank - 1) slope.shape[slope.rank++] = 1;
    return slope;
}

OP_INFER(prelu) {
    const struct tensor *x = step->in[0];
    struct tensor slope = slope_of(step), *inputs[] = {step->in[0], &slope};
    struct onnx__step stretched = *step;
    stretched.in = inputs;
    if (onnx__binary_infer(&stretched, err) != 0) return -1;
    bool same = step->out[0]->rank == x->rank;
    for (int i = 0; same && i < x->rank; i++) same = step->out[0]->shape[i] == x->shape[i];
    return same ? 0 : onnx__step_refuse(step, err, "the slope does not fit the input");
}

OP_RUN(prelu) {
    static row_fn *const fns[DATATYPE_COUNT] = {FNS_REAL(prelu), FNS_SIGNED(prelu)};
    struct tensor slope = slope_of(step);
    return run_pair(step, fns, step->in[0], &slope, err);
}

/* --- Pow --------------------------------------------------------------------------------------------------------- */

/* By squaring, wrapping; 1/x of a whole number is one only for 1 and -1, and 0 has none. */
static int64_t power_of(int64_t base, int64_t exponent) {
    if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
    uint64_t power = 1, square = (uint64_t)base;
    for (; exponent; exponent >>= 1, square *= square)
        if (exponent & 1) power *= square;
    return (int64_t)power;
}

SAME(pow, float, false, y == 2 ? x * x : powf(x, y)) /* squares are what networks ask for most */
SAME(pow, double, false, pow(x, y))
SAME(pow, int64_t, false, power_of(x, y))

OP_INFER(pow) {
    if (!(TYPES_ARITH & TYPE_BIT(step->in[1]->datatype)))
        return onnx__step_refuse(step, err, "an exponent of %s", datatype_name(step->in[1]->datatype));
    struct tensor exponent = *step->in[1], *inputs[] = {step->in[0], &exponent};
    exponent.datatype = step->in[0]->datatype; /* they may differ: the base decides */
    struct onnx__step alike = *step;
    alike.in = inputs;
    return onnx__binary_infer(&alike, err);
}

/* Which type both are computed in: whole numbers stay exact. */
static enum datatype pow_type(enum datatype base, enum datatype exponent) {
    if (base == DATATYPE_FP32 || base == DATATYPE_FP16) return DATATYPE_FP32;
    return (TYPES_INT & TYPE_BIT(base)) && (TYPES_INT & TYPE_BIT(exponent)) ? DATATYPE_INT64 : DATATYPE_FP64;
}

OP_RUN(pow) {
    static row_fn *const fns[DATATYPE_COUNT] = {
        [DATATYPE_FP32] = pow_float, [DATATYPE_FP64] = pow_double, [DATATYPE_INT64] = pow_int64_t};
    const struct tensor *a = step->in[0], *out = step->out[0];
    const struct tensor operand = onnx__broadcast_operand(step, 1), *b = &operand;
    if (a->datatype == DATATYPE_FP32 && b->datatype == DATATYPE_FP32) return run_pair(step, fns, a, b, err);
    enum datatype type = pow_type(a->datatype, b->datatype);
    union {
        float single[HALF_STRETCH];
        double real[HALF_STRETCH];
        int64_t whole[HALF_STRETCH];
    } x, y, z;
    struct onnx__rows rows;
    for (onnx__rows_init(&rows, out, 2, (const struct tensor *[]){a, b}); rows.done < rows.total;
         onnx__rows_next(&rows))
        for (int64_t at = 0; at < rows.n; at += HALF_STRETCH) {
            int64_t n = rows.n - at < HALF_STRETCH ? rows.n - at : HALF_STRETCH, sa = rows.stride[0],
                    sb = rows.stride[1];
            onnx__convert(a->datatype, rows.at[0] + at * sa * (int64_t)rows.size[0], type, &x, sa ? n : 1);
            onnx__convert(b->datatype, rows.at[1] + at * sb * (int64_t)rows.size[1], type, &y, sb ? n : 1);
            (void)fns[type](n, &x, sa, &y, sb, &z); /* divides nothing */
            onnx__convert(type, &z, out->datatype, (char *)out->data + (size_t)(rows.done + at) * rows.size[0], n);
        }
    return 0;
}

/* --- comparison and logic ---------------------------------------------------------------------------------------- */

OP_INFER(compare) { return onnx__broadcast_infer(step, 0, DATATYPE_BOOL, err); }

TRUTH(same_truth, uint8_t, false, !x == !y)
NUMBER(TRUTH, equal, x == y)
NUMBER(TRUTH, greater, x > y)
NUMBER(TRUTH, greater_or_equal, x >= y)
NUMBER(TRUTH, less, x < y)
NUMBER(TRUTH, less_or_equal, x <= y)
#define FNS_EQUAL(name) FNS_NUMBER(name), [DATATYPE_BOOL] = same_truth_uint8_t
OPERATOR(equal, FNS_EQUAL)
OPERATOR(greater, FNS_NUMBER)
OPERATOR(greater_or_equal, FNS_NUMBER)
OPERATOR(less, FNS_NUMBER)
OPERATOR(less_or_equal, FNS_NUMBER)

#define FNS_BOOL(name) [DATATYPE_BOOL] = name##_uint8_t
TRUTH(and, uint8_t, false, x &&y)
TRUTH(or, uint8_t, false, x || y)
TRUTH(xor, uint8_t, false, !x != !y)
OPERATOR(and, FNS_BOOL)
OPERATOR(or, FNS_BOOL)
OPERATOR(xor, FNS_BOOL)

/* --- any number of operands -------------------------------------------------------------------------------------- */

REAL(SAME, max, x > y || isnan(x) ? x : y) /* what is no number wins, as in NumPy */
REAL(SAME, min, x < y || isnan(x) ? x : y)
WHOLE(SAME, max, false, x > y ? x : y)
WHOLE(SAME, min, false, x < y ? x : y)

static int run_all(const struct onnx__step *step, row_fn *const *fns, struct err *err) {
    struct tensor *out = step->out[0];
    struct onnx__strided first = onnx__strided_spread(step->in[0], out);
    onnx__strided_copy(&first, datatype_size(out->datatype), step->in[0]->data, out->data);
    for (size_t i = 1; i < step->in_count; i++) {
        struct tensor operand = onnx__broadcast_operand(step, i);
        if (run_pair(step, fns, out, &operand, err) != 0) return -1;
    }
    return 0;
}

OP_RUN(max) {
    static row_fn *const fns[DATATYPE_COUNT] = {FNS_NUMBER(max)};
    return run_all(step, fns, err);
}

OP_RUN(min) {
    static row_fn *const fns[DATATYPE_COUNT] = {FNS_NUMBER(min)};
    return run_all(step, fns, err);
}

OP_RUN(sum) {
    static row_fn *const fns[DATATYPE_COUNT] = {FNS_REAL(add)};
    return run_all(step, fns, err);
}

OP_RUN(mean) {
    static row_fn *const fns[DATATYPE_COUNT] = {FNS_REAL(div)};
    struct tensor *out = step->out[0], count = {.datatype = out->datatype};
    double number = (double)step->in_count, as_given;
    if (onnx__sum_run(step, err) != 0) return -1;
    onnx__convert(DATATYPE_FP64, &number, out->datatype, &as_given, 1);
    count.data = &as_given;
    return run_pair(step, fns, out, &count, err);
}

/* --- Where ------------------------------------------------------------------------------------------------------- */

OP_INFER(where) { return onnx__broadcast_infer(step, 1, step->in[1]->datatype, err); }

#define CHOOSE(type)                                                                                                   \
    static void choose_##type(const struct onnx__rows *rows, void *out) {                                              \
        const uint8_t *first = (const uint8_t *)rows->at[0];                                                           \
        const type *x = (const void *)rows->at[1], *y = (const void *)rows->at[2];                                     \
        for (int64_t i = 0; i < rows->n; i++)                                                                          \
            ((type *)out)[i] = first[i * rows->stride[0]] ? x[i * rows->stride[1]] : y[i * rows->stride[2]];           \
    }
CHOOSE(uint8_t)
CHOOSE(uint16_t)
CHOOSE(uint32_t)
CHOOSE(uint64_t)

OP_RUN(where) {
    static void (*const by_size[])(const struct onnx__rows *, void *) = {
        [1] = choose_uint8_t, [2] = choose_uint16_t, [4] = choose_uint32_t, [8] = choose_uint64_t};
    const struct tensor *out = step->out[0];
    const struct tensor *operands[] = {step->in[0], step->in[1], step->in[2]};
    size_t size = datatype_size(out->datatype);
    struct onnx__rows rows;
    for (onnx__rows_init(&rows, out, 3, operands); rows.done < rows.total; onnx__rows_next(&rows))
        by_size[size](&rows, (char *)out->data + (size_t)rows.done * size);
    return 0;
}
