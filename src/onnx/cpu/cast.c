/* Numbers of one datatype as numbers of another: Cast and CastLike, and the conversion that other kernels use to
 * compute in a wider type than they are given.
 *
 * Every conversion is defined here for every value, which C alone does not do: a floating number beyond the range of an
 * integer becomes the nearest one there is and no number becomes 0; integers that do not fit lose their high bits, as
 * in NumPy; anything but zero is true. Numbers of 16 bits are read into the 32 that hold them all, and are written by
 * rounding once, to the nearest and, between two, to the even one.
 */
#include "cpu_internal.h"

#include <math.h>

/* --- 16 bits ----------------------------------------------------------------------------------------------------- */

#define HALF_MIN_EXPONENT (-14) /* of a normal number; below it the distance between numbers stays the same */
#define HALF_BIAS         15
#define HALF_FRACTION     10 /* bits; a float has 13 more */
#define FLOAT_BIAS        127
#define DOUBLE_BIAS       1023

static float half_read(uint16_t half) {
    uint32_t exponent = half >> HALF_FRACTION & 31, fraction = half & 1023, bits;
    float value = (float)fraction * 0x1p-24f;
    if (exponent) {
        exponent = exponent == 31 ? 255 : exponent + FLOAT_BIAS - HALF_BIAS;
        bits = exponent << 23 | fraction << 13;
        memcpy(&value, &bits, sizeof value);
    }
    return half >> 15 ? -value : value;
}

static double power_of_2(int exponent) {
    uint64_t bits = (uint64_t)(exponent + DOUBLE_BIAS) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* In steps of the distance between numbers around x the result is a whole number; one that is rounded up to the next
 * power of two carries into the exponent by itself. */
static uint16_t half_write(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 48 & 0x8000);
    if (isnan(x)) return sign | 0x7e00;
    x = fabs(x);
    if (x >= 65520) return sign | 0x7c00; /* halfway from the largest number to the one after it, and beyond */
    int exponent = (int)(bits >> 52 & 2047) - DOUBLE_BIAS;
    if (exponent < HALF_MIN_EXPONENT) exponent = HALF_MIN_EXPONENT;
    double steps = x * power_of_2(HALF_FRACTION - exponent);
    steps = steps + 0x1p52 - 0x1p52; /* rounds: a double of that size has no fraction */
    return (uint16_t)(sign + ((exponent + HALF_BIAS - 1) << HALF_FRACTION) + (int)steps);
}

/* --- from any to any --------------------------------------------------------------------------------------------- */

static double clamped(double x, double low, double high) {
    if (isnan(x)) return 0;
    if (x < low) return low;
    return x > high ? high : x;
}

#define INT64_BEYOND  9223372036854775808.0 /* the first double that is too large */
#define UINT64_BEYOND 18446744073709551616.0

static int64_t whole_of(double x) {
    if (isnan(x)) return 0;
    if (x >= INT64_BEYOND) return INT64_MAX;
    return x < -INT64_BEYOND ? INT64_MIN : (int64_t)x;
}

static uint64_t unsigned_of(double x) {
    if (!(x > 0)) return 0;
    return x >= UINT64_BEYOND ? UINT64_MAX : (uint64_t)x;
}

#define TO(datatype, type, expr)                                                                                       \
    case datatype:                                                                                                     \
        for (int64_t i = 0; i < n; i++) ((type *)to)[i] = (type)(expr);                                                \
        return;

/* `x` is what `read` makes of the element i. */
#define FROM_REAL(name, x)                                                                                             \
    static void from_##name(const void *from, enum datatype datatype, void *to, int64_t n) {                           \
        switch (datatype) {                                                                                            \
            TO(DATATYPE_BOOL, uint8_t, (x) != 0)                                                                       \
            TO(DATATYPE_UINT8, uint8_t, clamped(x, 0, UINT8_MAX))                                                      \
            TO(DATATYPE_UINT16, uint16_t, clamped(x, 0, UINT16_MAX))                                                   \
            TO(DATATYPE_UINT32, uint32_t, clamped(x, 0, UINT32_MAX))                                                   \
            TO(DATATYPE_UINT64, uint64_t, unsigned_of(x))                                                              \
            TO(DATATYPE_INT8, int8_t, clamped(x, INT8_MIN, INT8_MAX))                                                  \
            TO(DATATYPE_INT16, int16_t, clamped(x, INT16_MIN, INT16_MAX))                                              \
            TO(DATATYPE_INT32, int32_t, clamped(x, INT32_MIN, INT32_MAX))                                              \
            TO(DATATYPE_INT64, int64_t, whole_of(x))                                                                   \
            TO(DATATYPE_FP16, uint16_t, half_write(x))                                                                 \
            TO(DATATYPE_FP32, float, x)                                                                                \
            TO(DATATYPE_FP64, double, x)                                                                               \
        default:                                                                                                       \
            BUG_ON(datatype);                                                                                          \
        }                                                                                                              \
    }
#define FROM_WHOLE(name, x)                                                                                            \
    static void from_##name(const void *from, enum datatype datatype, void *to, int64_t n) {                           \
        switch (datatype) {                                                                                            \
            TO(DATATYPE_BOOL, uint8_t, (x) != 0)                                                                       \
            TO(DATATYPE_UINT8, uint8_t, x)                                                                             \
            TO(DATATYPE_UINT16, uint16_t, x)                                                                           \
            TO(DATATYPE_UINT32, uint32_t, x)                                                                           \
            TO(DATATYPE_UINT64, uint64_t, x)                                                                           \
            TO(DATATYPE_INT8, int8_t, x)                                                                               \
            TO(DATATYPE_INT16, int16_t, x)                                                                             \
            TO(DATATYPE_INT32, int32_t, x)                                                                             \
            TO(DATATYPE_INT64, int64_t, x)                                                                             \
            TO(DATATYPE_FP16, uint16_t, half_write((double)(x)))                                                       \
            TO(DATATYPE_FP32, float, x)                                                                                \
            TO(DATATYPE_FP64, double, x)                                                                               \
        default:                                                                                                       \
            BUG_ON(datatype);                                                                                          \
        }                                                                                                              \
    }

FROM_WHOLE(bool, ((const uint8_t *)from)[i] != 0)
FROM_WHOLE(uint8, ((const uint8_t *)from)[i])
FROM_WHOLE(uint16, ((const uint16_t *)from)[i])
FROM_WHOLE(uint32, ((const uint32_t *)from)[i])
FROM_WHOLE(uint64, ((const uint64_t *)from)[i])
FROM_WHOLE(int8, ((const int8_t *)from)[i])
FROM_WHOLE(int16, ((const int16_t *)from)[i])
FROM_WHOLE(int32, ((const int32_t *)from)[i])
FROM_WHOLE(int64, ((const int64_t *)from)[i])
FROM_REAL(half, (double)half_read(((const uint16_t *)from)[i]))
FROM_REAL(float, (double)((const float *)from)[i])
FROM_REAL(double, ((const double *)from)[i])

void onnx__convert(enum datatype from_type, const void *from, enum datatype to_type, void *to, int64_t n) {
    static void (*const table[DATATYPE_COUNT])(const void *, enum datatype, void *, int64_t) = {
        [DATATYPE_BOOL] = from_bool,     [DATATYPE_UINT8] = from_uint8,   [DATATYPE_UINT16] = from_uint16,
        [DATATYPE_UINT32] = from_uint32, [DATATYPE_UINT64] = from_uint64, [DATATYPE_INT8] = from_int8,
        [DATATYPE_INT16] = from_int16,   [DATATYPE_INT32] = from_int32,   [DATATYPE_INT64] = from_int64,
        [DATATYPE_FP16] = from_half,     [DATATYPE_FP32] = from_float,    [DATATYPE_FP64] = from_double,
    };
    BUG_ON(!table[from_type]);
    table[from_type](from, to_type, to, n);
}

/* --- the operators ----------------------------------------------------------------------------------------------- */

OP_INFER(cast) {
    const struct onnx__attr *to = onnx__step_attr(step, "to", ATTR_INT);
    enum datatype datatype = to ? onnx__datatype((uint64_t)to->integer) : DATATYPE_INVALID;
    if (!to) return onnx__step_refuse(step, err, "attribute to is missing");
    if (datatype == DATATYPE_INVALID)
        return onnx__step_refuse(step, err, "to ONNX data type %lld, which is not supported", (long long)to->integer);
    onnx__shape_set(step->out[0], datatype, step->in[0]->rank, step->in[0]->shape);
    return 0;
}

OP_INFER(cast_like) {
    onnx__shape_set(step->out[0], step->in[1]->datatype, step->in[0]->rank, step->in[0]->shape);
    return 0;
}

OP_RUN(cast) {
    const struct tensor *x = step->in[0], *y = step->out[0];
    if (x->datatype != y->datatype)
        onnx__convert(x->datatype, x->data, y->datatype, y->data, onnx__count(y));
    else if (y->size_bytes)
        memcpy(y->data, x->data, y->size_bytes);
    return 0;
}
