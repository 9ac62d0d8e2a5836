/* Element by element, one operand: functions of a number, and Clip.
 *
 * Each function is one line; macros make a loop of it for each datatype that it takes. FP32 and FP64 are computed as
 * they are (tgmath.h picks expf or exp). FP16 is computed as FP32, a stretch at a time. Integers are negated in
 * uint64_t, where the least one overflows without harm.
 */
#include "cpu_internal.h"

#include <math.h>
#include <tgmath.h>

/* a and b are the operator's attributes, if it has any. */
typedef void unary_fn(int64_t n, const void *x, void *y, float a, float b);

#define EACH(name, type, expr)                                                                                         \
    static void name##_##type(int64_t n, const void *x, void *y, float a, float b) {                                   \
        const type *in = x;                                                                                            \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            type v = in[i];                                                                                            \
            ((type *)y)[i] = (type)(expr);                                                                             \
        }                                                                                                              \
    }
#define EACH_REAL(name, expr) EACH(name, float, expr) EACH(name, double, expr)
#define EACH_SIGNED(name, expr)                                                                                        \
    EACH(name, int8_t, expr) EACH(name, int16_t, expr) EACH(name, int32_t, expr) EACH(name, int64_t, expr)
#define EACH_UNSIGNED(name, expr)                                                                                      \
    EACH(name, uint8_t, expr) EACH(name, uint16_t, expr) EACH(name, uint32_t, expr) EACH(name, uint64_t, expr)

static void run_half(unary_fn *fn, int64_t n, const uint16_t *x, uint16_t *y, float a, float b) {
    float in[HALF_STRETCH], out[HALF_STRETCH];
    for (int64_t at = 0; at < n; at += HALF_STRETCH) {
        int64_t count = n - at < HALF_STRETCH ? n - at : HALF_STRETCH;
        onnx__convert(DATATYPE_FP16, x + at, DATATYPE_FP32, in, count);
        fn(count, in, out, a, b);
        onnx__convert(DATATYPE_FP32, out, DATATYPE_FP16, y + at, count);
    }
}

static int run_each(const struct onnx__step *step, unary_fn *const *fns, float a, float b) {
    const struct tensor *x = step->in[0], *y = step->out[0];
    if (x->datatype == DATATYPE_FP16)
        run_half(fns[DATATYPE_FP32], onnx__count(x), x->data, y->data, a, b);
    else
        fns[x->datatype](onnx__count(x), x->data, y->data, a, b);
    return 0;
}

/* The operator `name`; what follows are its two numbers. */
#define OPERATOR(name, fns, a, b)                                                                                      \
    OP_RUN(name) {                                                                                                     \
        static unary_fn *const table[DATATYPE_COUNT] = {fns(name)};                                                    \
        return run_each(step, table, a, b);                                                                            \
    }
#define REAL(name, a, b, expr) EACH_REAL(name, expr) OPERATOR(name, FNS_REAL, a, b)
#define ATTR(name, fallback)   onnx__step_float(step, name, fallback)

/* --- of real numbers --------------------------------------------------------------------------------------------- */

REAL(acos, 0, 0, acos(v))
REAL(acosh, 0, 0, acosh(v))
REAL(asin, 0, 0, asin(v))
REAL(asinh, 0, 0, asinh(v))
REAL(atan, 0, 0, atan(v))
REAL(atanh, 0, 0, atanh(v))
REAL(ceil, 0, 0, ceil(v))
REAL(cos, 0, 0, cos(v))
REAL(cosh, 0, 0, cosh(v))
REAL(erf, 0, 0, erf(v))
REAL(exp, 0, 0, exp(v))
REAL(floor, 0, 0, floor(v))
REAL(log, 0, 0, log(v))
REAL(reciprocal, 0, 0, 1 / v)
REAL(round, 0, 0, rint(v)) /* to the even one of two that are as near */
REAL(sigmoid, 0, 0, 1 / (1 + exp(-v)))
REAL(sin, 0, 0, sin(v))
REAL(sinh, 0, 0, sinh(v))
REAL(sqrt, 0, 0, sqrt(v))
REAL(tan, 0, 0, tan(v))
REAL(tanh, 0, 0, tanh(v))

/* --- activations ------------------------------------------------------------------------------------------------- */

REAL(celu, ATTR("alpha", 1), 0, v < 0 ? a * expm1(v / a) : v)
REAL(elu, ATTR("alpha", 1), 0, v < 0 ? a * expm1(v) : v)
REAL(hard_sigmoid, ATTR("alpha", 0.2f), ATTR("beta", 0.5f), fmax(0.0f, fmin(1.0f, a *v + b)))
REAL(hard_swish, 0, 0, v *fmax(0.0f, fmin(1.0f, v / 6 + 0.5f)))
REAL(leaky_relu, ATTR("alpha", 0.01f), 0, v < 0 ? a * v : v)
REAL(mish, 0, 0, v *tanh(v > 0 ? v + log1p(exp(-v)) : log1p(exp(v))))
REAL(selu, ATTR("alpha", 1.67326319217681884765625f), ATTR("gamma", 1.05070102214813232421875f),
     b *(v < 0 ? a * expm1(v) : v))
REAL(shrink, ATTR("lambd", 0.5f), ATTR("bias", 0), v < -a ? v + b : (v > a ? v - b : 0))
REAL(softplus, 0, 0, v > 0 ? v + log1p(exp(-v)) : log1p(exp(v)))
REAL(softsign, 0, 0, v / (1 + fabs(v)))
REAL(thresholded_relu, ATTR("alpha", 1), 0, v > a ? v : 0)

/* A constant in the type of v, so that FP32 stays FP32. */
#define K(number) ((__typeof__(v))(number))
EACH_REAL(gelu, v *(1 + erf(v * K(M_SQRT1_2))) / 2)
EACH_REAL(gelu_tanh, v *(1 + tanh(K(M_2_SQRTPI * M_SQRT1_2) * (v + K(0.044715) * v * v * v))) / 2)

OP_INFER(gelu) {
    const char *approximate = onnx__step_string(step, "approximate", "none");
    if (strcmp(approximate, "none") != 0 && strcmp(approximate, "tanh") != 0)
        return onnx__step_refuse(step, err, "approximation '%.40s' is not known", approximate);
    return onnx__same_infer(step, err);
}

OP_RUN(gelu) {
    static unary_fn *const exact[DATATYPE_COUNT] = {FNS_REAL(gelu)}, *const by_tanh[DATATYPE_COUNT] = {
                                                                         FNS_REAL(gelu_tanh)};
    bool approximate = strcmp(onnx__step_string(step, "approximate", "none"), "tanh") == 0;
    return run_each(step, approximate ? by_tanh : exact, 0, 0);
}

/* --- of signs ---------------------------------------------------------------------------------------------------- */

#define NEGATED(v) (0 - (uint64_t)(v))

EACH_REAL(abs, fabs(v))
EACH_SIGNED(abs, v < 0 ? NEGATED(v) : (uint64_t)v)
EACH_UNSIGNED(abs, v)
OPERATOR(abs, FNS_NUMBER, 0, 0)

EACH_REAL(neg, -v)
EACH_SIGNED(neg, NEGATED(v))
#define FNS_NEG(name) FNS_REAL(name), FNS_SIGNED(name)
OPERATOR(neg, FNS_NEG, 0, 0)

EACH_REAL(relu, v < 0 ? 0 : v) /* a NaN stays one */
EACH_SIGNED(relu, v < 0 ? 0 : v)
OPERATOR(relu, FNS_NEG, 0, 0)

EACH_REAL(sign, isnan(v) ? v : (v > 0) - (v < 0))
EACH_SIGNED(sign, (v > 0) - (v < 0))
EACH_UNSIGNED(sign, v > 0)
OPERATOR(sign, FNS_NUMBER, 0, 0)

/* --- to or from truth -------------------------------------------------------------------------------------------- */

OP_INFER(truth) {
    onnx__shape_set(step->out[0], DATATYPE_BOOL, step->in[0]->rank, step->in[0]->shape);
    return 0;
}

OP_RUN(not ) {
    const uint8_t *x = step->in[0]->data;
    uint8_t *y = step->out[0]->data;
    int64_t count = onnx__count(step->in[0]);
    for (int64_t i = 0; i < count; i++) y[i] = !x[i];
    return 0;
}

/* Asks each element, as FP64. */
static void run_question(const struct onnx__step *step, bool (*ask)(const struct onnx__step *step, double x)) {
    const struct tensor *x = step->in[0];
    uint8_t *y = step->out[0]->data;
    int64_t count = onnx__count(x);
    for (int64_t i = 0; i < count; i++) {
        double value;
        onnx__convert(x->datatype, (const char *)x->data + (size_t)i * datatype_size(x->datatype), DATATYPE_FP64,
                      &value, 1);
        y[i] = ask(step, value);
    }
}

static bool ask_nan(const struct onnx__step *step, double x) { return isnan(x); }

static bool ask_infinite(const struct onnx__step *step, double x) {
    return isinf(x) && onnx__step_int(step, x > 0 ? "detect_positive" : "detect_negative", 1) != 0;
}

OP_RUN(is_nan) {
    run_question(step, ask_nan);
    return 0;
}

OP_RUN(is_inf) {
    run_question(step, ask_infinite);
    return 0;
}

/* --- Clip -------------------------------------------------------------------------------------------------------- */

/* Until opset 10 the bounds are attributes, then optional scalar inputs. */
OP_INFER(clip) {
    for (size_t i = 1; i < 3; i++) {
        const struct tensor *bound = onnx__step_in(step, i);
        if (bound && (bound->datatype != step->in[0]->datatype || onnx__count(bound) != 1))
            return onnx__step_refuse(step, err, "bound '%s' is not one number of the input's datatype", bound->name);
    }
    return onnx__same_infer(step, err);
}

/* Of crossed bounds the upper wins, as in NumPy. A bound that is not given does nothing: not even an infinity is cut.
 */
#define CLIP(type)                                                                                                     \
    static void clip_##type(int64_t n, const void *x, void *y, const void *low, const void *high) {                    \
        const type *in = x, *least = low, *most = high;                                                                \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            type v = in[i];                                                                                            \
            if (least && v < *least) v = *least;                                                                       \
            if (most && v > *most) v = *most;                                                                          \
            ((type *)y)[i] = v;                                                                                        \
        }                                                                                                              \
    }
CLIP(float)
CLIP(double)
CLIP(int8_t)
CLIP(int16_t)
CLIP(int32_t)
CLIP(int64_t)
CLIP(uint8_t)
CLIP(uint16_t)
CLIP(uint32_t)
CLIP(uint64_t)

typedef void clip_fn(int64_t n, const void *x, void *y, const void *low, const void *high);

static const void *clip_bound(const struct onnx__step *step, size_t index, const char *name) {
    if (step->opset < 11) {
        const struct onnx__attr *attr = onnx__step_attr(step, name, ATTR_FLOAT);
        return attr ? &attr->number : NULL;
    }
    const struct tensor *bound = onnx__step_in(step, index);
    return bound ? bound->data : NULL;
}

/* FP16: in FP32, one at a time. An attribute is FP32 already. */
static void clip_half(const struct onnx__step *step, const void *low, const void *high) {
    enum datatype given = step->opset < 11 ? DATATYPE_FP32 : DATATYPE_FP16;
    float least = 0, most = 0, x, y;
    if (low) onnx__convert(given, low, DATATYPE_FP32, &least, 1);
    if (high) onnx__convert(given, high, DATATYPE_FP32, &most, 1);
    int64_t count = onnx__count(step->in[0]);
    for (int64_t i = 0; i < count; i++) {
        onnx__convert(DATATYPE_FP16, (const uint16_t *)step->in[0]->data + i, DATATYPE_FP32, &x, 1);
        clip_float(1, &x, &y, low ? &least : NULL, high ? &most : NULL);
        onnx__convert(DATATYPE_FP32, &y, DATATYPE_FP16, (uint16_t *)step->out[0]->data + i, 1);
    }
}

OP_RUN(clip) {
    static clip_fn *const fns[DATATYPE_COUNT] = {FNS_NUMBER(clip)};
    const struct tensor *x = step->in[0], *y = step->out[0];
    const void *low = clip_bound(step, 1, "min"), *high = clip_bound(step, 2, "max");
    double bounds[2];
    if (x->datatype == DATATYPE_FP16) {
        clip_half(step, low, high);
        return 0;
    }
    if (step->opset < 11 && x->datatype == DATATYPE_FP64) {
        if (low) low = memcpy(&bounds[0], &(double){*(const float *)low}, sizeof *bounds);
        if (high) high = memcpy(&bounds[1], &(double){*(const float *)high}, sizeof *bounds);
    }
    fns[x->datatype](onnx__count(x), x->data, y->data, low, high);
    return 0;
}
