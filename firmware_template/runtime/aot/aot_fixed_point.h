/* Fixed-point arithmetic of int8 inference (Jacob et al. 2018, "Quantization and Training of Neural
 * Networks for Efficient Integer-Arithmetic-Only Inference"), rounding as TensorFlow Lite does. */
#ifndef AOT_FIXED_POINT_H
#define AOT_FIXED_POINT_H

#include <stdint.h>

/* (a * b) / 2^31, half rounded up; the operands are never both INT32_MIN. */
static inline int32_t aot_high_mul(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

/* value / 2^bits, half rounded away from zero */
static inline int32_t aot_rounding_shift(int32_t value, int32_t bits) {
    const int32_t mask = (int32_t)((1u << bits) - 1u);
    const int32_t threshold = (mask >> 1) + (value < 0);
    return (value >> bits) + ((value & mask) > threshold);
}

/* value * multiplier * 2^(shift - 31) */
static inline int32_t aot_rescaled(int32_t value, int32_t multiplier, int32_t shift) {
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    return aot_rounding_shift(aot_high_mul((int32_t)((uint32_t)value << left), multiplier), right);
}

static inline int32_t aot_clamped(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

static inline int32_t aot_saturating_left(int32_t value, int32_t bits) {
    const int32_t limit = (int32_t)((1u << (31 - bits)) - 1u);
    if (value > limit) {
        return INT32_MAX;
    }
    return value < -limit ? INT32_MIN : (int32_t)((uint32_t)value << bits);
}

int32_t aot_exp_on_negative(int32_t value, int32_t integer_bits); /* Q(integer_bits) -> Q0 */
int32_t aot_one_over_one_plus(int32_t value);                     /* 1 / (1 + Q0) -> Q0 */

#endif
