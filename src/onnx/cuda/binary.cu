/* Element by element, two or more operands, with NumPy's broadcasting: arithmetic, comparison, logic, Where.
 *
 * As on the CPU each operator is an expression of one line, integers wrap by computing in the unsigned type, and a
 * division by zero is a fault of the run. Operators of any number of operands take in one after the other. Integers are
 * INT32 and INT64; others are rare enough to run on the CPU. */
#include "broadcast.cuh"

/* What a kernel tells about an element, beside its value. */
struct outcome {
    struct cuda__fault *fault;
    unsigned step;
    __device__ void divided_by_zero() const { cuda__raise(fault, step, CUDA__DIVIDED_BY_ZERO); }
};

template <typename T, typename R, typename F>
__global__ void binary_kernel(int64_t n, cuda__spread<2> spread, const T *a, const T *b, R *out, F f, outcome told) {
    CUDA__EACH(i, n) {
        int64_t at[2];
        cuda__spread_find(spread, i, at);
        cuda__write(out + i, f(cuda__read(a + at[0]), cuda__read(b + at[1]), told));
    }
}

/* a and b are `x` and `y` with the addresses given beside them. */
template <typename T, typename R, typename F>
static int launch_pair(const struct cuda__call *call, struct err *err, const struct tensor *x, const void *a,
                       const struct tensor *y, const void *b, F f) {
    const struct tensor *out = call->step->out[0];
    const struct tensor *operands[2] = {x, y};
    int64_t n = onnx__count(out);
    return cuda__launch(call, err, binary_kernel<T, R, F>, cuda__blocks(call, n), CUDA__BLOCK, n,
                        cuda__spread_of(out, operands), (const T *)a, (const T *)b, (R *)call->out[0], f,
                        outcome{call->device->fault, call->number});
}

template <typename T> struct itself {
    using type = T;
};
template <typename T> struct truth {
    using type = uint8_t;
};

template <template <typename> class R, typename F>
static int launch_number(const struct cuda__call *call, struct err *err, F f) {
    struct tensor b = onnx__broadcast_operand(call->step, 1);
    int rc = -1;
    BUG_ON(!cuda__with_number(call->step->in[0]->datatype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        rc = launch_pair<T, typename R<T>::type>(call, err, call->step->in[0], call->in[0], &b, call->in[1], f);
    }));
    return rc;
}

template <typename F> static int launch_truth(const struct cuda__call *call, struct err *err, F f) {
    struct tensor b = onnx__broadcast_operand(call->step, 1);
    return launch_pair<uint8_t, uint8_t>(call, err, call->step->in[0], call->in[0], &b, call->in[1], f);
}

/* --- arithmetic -------------------------------------------------------------------------------------------------- */

template <typename T> struct wraps {
    using type = T;
};
template <> struct wraps<int32_t> {
    using type = uint32_t;
};
template <> struct wraps<int64_t> {
    using type = uint64_t;
};
/* x and y in the type W that wraps. */
#define WRAPPING(name, expr)                                                                                           \
    struct name##_function {                                                                                           \
        template <typename T> __device__ T operator()(T x_given, T y_given, const outcome &) const {                   \
            using W = typename wraps<T>::type;                                                                         \
            W x = (W)x_given, y = (W)y_given;                                                                          \
            return (T)(expr);                                                                                          \
        }                                                                                                              \
    };
#define OPERATOR(name)                                                                                                 \
    extern "C" int cuda__##name##_launch(const struct cuda__call *call, struct err *err) {                             \
        return launch_number<itself>(call, err, name##_function());                                                    \
    }
WRAPPING(add, x + y)
OPERATOR(add)
WRAPPING(sub, x - y)
OPERATOR(sub)
WRAPPING(mul, x *y)
OPERATOR(mul)

struct div_function {
    __device__ float operator()(float x, float y, const outcome &) const { return x / y; }
    __device__ double operator()(double x, double y, const outcome &) const { return x / y; }
    template <typename T> __device__ T operator()(T x, T y, const outcome &told) const {
        if (y == 0) told.divided_by_zero();
        if (y == 0) return 0;
        return y == -1 ? (T)(0 - (typename wraps<T>::type)x) : (T)(x / y); /* the least number / -1 overflows */
    }
};
OPERATOR(div)

/* The remainder has the sign of the divisor as in Python, or with fmod that of the dividend as in C. */
struct mod_function {
    bool as_in_c;
    __device__ float operator()(float x, float y, const outcome &) const {
        return as_in_c ? fmodf(x, y) : x - y * floorf(x / y);
    }
    __device__ double operator()(double x, double y, const outcome &) const {
        return as_in_c ? fmod(x, y) : x - y * floor(x / y);
    }
    template <typename T> __device__ T operator()(T x, T y, const outcome &told) const {
        if (y == 0) told.divided_by_zero();
        if (y == 0 || y == -1) return 0;
        T rest = x % y;
        return !as_in_c && rest != 0 && (x < 0) != (y < 0) ? rest + y : rest;
    }
};
extern "C" int cuda__mod_launch(const struct cuda__call *call, struct err *err) {
    return launch_number<itself>(call, err, mod_function{onnx__step_int(call->step, "fmod", 0) != 0});
}

/* Of FP32, FP64 and FP16 to a power of the same type; other pairs run on the CPU. */
struct pow_function {
    __device__ float operator()(float x, float y, const outcome &) const { return y == 2 ? x * x : powf(x, y); }
    __device__ double operator()(double x, double y, const outcome &) const { return pow(x, y); }
};
extern "C" bool cuda__pow_takes(const struct onnx__step *step) {
    return step->in[0]->datatype == step->in[1]->datatype;
}
extern "C" int cuda__pow_launch(const struct cuda__call *call, struct err *err) {
    struct tensor b = onnx__broadcast_operand(call->step, 1);
    int rc = -1;
    BUG_ON(!cuda__with_real(call->step->in[0]->datatype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        rc = launch_pair<T, T>(call, err, call->step->in[0], call->in[0], &b, call->in[1], pow_function());
    }));
    return rc;
}

WRAPPING(prelu, x_given < 0 ? x * y : x)
/* Until opset 6 a list is one slope per channel. */
extern "C" int cuda__prelu_launch(const struct cuda__call *call, struct err *err) {
    const struct onnx__step *step = call->step;
    struct tensor slope = onnx__broadcast_operand(step, 1);
    while (step->opset < 7 && slope.rank > 0 && slope.rank < step->in[0]->rank - 1) slope.shape[slope.rank++] = 1;
    int rc = -1;
    BUG_ON(!cuda__with_number(step->in[0]->datatype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        rc = launch_pair<T, T>(call, err, step->in[0], call->in[0], &slope, call->in[1], prelu_function());
    }));
    return rc;
}

/* --- comparison and logic ---------------------------------------------------------------------------------------- */

#define COMPARISON(name, expr)                                                                                         \
    struct name##_function {                                                                                           \
        template <typename T> __device__ uint8_t operator()(T x, T y, const outcome &) const { return expr; }          \
    };
#define COMPARES_NUMBERS(name)                                                                                         \
    extern "C" int cuda__##name##_launch(const struct cuda__call *call, struct err *err) {                             \
        return launch_number<truth>(call, err, name##_function());                                                     \
    }
COMPARISON(greater, x > y)
COMPARES_NUMBERS(greater)
COMPARISON(greater_or_equal, x >= y)
COMPARES_NUMBERS(greater_or_equal)
COMPARISON(less, x < y)
COMPARES_NUMBERS(less)
COMPARISON(less_or_equal, x <= y)
COMPARES_NUMBERS(less_or_equal)
COMPARISON(equal, x == y)
COMPARISON(alike, !x == !y)
extern "C" int cuda__equal_launch(const struct cuda__call *call, struct err *err) {
    return call->step->in[0]->datatype == DATATYPE_BOOL ? launch_truth(call, err, alike_function())
                                                        : launch_number<truth>(call, err, equal_function());
}

#define LOGIC(name, expr)                                                                                              \
    COMPARISON(name, expr)                                                                                             \
    extern "C" int cuda__##name##_launch(const struct cuda__call *call, struct err *err) {                             \
        return launch_truth(call, err, name##_function());                                                             \
    }
LOGIC(both, x && y)
LOGIC(either, x || y)
LOGIC(one_of, !x != !y)

/* --- any number of operands -------------------------------------------------------------------------------------- */

template <typename T> __global__ void stretch_kernel(int64_t n, cuda__spread<1> spread, const T *x, T *out) {
    CUDA__EACH(i, n) {
        int64_t at;
        cuda__spread_find(spread, i, &at);
        out[i] = x[at];
    }
}

/* The output begins as the first operand; the others are joined to it one by one. */
template <typename F> static int launch_all(const struct cuda__call *call, struct err *err, F join) {
    const struct onnx__step *step = call->step;
    const struct tensor *out = step->out[0], *first[1] = {step->in[0]};
    int64_t n = onnx__count(out);
    int rc = -1;
    BUG_ON(!cuda__with_number(out->datatype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        rc = cuda__launch(call, err, stretch_kernel<T>, cuda__blocks(call, n), CUDA__BLOCK, n,
                          cuda__spread_of(out, first), (const T *)call->in[0], (T *)call->out[0]);
        for (size_t i = 1; rc == 0 && i < step->in_count; i++) {
            struct tensor operand = onnx__broadcast_operand(step, i);
            rc = launch_pair<T, T>(call, err, out, call->out[0], &operand, call->in[i], join);
        }
    }));
    return rc;
}

/* What is no number wins, as in NumPy. */
#define CHOICE(name, first)                                                                                            \
    struct name##_function {                                                                                           \
        template <typename T> __device__ T operator()(T x, T y, const outcome &) const { return first ? x : y; }       \
    };
CHOICE(max, x > y || x != x)
CHOICE(min, x < y || x != x)

extern "C" int cuda__max_launch(const struct cuda__call *call, struct err *err) {
    return launch_all(call, err, max_function());
}
extern "C" int cuda__min_launch(const struct cuda__call *call, struct err *err) {
    return launch_all(call, err, min_function());
}
extern "C" int cuda__sum_launch(const struct cuda__call *call, struct err *err) {
    return launch_all(call, err, add_function());
}

template <typename T> __global__ void divide_kernel(int64_t n, T *x, int count) {
    CUDA__EACH(i, n) {
        auto v = cuda__read(x + i);
        cuda__write(x + i, v / (decltype(v))count);
    }
}

extern "C" int cuda__mean_launch(const struct cuda__call *call, struct err *err) {
    const struct onnx__step *step = call->step;
    int64_t n = onnx__count(step->out[0]);
    int rc = launch_all(call, err, add_function());
    if (rc != 0) return rc;
    BUG_ON(!cuda__with_real(step->out[0]->datatype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        rc = cuda__launch(call, err, divide_kernel<T>, cuda__blocks(call, n), CUDA__BLOCK, n, (T *)call->out[0],
                          (int)step->in_count);
    }));
    return rc;
}

/* --- Where ------------------------------------------------------------------------------------------------------- */

/* The two are moved, not computed with: by their size. */
template <typename T>
__global__ void where_kernel(int64_t n, cuda__spread<3> spread, const uint8_t *first, const T *x, const T *y, T *out) {
    CUDA__EACH(i, n) {
        int64_t at[3];
        cuda__spread_find(spread, i, at);
        out[i] = first[at[0]] ? x[at[1]] : y[at[2]];
    }
}

extern "C" int cuda__where_launch(const struct cuda__call *call, struct err *err) {
    const struct onnx__step *step = call->step;
    const struct tensor *operands[3] = {step->in[0], step->in[1], step->in[2]};
    int64_t n = onnx__count(step->out[0]);
    return cuda__with_element(datatype_size(step->out[0]->datatype), [&](auto element) {
        using W = typename decltype(element)::type;
        return cuda__launch(call, err, where_kernel<W>, cuda__blocks(call, n), CUDA__BLOCK, n,
                            cuda__spread_of(step->out[0], operands), (const uint8_t *)call->in[0],
                            (const W *)call->in[1], (const W *)call->in[2], (W *)call->out[0]);
    });
}
