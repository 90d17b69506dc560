#include "aot_fixed_point.h"

/* Rounded constants in Q0.31: exp(-1/8), 1/3, and exp(-2^k) for k = -2..4. */
#define EXP_MINUS_EIGHTH 1895147668
#define ONE_THIRD 715827883
static const int32_t exp_minus_power[] = {1672461947, 1302514674, 790015084, 290630308,
                                          39332535,   720401,     242};

/* exp() on (-1/4, 0] in Q0: a fourth-order Taylor polynomial around -1/8. */
static int32_t exp_on_last_quarter(int32_t value) {
    const int32_t x = value + (1 << 28);
    const int32_t x2 = aot_high_mul(x, x);
    const int32_t x3 = aot_high_mul(x2, x);
    const int32_t x4_quarter = aot_rounding_shift(aot_high_mul(x2, x2), 2);
    const int32_t tail = aot_rounding_shift(aot_high_mul(x4_quarter + x3, ONE_THIRD) + x2, 1);
    return EXP_MINUS_EIGHTH + aot_high_mul(EXP_MINUS_EIGHTH, x + tail);
}

int32_t aot_exp_on_negative(int32_t value, int32_t integer_bits) {
    if (value == 0) {
        return INT32_MAX;
    }
    const int32_t quarter_bit = 31 - integer_bits - 2;
    const int32_t quarter = 1 << quarter_bit;
    const int32_t last = (value & (quarter - 1)) - quarter; /* in [-1/4, 0) */
    const int32_t rest = last - value;                      /* a multiple of 1/4 */
    int32_t result = exp_on_last_quarter((int32_t)((uint32_t)last << integer_bits));
    for (int32_t k = 0; k < integer_bits + 2; k++) {
        if (rest & (1 << (quarter_bit + k))) {
            result = aot_high_mul(result, exp_minus_power[k]);
        }
    }
    return result;
}

int32_t aot_one_over_one_plus(int32_t value) {
    /* Newton's method on d = (1 + value) / 2 from the linear estimate 48/17 - 32/17 d, in Q2. */
    const int32_t d = (int32_t)(((int64_t)value + INT32_MAX + 1) / 2);
    int32_t x = 1515870810 + aot_high_mul(d, -1010580540);
    for (int i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - aot_high_mul(d, x);
        x += aot_saturating_left(aot_high_mul(x, error), 2);
    }
    return aot_saturating_left(x, 1);
}
