/* SOFTMAX, LOGISTIC, RELU, RELU6 and the conversions QUANTIZE, DEQUANTIZE. */
#include "aot_fixed_point.h"
#include "aot_kernels.h"

int aot_softmax(const void *block) {
    enum { INPUT_BITS = 5, SUM_BITS = 12 }; /* exponents in Q5.26, their sum in Q12.19 */
    const aot_softmax_t *p = block;
    const int8_t *input = p->input;
    int8_t *output = p->output;

    for (int32_t row = 0; row < p->rows; row++, input += p->size, output += p->size) {
        int32_t max = input[0];
        for (int32_t i = 1; i < p->size; i++) {
            max = input[i] > max ? input[i] : max;
        }
        int32_t sum = 0;
        for (int32_t i = 0; i < p->size; i++) {
            const int32_t diff = input[i] - max;
            if (diff >= p->diff_min) {
                const int32_t x = aot_high_mul(diff * (1 << p->shift), p->multiplier);
                sum += aot_rounding_shift(aot_exp_on_negative(x, INPUT_BITS), SUM_BITS);
            }
        }
        /* The maximum alone contributes 1, so that sum is never 0. */
        const int32_t headroom = __builtin_clz((uint32_t)sum);
        const int32_t fraction = (int32_t)(((uint32_t)sum << headroom) - (1u << 31));
        const int32_t scale = aot_one_over_one_plus(fraction);
        const int32_t bits = SUM_BITS - headroom + 23;
        for (int32_t i = 0; i < p->size; i++) {
            const int32_t diff = input[i] - max;
            int32_t value = -128;
            if (diff >= p->diff_min) {
                const int32_t x = aot_high_mul(diff * (1 << p->shift), p->multiplier);
                const int32_t e = aot_high_mul(scale, aot_exp_on_negative(x, INPUT_BITS));
                value = aot_clamped(aot_rounding_shift(e, bits) - 128, -128, 127);
            }
            output[i] = (int8_t)value;
        }
    }
    return 0;
}

int aot_logistic(const void *block) {
    enum { INPUT_BITS = 4 };
    const aot_logistic_t p = *(const aot_logistic_t *)block;

    for (int32_t i = 0; i < p.size; i++) {
        const int32_t centred = p.input[i] - p.in_zero;
        int32_t value;
        if (centred <= -p.radius) {
            value = -128;
        } else if (centred >= p.radius) {
            value = 127;
        } else {
            const int32_t x = aot_rescaled(centred, p.multiplier, p.shift);
            int32_t y = 1 << 30;
            if (x != 0) {
                y = aot_one_over_one_plus(aot_exp_on_negative(x > 0 ? -x : x, INPUT_BITS));
                y = x > 0 ? y : INT32_MAX - y;
            }
            value = aot_clamped(aot_rounding_shift(y, 23) - 128, -128, 127);
        }
        p.output[i] = (int8_t)value;
    }
    return 0;
}

int aot_rescale(const void *block) {
    const aot_rescale_t p = *(const aot_rescale_t *)block;

    for (int32_t i = 0; i < p.size; i++) {
        const int32_t x = p.input[i] - p.in_zero;
        const int32_t y = aot_rescaled(x, p.multiplier, p.shift) + p.out_zero;
        p.output[i] = (int8_t)aot_clamped(y, p.act_min, p.act_max);
    }
    return 0;
}

int aot_clamp(const void *block) {
    const aot_rescale_t p = *(const aot_rescale_t *)block;

    for (int32_t i = 0; i < p.size; i++) {
        p.output[i] = (int8_t)aot_clamped(p.input[i], p.act_min, p.act_max);
    }
    return 0;
}

/* Nearest integer, half away from zero; without libm, and exact as the remainder is. */
static int32_t nearest(float value) {
    const float limited = value < -1e6f ? -1e6f : value > 1e6f ? 1e6f : value;
    const int32_t whole = (int32_t)limited;
    const float rest = limited - (float)whole;
    return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

int aot_quantize(const void *block) {
    const aot_affine_t p = *(const aot_affine_t *)block;
    const float *input = p.input;
    int8_t *output = p.output;

    for (int32_t i = 0; i < p.size; i++) {
        const int32_t y = nearest(input[i] / p.scale) + p.zero;
        output[i] = (int8_t)aot_clamped(y, -128, 127);
    }
    return 0;
}

int aot_dequantize(const void *block) {
    const aot_affine_t p = *(const aot_affine_t *)block;
    const int8_t *input = p.input;
    float *output = p.output;

    for (int32_t i = 0; i < p.size; i++) {
        output[i] = p.scale * (float)(input[i] - p.zero);
    }
    return 0;
}
