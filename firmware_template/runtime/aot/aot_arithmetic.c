/* ADD, MUL, MEAN. */
#include "aot_fixed_point.h"
#include "aot_kernels.h"

enum { ADD_BITS = 20 }; /* headroom that both addends get before they are rescaled */

/* The blocks are copied: stores through int8_t pointers may alias anything, so that the compiler would
 * load every field again for every element. */

int aot_add(const void *block) {
    const aot_binary_t p = *(const aot_binary_t *)block;
    const int8_t *a = p.input1;
    int8_t *output = p.output;

    for (int32_t done = 0; done < p.size; done += p.size2) {
        const int8_t *b = p.input2;
        const int8_t *const end = b + p.size2;
        while (b != end) {
            const int32_t x = (*a++ + p.offset1) * (1 << ADD_BITS);
            const int32_t y = (*b++ + p.offset2) * (1 << ADD_BITS);
            /* These shifts are never positive: the larger input scale became 1/2. */
            const int32_t sum = aot_rounding_shift(aot_high_mul(x, p.multiplier1), -p.shift1) +
                                aot_rounding_shift(aot_high_mul(y, p.multiplier2), -p.shift2);
            const int32_t value =
                aot_rounding_shift(aot_high_mul(sum, p.multiplier), -p.shift) + p.out_offset;
            *output++ = (int8_t)aot_clamped(value, p.act_min, p.act_max);
        }
    }
    return 0;
}

int aot_mul(const void *block) {
    const aot_binary_t p = *(const aot_binary_t *)block;
    const int8_t *a = p.input1;
    int8_t *output = p.output;

    for (int32_t done = 0; done < p.size; done += p.size2) {
        const int8_t *b = p.input2;
        const int8_t *const end = b + p.size2;
        while (b != end) {
            const int32_t product = (*a++ + p.offset1) * (*b++ + p.offset2);
            const int32_t value = aot_rescaled(product, p.multiplier, p.shift) + p.out_offset;
            *output++ = (int8_t)aot_clamped(value, p.act_min, p.act_max);
        }
    }
    return 0;
}

int aot_mean(const void *block) {
    const aot_mean_t p = *(const aot_mean_t *)block;
    const int8_t *input = p.input;
    int8_t *output = p.output;
    const int32_t bias = -p.in_zero * p.reduced;

    for (int32_t outer = 0; outer < p.outer; outer++) {
        for (int32_t i = 0; i < p.inner; i++) {
            p.scratch[i] = bias;
        }
        for (int32_t row = 0; row < p.reduced; row++) {
            for (int32_t i = 0; i < p.inner; i++) {
                p.scratch[i] += *input++;
            }
        }
        for (int32_t i = 0; i < p.inner; i++) {
            const int32_t y = aot_rescaled(p.scratch[i], p.multiplier, p.shift) + p.out_zero;
            *output++ = (int8_t)aot_clamped(y, -128, 127);
        }
    }
    return 0;
}
