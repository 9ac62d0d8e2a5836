/* Element by element, one operand. As on the CPU each function is one line; a template makes kernels of it for FP32,
 * FP64 and FP16. Signs are also taken of INT32 and INT64. */
#include "kernel.cuh"

template <typename T, typename F> __global__ void unary_kernel(int64_t n, const T *x, T *y, F f) {
    CUDA__EACH(i, n) cuda__write(y + i, f(cuda__read(x + i)));
}

template <typename T, typename F> static int launch_as(const struct cuda__call *call, struct err *err, F f) {
    int64_t n = onnx__count(call->step->out[0]);
    return cuda__launch(call, err, unary_kernel<T, F>, cuda__blocks(call, n), CUDA__BLOCK, n, (const T *)call->in[0],
                        (T *)call->out[0], f);
}

template <typename F> static int launch_real(const struct cuda__call *call, struct err *err, F f) {
    int rc = -1;
    BUG_ON(!cuda__with_real(call->step->in[0]->datatype,
                            [&](auto tag) { rc = launch_as<typename decltype(tag)::type>(call, err, f); }));
    return rc;
}

template <typename F> static int launch_number(const struct cuda__call *call, struct err *err, F f) {
    int rc = -1;
    BUG_ON(!cuda__with_number(call->step->in[0]->datatype,
                              [&](auto tag) { rc = launch_as<typename decltype(tag)::type>(call, err, f); }));
    return rc;
}

/* `v` is the element, a and b the operator's attributes, both in the type that is computed in. */
#define FUNCTION(name, launch, a_value, b_value, expr)                                                                 \
    struct name##_function {                                                                                           \
        float a_given, b_given;                                                                                        \
        template <typename T> __device__ T operator()(T v) const {                                                     \
            T a = (T)a_given, b = (T)b_given;                                                                          \
            (void)a, (void)b;                                                                                          \
            return (T)(expr);                                                                                          \
        }                                                                                                              \
    };                                                                                                                 \
    extern "C" int cuda__##name##_launch(const struct cuda__call *call, struct err *err) {                             \
        return launch(call, err, name##_function{a_value, b_value});                                                   \
    }
#define REAL(name, a_value, b_value, expr) FUNCTION(name, launch_real, a_value, b_value, expr)
#define ATTR(name, fallback)               onnx__step_float(call->step, name, fallback)

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

/* Between 0 and 1; what is no number stays one. */
template <typename T> __device__ static T unit(T v) { return v < 0 ? (T)0 : v > 1 ? (T)1 : v; }
template <typename T> __device__ static T soft(T v) { return v > 0 ? v + log1p(exp(-v)) : log1p(exp(v)); }

REAL(celu, ATTR("alpha", 1), 0, v < 0 ? a * expm1(v / a) : v)
REAL(elu, ATTR("alpha", 1), 0, v < 0 ? a * expm1(v) : v)
REAL(hard_sigmoid, ATTR("alpha", 0.2f), ATTR("beta", 0.5f), unit(a *v + b))
REAL(hard_swish, 0, 0, v *unit(v / 6 + (T)0.5))
REAL(leaky_relu, ATTR("alpha", 0.01f), 0, v < 0 ? a * v : v)
REAL(mish, 0, 0, v *tanh(soft(v)))
REAL(selu, ATTR("alpha", 1.67326319217681884765625f), ATTR("gamma", 1.05070102214813232421875f),
     b *(v < 0 ? a * expm1(v) : v))
REAL(shrink, ATTR("lambd", 0.5f), ATTR("bias", 0), v < -a ? v + b : (v > a ? v - b : 0))
REAL(softplus, 0, 0, soft(v))
REAL(softsign, 0, 0, v / (1 + fabs(v)))
REAL(thresholded_relu, ATTR("alpha", 1), 0, v > a ? v : 0)

#define SQRT_HALF          0.70710678118654752440
#define SQRT_TWO_OVER_PI   0.79788456080286535588
#define GELU_TANH_CUBE     0.044715
REAL(gelu_exact, 0, 0, v *(1 + erf(v * (T)SQRT_HALF)) / 2)
REAL(gelu_tanh, 0, 0, v *(1 + tanh((T)SQRT_TWO_OVER_PI * (v + (T)GELU_TANH_CUBE * v * v * v))) / 2)

extern "C" int cuda__gelu_launch(const struct cuda__call *call, struct err *err) {
    bool approximate = strcmp(onnx__step_string(call->step, "approximate", "none"), "tanh") == 0;
    return approximate ? cuda__gelu_tanh_launch(call, err) : cuda__gelu_exact_launch(call, err);
}

/* --- of signs ---------------------------------------------------------------------------------------------------- */

/* Integers wrap as uint64_t do: the least one is its own negation. */
template <typename T> __device__ static T negated(T v) { return -v; }
template <> __device__ int32_t negated(int32_t v) { return (int32_t)(0 - (uint32_t)v); }
template <> __device__ int64_t negated(int64_t v) { return (int64_t)(0 - (uint64_t)v); }

template <typename T> __device__ static T magnitude(T v) { return v < 0 ? negated(v) : v; }
template <> __device__ float magnitude(float v) { return fabsf(v); }
template <> __device__ double magnitude(double v) { return fabs(v); }

FUNCTION(abs, launch_number, 0, 0, magnitude(v))
FUNCTION(neg, launch_number, 0, 0, negated(v))
FUNCTION(relu, launch_number, 0, 0, v < 0 ? 0 : v)
FUNCTION(sign, launch_number, 0, 0, v != v ? v : (T)((v > 0) - (v < 0)))

/* --- to or from truth -------------------------------------------------------------------------------------------- */

static __global__ void not_kernel(int64_t n, const uint8_t *x, uint8_t *y) { CUDA__EACH(i, n) y[i] = !x[i]; }

extern "C" int cuda__not_launch(const struct cuda__call *call, struct err *err) {
    int64_t n = onnx__count(call->step->out[0]);
    return cuda__launch(call, err, not_kernel, cuda__blocks(call, n), CUDA__BLOCK, n, call->in[0], call->out[0]);
}

template <typename T>
__global__ void is_infinite_kernel(int64_t n, const T *x, uint8_t *y, bool positive, bool negative) {
    CUDA__EACH(i, n) {
        auto v = cuda__read(x + i);
        y[i] = v - v != 0 && v == v && (v > 0 ? positive : negative);
    }
}
template <typename T> __global__ void is_nan_kernel(int64_t n, const T *x, uint8_t *y) {
    CUDA__EACH(i, n) {
        auto v = cuda__read(x + i);
        y[i] = v != v;
    }
}

extern "C" int cuda__is_inf_launch(const struct cuda__call *call, struct err *err) {
    int64_t n = onnx__count(call->step->out[0]);
    bool positive = onnx__step_int(call->step, "detect_positive", 1) != 0;
    bool negative = onnx__step_int(call->step, "detect_negative", 1) != 0;
    int rc = -1;
    BUG_ON(!cuda__with_real(call->step->in[0]->datatype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        rc = cuda__launch(call, err, is_infinite_kernel<T>, cuda__blocks(call, n), CUDA__BLOCK, n,
                          (const T *)call->in[0], (uint8_t *)call->out[0], positive, negative);
    }));
    return rc;
}

extern "C" int cuda__is_nan_launch(const struct cuda__call *call, struct err *err) {
    int64_t n = onnx__count(call->step->out[0]);
    int rc = -1;
    BUG_ON(!cuda__with_real(call->step->in[0]->datatype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        rc = cuda__launch(call, err, is_nan_kernel<T>, cuda__blocks(call, n), CUDA__BLOCK, n, (const T *)call->in[0],
                          (uint8_t *)call->out[0]);
    }));
    return rc;
}

/* --- Clip -------------------------------------------------------------------------------------------------------- */

/* Of crossed bounds the upper wins, as in NumPy; a bound that is not given does nothing. Bounds given as inputs are
 * read on the device. */
template <typename T>
__global__ void clip_kernel(int64_t n, const T *x, T *y, const T *low, const T *high, float least, float most,
                            bool has_least, bool has_most) {
    CUDA__EACH(i, n) {
        auto v = cuda__read(x + i);
        using V = decltype(v);
        V lower = low ? cuda__read(low) : (V)least, upper = high ? cuda__read(high) : (V)most;
        if ((low || has_least) && v < lower) v = lower;
        if ((high || has_most) && v > upper) v = upper;
        cuda__write(y + i, v);
    }
}

/* Until opset 10 the bounds are attributes, then optional inputs. */
extern "C" int cuda__clip_launch(const struct cuda__call *call, struct err *err) {
    const struct onnx__step *step = call->step;
    const struct onnx__attr *least = step->opset < 11 ? onnx__step_attr(step, "min", ATTR_FLOAT) : NULL;
    const struct onnx__attr *most = step->opset < 11 ? onnx__step_attr(step, "max", ATTR_FLOAT) : NULL;
    const void *low = step->in_count > 1 ? call->in[1] : NULL, *high = step->in_count > 2 ? call->in[2] : NULL;
    int64_t n = onnx__count(step->out[0]);
    int rc = -1;
    BUG_ON(!cuda__with_number(step->in[0]->datatype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        rc = cuda__launch(call, err, clip_kernel<T>, cuda__blocks(call, n), CUDA__BLOCK, n, (const T *)call->in[0],
                          (T *)call->out[0], (const T *)low, (const T *)high, least ? least->number : 0,
                          most ? most->number : 0, least != NULL, most != NULL);
    }));
    return rc;
}
