/* Convolutions, fully connected layers and pools by CMSIS-NN, called with the arguments that TensorFlow
 * Lite Micro's CMSIS-NN kernels pass: padding is top and left only, the output size says the rest. */
#include "aot_kernels.h"

#include "arm_nnfunctions.h"

#include <stddef.h>

const char aot_kernel_set[] = "cmsis_nn";

static cmsis_nn_dims dims(aot_shape_t s) {
    const cmsis_nn_dims d = {s.n, s.h, s.w, s.c};
    return d;
}

static cmsis_nn_dims kernel_dims(aot_pair_t k, int32_t n, int32_t c) {
    const cmsis_nn_dims d = {n, k.h, k.w, c};
    return d;
}

static cmsis_nn_tile tile(aot_pair_t p) {
    const cmsis_nn_tile t = {p.w, p.h};
    return t;
}

static cmsis_nn_per_channel_quant_params channels(const aot_conv_t *p) {
    /* CMSIS-NN reads both and declares neither const. */
    const cmsis_nn_per_channel_quant_params q = {(int32_t *)(uintptr_t)p->multiplier,
                                                 (int32_t *)(uintptr_t)p->shift};
    return q;
}

static cmsis_nn_conv_params conv_params(const aot_conv_t *p) {
    const cmsis_nn_conv_params c = {p->in_offset, p->out_offset,     tile(p->stride),
                                    tile(p->pad), tile(p->dilation), {p->act_min, p->act_max}};
    return c;
}

static cmsis_nn_dw_conv_params depthwise_params(const aot_conv_t *p) {
    const cmsis_nn_dw_conv_params c = {
        p->in_offset, p->out_offset,     p->depth_multiplier,     tile(p->stride),
        tile(p->pad), tile(p->dilation), {p->act_min, p->act_max}};
    return c;
}

int aot_conv(const void *block) {
    const aot_conv_t *p = block;
    const cmsis_nn_context ctx = {p->scratch, 0};
    const cmsis_nn_conv_params params = conv_params(p);
    const cmsis_nn_per_channel_quant_params quant = channels(p);
    const cmsis_nn_dims in = dims(p->in), out = dims(p->out);
    const cmsis_nn_dims filter = kernel_dims(p->kernel, p->out.c, p->in.c);
    const cmsis_nn_dims bias = {1, 1, 1, p->out.c};
    return arm_convolve_wrapper_s8(&ctx, &params, &quant, &in, p->input, &filter, p->filter, &bias,
                                   p->bias, &out, p->output);
}

int32_t aot_conv_scratch(const void *block) {
    const aot_conv_t *p = block;
    const cmsis_nn_conv_params params = conv_params(p);
    const cmsis_nn_dims in = dims(p->in), out = dims(p->out);
    const cmsis_nn_dims filter = kernel_dims(p->kernel, p->out.c, p->in.c);
    return arm_convolve_wrapper_s8_get_buffer_size(&params, &in, &filter, &out);
}

int aot_depthwise(const void *block) {
    const aot_conv_t *p = block;
    const cmsis_nn_context ctx = {p->scratch, 0};
    const cmsis_nn_dw_conv_params params = depthwise_params(p);
    const cmsis_nn_per_channel_quant_params quant = channels(p);
    const cmsis_nn_dims in = dims(p->in), out = dims(p->out);
    const cmsis_nn_dims filter = kernel_dims(p->kernel, 1, p->out.c);
    const cmsis_nn_dims bias = {1, 1, 1, p->out.c};
    return arm_depthwise_conv_wrapper_s8(&ctx, &params, &quant, &in, p->input, &filter, p->filter,
                                         &bias, p->bias, &out, p->output);
}

int32_t aot_depthwise_scratch(const void *block) {
    const aot_conv_t *p = block;
    const cmsis_nn_dw_conv_params params = depthwise_params(p);
    const cmsis_nn_dims in = dims(p->in), out = dims(p->out);
    const cmsis_nn_dims filter = kernel_dims(p->kernel, 1, p->out.c);
    return arm_depthwise_conv_wrapper_s8_get_buffer_size(&params, &in, &filter, &out);
}

int aot_fully_connected(const void *block) {
    const aot_fully_connected_t *p = block;
    const cmsis_nn_context ctx = {p->scratch, 0};
    const cmsis_nn_fc_params params = {p->in_offset, 0, p->out_offset, {p->act_min, p->act_max}};
    const cmsis_nn_per_tensor_quant_params quant = {p->multiplier, p->shift};
    const cmsis_nn_dims in = {p->rows, 1, 1, p->inputs}, out = {p->rows, 1, 1, p->outputs};
    const cmsis_nn_dims filter = {p->inputs, 1, 1, p->outputs}, bias = {1, 1, 1, p->outputs};
    return arm_fully_connected_s8(&ctx, &params, &quant, &in, p->input, &filter, p->filter, &bias,
                                  p->bias, &out, p->output);
}

int aot_fully_connected_channels(const void *block) {
    /* This CMSIS-NN has no per-channel fully connected layer; a 1 x 1 convolution is the same sum. */
    const aot_conv_t *p = block;
    const cmsis_nn_context ctx = {p->scratch, 0};
    const cmsis_nn_conv_params params = conv_params(p);
    const cmsis_nn_per_channel_quant_params quant = channels(p);
    const cmsis_nn_dims in = dims(p->in), out = dims(p->out);
    const cmsis_nn_dims filter = kernel_dims(p->kernel, p->out.c, p->in.c);
    const cmsis_nn_dims bias = {1, 1, 1, p->out.c};
    return arm_convolve_1x1_s8_fast(&ctx, &params, &quant, &in, p->input, &filter, p->filter, &bias,
                                    p->bias, &out, p->output);
}

static cmsis_nn_pool_params pool_params(const aot_pool_t *p) {
    const cmsis_nn_pool_params c = {tile(p->stride), tile(p->pad), {p->act_min, p->act_max}};
    return c;
}

int aot_average_pool(const void *block) {
    const aot_pool_t *p = block;
    const cmsis_nn_context ctx = {p->scratch, 0};
    const cmsis_nn_pool_params params = pool_params(p);
    const cmsis_nn_dims in = dims(p->in), out = dims(p->out);
    const cmsis_nn_dims filter = kernel_dims(p->kernel, 1, 1);
    return arm_avgpool_s8(&ctx, &params, &in, p->input, &filter, &out, p->output);
}

int32_t aot_average_pool_scratch(const void *block) {
    const aot_pool_t *p = block;
    return arm_avgpool_s8_get_buffer_size(p->out.w, p->in.c);
}

int aot_max_pool(const void *block) {
    const aot_pool_t *p = block;
    const cmsis_nn_context ctx = {p->scratch, 0};
    const cmsis_nn_pool_params params = pool_params(p);
    const cmsis_nn_dims in = dims(p->in), out = dims(p->out);
    const cmsis_nn_dims filter = kernel_dims(p->kernel, 1, 1);
    return arm_max_pool_s8(&ctx, &params, &in, p->input, &filter, &out, p->output);
}
