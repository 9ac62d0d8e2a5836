/* ReduceSum and its kin: some dimensions are summed up (or multiplied, or searched for the largest), the others stay.
 *
 * The input is seen in two parts, the dimensions that stay and those that go, each joined where neighbours follow each
 * other without a gap. For each element of the output all that goes is taken in row by row into one total, and the
 * total is finished: a mean divided, a norm's root taken. Real numbers are totalled as FP64, so that a sum over a whole
 * image keeps its digits; whole numbers wrap, in uint64_t. LogSumExp keeps its largest element aside, so that no
 * exponential overflows.
 */
#include "cpu_internal.h"

#include <math.h>

/* --- which dimensions -------------------------------------------------------------------------------------------- */

/* The axes are an attribute in older opsets (ReduceSum until 12, the others until 17), then an input. */
int onnx__reduce_read(const struct onnx__step *step, struct onnx__reduce *ret, struct err *err) {
    const struct tensor *x = step->in[0];
    struct onnx__ints axes;
    *ret = (struct onnx__reduce){.count = 1};
    if (onnx__step_ints(step, "axes", 1, &axes, err) != 0) return -1;
    for (size_t i = 0; i < axes.count; i++) {
        int axis;
        if (onnx__step_axis(step, onnx__ints_at(&axes, i), x->rank, &axis, err) != 0) return -1;
        ret->axes |= 1u << axis;
    }
    if (axes.count == 0) {
        ret->nothing = onnx__step_int(step, "noop_with_empty_axes", 0) != 0;
        ret->axes = ret->nothing ? 0 : (1u << x->rank) - 1;
    }
    for (int i = 0; i < x->rank; i++)
        if (ret->axes >> i & 1) ret->count *= x->shape[i];
    return 0;
}

OP_INFER(reduce) {
    const struct tensor *x = step->in[0];
    struct tensor *out = step->out[0];
    struct onnx__reduce reduce;
    bool keeps = onnx__step_int(step, "keepdims", 1) != 0;
    if (onnx__reduce_read(step, &reduce, err) != 0) return -1;
    out->datatype = x->datatype;
    out->rank = 0;
    for (int i = 0; i < x->rank; i++) {
        bool goes = reduce.axes >> i & 1;
        if (!goes || keeps) out->shape[out->rank++] = goes ? 1 : x->shape[i];
    }
    return 0;
}

/* --- taking in a row --------------------------------------------------------------------------------------------- */

struct total {
    union {
        double real;
        int64_t whole;
        uint64_t bits; /* whole numbers that wrap, and unsigned ones */
    };
    double largest; /* of LogSumExp, whose `real` is in units of its exponential */
};

/* n elements, `stride` bytes apart. */
typedef void take_fn(struct total *total, const char *x, int64_t n, int64_t stride);

#define TAKE(name, type, read, wide, member, expr)                                                                     \
    static void name##_##type(struct total *total, const char *x, int64_t n, int64_t stride) {                         \
        wide t = total->member;                                                                                        \
        for (int64_t i = 0; i < n; i++, x += stride) {                                                                 \
            wide v = (wide)read(type, x);                                                                              \
            t = expr;                                                                                                  \
        }                                                                                                              \
        total->member = t;                                                                                             \
    }
#define READ(type, x)      (*(const type *)(x))
#define READ_HALF(type, x) half_at(x)
#define REAL(name, expr)                                                                                               \
    TAKE(name, float, READ, double, real, expr)                                                                        \
    TAKE(name, double, READ, double, real, expr) TAKE(name, half, READ_HALF, double, real, expr)
#define SIGNED(name, wide, member, expr)                                                                               \
    TAKE(name, int8_t, READ, wide, member, expr)                                                                       \
    TAKE(name, int16_t, READ, wide, member, expr)                                                                      \
    TAKE(name, int32_t, READ, wide, member, expr) TAKE(name, int64_t, READ, wide, member, expr)
#define UNSIGNED(name, expr)                                                                                           \
    TAKE(name, uint8_t, READ, uint64_t, bits, expr)                                                                    \
    TAKE(name, uint16_t, READ, uint64_t, bits, expr)                                                                   \
    TAKE(name, uint32_t, READ, uint64_t, bits, expr) TAKE(name, uint64_t, READ, uint64_t, bits, expr)
#define WRAPPING(name, expr)           REAL(name, expr) SIGNED(name, uint64_t, bits, expr) UNSIGNED(name, expr)
#define ORDERED(name, real_expr, expr) REAL(name, real_expr) SIGNED(name, int64_t, whole, expr) UNSIGNED(name, expr)

static double half_at(const char *x) {
    double value;
    onnx__convert(DATATYPE_FP16, x, DATATYPE_FP64, &value, 1);
    return value;
}

WRAPPING(sum, t + v)
WRAPPING(product, t *v)
WRAPPING(squares, t + v * v)
REAL(sizes, t + fabs(v))
SIGNED(sizes, uint64_t, bits, t + (v >> 63 ? 0 - v : v))
UNSIGNED(sizes, t + v)
ORDERED(largest, v > t || isnan(v) ? v : t, v > t ? v : t)
ORDERED(smallest, v < t || isnan(v) ? v : t, v < t ? v : t)

static void take_exponential(struct total *total, double v) {
    if (v > total->largest) {
        total->real = total->real * exp(total->largest - v) + 1;
        total->largest = v;
    } else {
        total->real += v == total->largest ? 1 : exp(v - total->largest); /* equal: infinities have no difference */
    }
}

#define EXPONENTIALS(type, read)                                                                                       \
    static void exponentials_##type(struct total *total, const char *x, int64_t n, int64_t stride) {                   \
        for (int64_t i = 0; i < n; i++, x += stride) take_exponential(total, (double)read(type, x));                   \
    }
EXPONENTIALS(float, READ)
EXPONENTIALS(double, READ)
EXPONENTIALS(half, READ_HALF)
EXPONENTIALS(int8_t, READ)
EXPONENTIALS(int16_t, READ)
EXPONENTIALS(int32_t, READ)
EXPONENTIALS(int64_t, READ)
EXPONENTIALS(uint8_t, READ)
EXPONENTIALS(uint16_t, READ)
EXPONENTIALS(uint32_t, READ)
EXPONENTIALS(uint64_t, READ)

/* --- one operator ------------------------------------------------------------------------------------------------ */

enum finish { FINISH_AS_IS, FINISH_MEAN, FINISH_ROOT, FINISH_LOG, FINISH_LOG_SUM_EXP };

struct reduction {
    take_fn *take[DATATYPE_COUNT];
    double real; /* what a total begins with */
    int64_t whole;
    uint64_t bits;
    enum finish finish;
};

static bool is_real(enum datatype datatype) { return TYPES_REAL & TYPE_BIT(datatype); }
static bool is_unsigned(enum datatype datatype) { return (TYPES_UNSIGNED | TYPES_BOOL) & TYPE_BIT(datatype); }

static struct total total_begin(const struct reduction *op, enum datatype datatype) {
    struct total total = {.largest = -INFINITY};
    if (is_real(datatype) || op->finish == FINISH_LOG_SUM_EXP)
        total.real = op->real;
    else if (is_unsigned(datatype))
        total.bits = op->bits;
    else
        total.whole = op->whole;
    return total;
}

static double total_as_real(const struct total *total, const struct reduction *op, enum datatype datatype) {
    if (is_real(datatype) || op->finish == FINISH_LOG_SUM_EXP) return total->real;
    return is_unsigned(datatype) ? (double)total->bits : (double)total->whole;
}

static void total_end(struct total *total, const struct reduction *op, enum datatype datatype, int64_t count,
                      char *out) {
    double real = total_as_real(total, op, datatype);
    switch (op->finish) {
    case FINISH_MEAN:
        if (is_unsigned(datatype) && count)
            total->bits /= (uint64_t)count;
        else if (!is_real(datatype) && count)
            total->whole /= count;
        real /= (double)count;
        break;
    case FINISH_ROOT:
        real = sqrt(real);
        break;
    case FINISH_LOG:
        real = log(real);
        break;
    case FINISH_LOG_SUM_EXP:
        real = log(real) + total->largest;
        break;
    default:
        break;
    }
    if (is_real(datatype) || op->finish > FINISH_MEAN)
        onnx__convert(DATATYPE_FP64, &real, datatype, out, 1);
    else
        memcpy(out, &total->bits, datatype_size(datatype)); /* little-endian: the low bytes */
}

/* Of no elements: for each type the one that every other wins against, as totals begin, cut to the type. */
static void end_empty(const struct reduction *op, enum datatype datatype, char *out) {
    struct total total = total_begin(op, datatype);
    if (isinf(op->real) && datatype != DATATYPE_BOOL)
        onnx__convert(DATATYPE_FP64, &op->real, datatype, out, 1);
    else if (isinf(op->real))
        *out = op->real > 0;
    else
        total_end(&total, op, datatype, 0, out);
}

/* --- all of them ------------------------------------------------------------------------------------------------- */

struct onnx__strided onnx__reduce_part(const struct tensor *x, unsigned axes, bool stays) {
    struct onnx__strided all = onnx__strided_of(x), part = {0};
    for (int i = 0; i < x->rank; i++) {
        if ((axes >> i & 1) == stays) continue;
        part.shape[part.rank] = all.shape[i];
        part.strides[part.rank++] = all.strides[i];
    }
    return onnx__strided_joined(&part, datatype_size(x->datatype));
}

/* Goes on to the next index of the first `rank` dimensions; false after the last. */
static bool next_index(const struct onnx__strided *view, int rank, int64_t *index, int64_t *at) {
    for (int dim = rank - 1; dim >= 0; dim--) {
        *at += view->strides[dim];
        if (++index[dim] < view->shape[dim]) return true;
        *at -= view->strides[dim] * view->shape[dim];
        index[dim] = 0;
    }
    return false;
}

static void take_all(const struct onnx__strided *gone, take_fn *take, const char *x, struct total *total) {
    int64_t index[STRIDED_MAX_RANK] = {0}, at = 0;
    int inner = gone->rank - 1;
    do take(total, x + at, gone->shape[inner], gone->strides[inner]);
    while (next_index(gone, inner, index, &at));
}

static int run_reduction(const struct onnx__step *step, const struct reduction *op, struct err *err) {
    const struct tensor *x = step->in[0], *out = step->out[0];
    struct onnx__reduce reduce;
    if (onnx__reduce_read(step, &reduce, err) != 0) return -1;
    size_t size = datatype_size(x->datatype);
    if (out->size_bytes == 0) return 0;
    if (reduce.nothing) {
        memcpy(out->data, x->data, out->size_bytes);
        return 0;
    }
    struct onnx__strided kept = onnx__reduce_part(x, reduce.axes, true),
                         gone = onnx__reduce_part(x, reduce.axes, false);
    int64_t index[STRIDED_MAX_RANK] = {0}, at = 0;
    char *to = out->data;
    do {
        struct total total = total_begin(op, x->datatype);
        if (reduce.count) {
            take_all(&gone, op->take[x->datatype], (const char *)x->data + at, &total);
            total_end(&total, op, x->datatype, reduce.count, to);
        } else {
            end_empty(op, x->datatype, to);
        }
        to += size;
    } while (next_index(&kept, kept.rank, index, &at));
    return 0;
}

#define FNS(name)         FNS_NUMBER(name), [DATATYPE_FP16] = name##_half
#define FNS_ORDERED(name) FNS(name), [DATATYPE_BOOL] = name##_uint8_t
#define REDUCTION(name, ...)                                                                                           \
    OP_RUN(name) {                                                                                                     \
        static const struct reduction op = {__VA_ARGS__};                                                              \
        return run_reduction(step, &op, err);                                                                          \
    }

REDUCTION(reduce_l1, .take = {FNS(sizes)})
REDUCTION(reduce_l2, .take = {FNS(squares)}, .finish = FINISH_ROOT)
REDUCTION(reduce_log_sum, .take = {FNS(sum)}, .finish = FINISH_LOG)
REDUCTION(reduce_log_sum_exp, .take = {FNS(exponentials)}, .finish = FINISH_LOG_SUM_EXP)
REDUCTION(reduce_max, .take = {FNS_ORDERED(largest)}, .real = -INFINITY, .whole = INT64_MIN, .bits = 0)
REDUCTION(reduce_mean, .take = {FNS(sum)}, .finish = FINISH_MEAN)
REDUCTION(reduce_min, .take = {FNS_ORDERED(smallest)}, .real = INFINITY, .whole = INT64_MAX, .bits = UINT64_MAX)
REDUCTION(reduce_prod, .take = {FNS(product)}, .real = 1, .whole = 1, .bits = 1)
REDUCTION(reduce_sum, .take = {FNS(sum)})
REDUCTION(reduce_sum_square, .take = {FNS(squares)})
