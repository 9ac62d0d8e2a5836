/* IEEE 754 binary16, which JSON tensors of datatype FP16 need and C17 does not have.
 *
 * From double in one rounding: going by way of float would round twice and be off by one for values that fall next to
 * the middle between two halves. The arithmetic is left to the FPU: a half is n * 2^e with n < 2048 and e >= -24, so
 * dividing by 2^e (exact) and rint (ties to even, the default mode) give n. */
#include "wire_internal.h"

#include <math.h>

#define FP16_MANTISSA_BITS 10
#define FP16_MIN_EXPONENT  (-24) /* of the last place of a subnormal */
#define FP16_BIAS          15
#define FP16_INFINITY      0x7c00
#define FP16_OVERFLOW      65520.0 /* the middle between the largest half, 65504, and what would be the next */

uint16_t wire__fp16_from_double(double value) {
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double magnitude = fabs(value);
    if (isnan(value)) return (uint16_t)(sign | FP16_INFINITY | 0x200);
    if (magnitude >= FP16_OVERFLOW) return (uint16_t)(sign | FP16_INFINITY);
    if (magnitude == 0) return sign;
    int exponent = ilogb(magnitude) - FP16_MANTISSA_BITS; /* of the last place */
    if (exponent < FP16_MIN_EXPONENT) exponent = FP16_MIN_EXPONENT;
    int n = (int)rint(ldexp(magnitude, -exponent));
    /* A normal number's n has its leading bit at 2^10: it carries into the exponent field, and so does a rounding up to
     * 2^11; a subnormal's has not, and its exponent field stays 0. */
    int field = exponent - FP16_MIN_EXPONENT;
    return (uint16_t)(sign + (field << FP16_MANTISSA_BITS) + n);
}

float wire__fp16_to_float(uint16_t half) {
    int field = half >> FP16_MANTISSA_BITS & 0x1f;
    int mantissa = half & 0x3ff;
    float magnitude;
    if (field == 0x1f)
        magnitude = mantissa ? NAN : INFINITY;
    else if (field == 0)
        magnitude = ldexpf((float)mantissa, FP16_MIN_EXPONENT);
    else
        magnitude = ldexpf((float)(mantissa + 0x400), field - FP16_BIAS - FP16_MANTISSA_BITS);
    return half & 0x8000 ? -magnitude : magnitude;
}
