/* Convolutions and fully connected layers as plain loops. */
#include "aot_fixed_point.h"
#include "aot_kernels.h"

const char aot_kernel_set[] = "portable";

static int8_t finish(const aot_conv_t *p, int32_t sum, int32_t channel) {
    const int32_t value = aot_rescaled(sum, p->multiplier[channel], p->shift[channel]);
    return (int8_t)aot_clamped(value + p->out_offset, p->act_min, p->act_max);
}

/* One output pixel and channel: the products of all taps that fall inside the input. */
static int32_t conv_sum(const aot_conv_t *p, const int8_t *image, int32_t top, int32_t left,
                        const int8_t *filter) {
    int32_t sum = 0;
    for (int32_t ky = 0; ky < p->kernel.h; ky++) {
        const int32_t y = top + ky * p->dilation.h;
        if (y < 0 || y >= p->in.h) {
            continue;
        }
        for (int32_t kx = 0; kx < p->kernel.w; kx++) {
            const int32_t x = left + kx * p->dilation.w;
            if (x < 0 || x >= p->in.w) {
                continue;
            }
            const int8_t *pixel = image + (y * p->in.w + x) * p->in.c;
            const int8_t *weights = filter + (ky * p->kernel.w + kx) * p->in.c;
            for (int32_t c = 0; c < p->in.c; c++) {
                sum += (pixel[c] + p->in_offset) * weights[c];
            }
        }
    }
    return sum;
}

int aot_conv(const void *block) {
    const aot_conv_t *p = block;
    const int32_t filter_size = p->kernel.h * p->kernel.w * p->in.c;
    const int8_t *image = p->input;
    int8_t *output = p->output;

    for (int32_t n = 0; n < p->in.n; n++, image += p->in.h * p->in.w * p->in.c) {
        for (int32_t oy = 0; oy < p->out.h; oy++) {
            for (int32_t ox = 0; ox < p->out.w; ox++) {
                const int32_t top = oy * p->stride.h - p->pad.h;
                const int32_t left = ox * p->stride.w - p->pad.w;
                for (int32_t c = 0; c < p->out.c; c++) {
                    const int32_t sum = conv_sum(p, image, top, left, p->filter + c * filter_size);
                    *output++ = finish(p, sum + (p->bias ? p->bias[c] : 0), c);
                }
            }
        }
    }
    return 0;
}

int32_t aot_conv_scratch(const void *block) {
    (void)block;
    return 0;
}

static int32_t depthwise_sum(const aot_conv_t *p, const int8_t *image, int32_t top, int32_t left,
                             int32_t channel) {
    const int8_t *plane = image + channel / p->depth_multiplier;
    const int8_t *filter = p->filter + channel;
    int32_t sum = 0;
    for (int32_t ky = 0; ky < p->kernel.h; ky++) {
        const int32_t y = top + ky * p->dilation.h;
        for (int32_t kx = 0; kx < p->kernel.w; kx++, filter += p->out.c) {
            const int32_t x = left + kx * p->dilation.w;
            if (y >= 0 && y < p->in.h && x >= 0 && x < p->in.w) {
                sum += (plane[(y * p->in.w + x) * p->in.c] + p->in_offset) * *filter;
            }
        }
    }
    return sum;
}

int aot_depthwise(const void *block) {
    const aot_conv_t *p = block;
    const int8_t *image = p->input;
    int8_t *output = p->output;

    for (int32_t n = 0; n < p->in.n; n++, image += p->in.h * p->in.w * p->in.c) {
        for (int32_t oy = 0; oy < p->out.h; oy++) {
            for (int32_t ox = 0; ox < p->out.w; ox++) {
                const int32_t top = oy * p->stride.h - p->pad.h;
                const int32_t left = ox * p->stride.w - p->pad.w;
                for (int32_t c = 0; c < p->out.c; c++) {
                    const int32_t sum = depthwise_sum(p, image, top, left, c);
                    *output++ = finish(p, sum + (p->bias ? p->bias[c] : 0), c);
                }
            }
        }
    }
    return 0;
}

int32_t aot_depthwise_scratch(const void *block) {
    (void)block;
    return 0;
}

int aot_fully_connected(const void *block) {
    const aot_fully_connected_t *p = block;
    const int8_t *row = p->input;
    int8_t *output = p->output;

    for (int32_t n = 0; n < p->rows; n++, row += p->inputs) {
        const int8_t *weights = p->filter;
        for (int32_t o = 0; o < p->outputs; o++) {
            int32_t sum = p->bias ? p->bias[o] : 0;
            for (int32_t i = 0; i < p->inputs; i++) {
                sum += (row[i] + p->in_offset) * *weights++;
            }
            const int32_t value = aot_rescaled(sum, p->multiplier, p->shift) + p->out_offset;
            *output++ = (int8_t)aot_clamped(value, p->act_min, p->act_max);
        }
    }
    return 0;
}

int aot_fully_connected_channels(const void *block) {
    return aot_conv(block);
}
