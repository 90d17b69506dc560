/* Pools as plain loops. */
#include "aot_fixed_point.h"
#include "aot_kernels.h"

typedef struct {
    int32_t top, bottom, left, right; /* part of the window inside the input, ends excluded */
} window_t;

static int32_t smaller(int32_t a, int32_t b) {
    return a < b ? a : b;
}

static window_t window_at(const aot_pool_t *p, int32_t oy, int32_t ox) {
    const int32_t y = oy * p->stride.h - p->pad.h, x = ox * p->stride.w - p->pad.w;
    const window_t w = {y > 0 ? y : 0, smaller(y + p->kernel.h, p->in.h), x > 0 ? x : 0,
                        smaller(x + p->kernel.w, p->in.w)};
    return w;
}

static int32_t average(const aot_pool_t *p, const int8_t *plane, window_t w) {
    int32_t sum = 0;
    for (int32_t y = w.top; y < w.bottom; y++) {
        for (int32_t x = w.left; x < w.right; x++) {
            sum += plane[(y * p->in.w + x) * p->in.c];
        }
    }
    const int32_t count = (w.bottom - w.top) * (w.right - w.left);
    return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

static int32_t maximum(const aot_pool_t *p, const int8_t *plane, window_t w) {
    int32_t max = -128;
    for (int32_t y = w.top; y < w.bottom; y++) {
        for (int32_t x = w.left; x < w.right; x++) {
            const int32_t value = plane[(y * p->in.w + x) * p->in.c];
            max = value > max ? value : max;
        }
    }
    return max;
}

static int pool(const aot_pool_t *p,
                int32_t (*reduce)(const aot_pool_t *, const int8_t *, window_t)) {
    const int8_t *image = p->input;
    int8_t *output = p->output;

    for (int32_t n = 0; n < p->in.n; n++, image += p->in.h * p->in.w * p->in.c) {
        for (int32_t oy = 0; oy < p->out.h; oy++) {
            for (int32_t ox = 0; ox < p->out.w; ox++) {
                const window_t window = window_at(p, oy, ox);
                for (int32_t c = 0; c < p->in.c; c++) {
                    const int32_t value = reduce(p, image + c, window);
                    *output++ = (int8_t)aot_clamped(value, p->act_min, p->act_max);
                }
            }
        }
    }
    return 0;
}

int aot_average_pool(const void *block) {
    return pool(block, average);
}

int32_t aot_average_pool_scratch(const void *block) {
    (void)block;
    return 0;
}

int aot_max_pool(const void *block) {
    return pool(block, maximum);
}
