/* Operators of the aot runtime.
 *
 * Each operator is one function over a constant parameter block that the code generator writes:
 * shapes, quantisation, and pointers into the arena and the weights. aot_conv, aot_depthwise,
 * aot_fully_connected and the pools have two implementations, one calling CMSIS-NN and one in plain
 * C (runtime/portable); the others have one, which both kernel sets use.
 *
 * Tensors are int8, channels last. A function returns 0, or a code that is not 0. Its _scratch twin
 * returns the scratch bytes that it needs for the block. */
#ifndef AOT_KERNELS_H
#define AOT_KERNELS_H

#include <stdint.h>

typedef struct {
    int32_t n, h, w, c;
} aot_shape_t;

typedef struct {
    int32_t h, w;
} aot_pair_t;

/* CONV_2D; DEPTHWISE_CONV_2D; FULLY_CONNECTED as a 1 x 1 convolution of n pixels.
 * multiplier and shift hold one entry per output channel. */
typedef struct {
    const int8_t *input;
    int8_t *output;
    const int8_t *filter;
    const int32_t *bias; /* or NULL */
    const int32_t *multiplier, *shift;
    void *scratch;
    aot_shape_t in, out;
    aot_pair_t kernel, stride, pad, dilation;
    int32_t depth_multiplier;
    int32_t in_offset, out_offset, act_min, act_max;
} aot_conv_t;

/* FULLY_CONNECTED with one scale for all outputs. */
typedef struct {
    const int8_t *input;
    int8_t *output;
    const int8_t *filter; /* [outputs][inputs] */
    const int32_t *bias;
    void *scratch;
    int32_t rows, inputs, outputs;
    int32_t multiplier, shift;
    int32_t in_offset, out_offset, act_min, act_max;
} aot_fully_connected_t;

/* AVERAGE_POOL_2D, MAX_POOL_2D */
typedef struct {
    const int8_t *input;
    int8_t *output;
    void *scratch;
    aot_shape_t in, out;
    aot_pair_t kernel, stride, pad;
    int32_t act_min, act_max;
} aot_pool_t;

/* ADD, MUL: equal shapes, or one operand repeated along the leading dimensions. */
typedef struct {
    const int8_t *input1, *input2;
    int8_t *output;
    int32_t size, size2; /* elements of output and input1; of input2, which divides it */
    int32_t offset1, multiplier1, shift1;
    int32_t offset2, multiplier2, shift2;
    int32_t out_offset, multiplier, shift, act_min, act_max;
} aot_binary_t;

/* SOFTMAX over the last dimension */
typedef struct {
    const int8_t *input;
    int8_t *output;
    int32_t rows, size, multiplier, shift, diff_min;
} aot_softmax_t;

/* MEAN over a run of neighbouring dimensions: [outer][reduced][inner] -> [outer][inner] */
typedef struct {
    const int8_t *input;
    int8_t *output;
    int32_t *scratch; /* inner sums */
    int32_t outer, reduced, inner;
    int32_t in_zero, out_zero, multiplier, shift;
} aot_mean_t;

/* RELU, RELU6, QUANTIZE from int8: rescale, then clamp */
typedef struct {
    const int8_t *input;
    int8_t *output;
    int32_t size, in_zero, out_zero, multiplier, shift, act_min, act_max;
} aot_rescale_t;

/* LOGISTIC */
typedef struct {
    const int8_t *input;
    int8_t *output;
    int32_t size, in_zero, radius, multiplier, shift;
} aot_logistic_t;

/* QUANTIZE from and DEQUANTIZE to float */
typedef struct {
    const void *input;
    void *output;
    int32_t size, zero;
    float scale;
} aot_affine_t;

/* PAD, PADV2: up to four dimensions */
typedef struct {
    const int8_t *input;
    int8_t *output;
    int32_t in[4], before[4], out[4];
    int8_t value;
} aot_pad_t;

/* CONCATENATION: count inputs, each [outer][bytes[i]], side by side */
typedef struct {
    const int8_t *const *inputs;
    const int32_t *bytes;
    int8_t *output;
    int32_t count, outer;
} aot_concat_t;

/* RESHAPE of something that must not be aliased */
typedef struct {
    const void *input;
    void *output;
    int32_t bytes;
} aot_copy_t;

/* The kernel set implements these. */
extern const char aot_kernel_set[];
int aot_conv(const void *block);
int32_t aot_conv_scratch(const void *block);
int aot_depthwise(const void *block);
int32_t aot_depthwise_scratch(const void *block);
int aot_fully_connected(const void *block);
int aot_fully_connected_channels(const void *block); /* takes aot_conv_t */
int aot_average_pool(const void *block);
int32_t aot_average_pool_scratch(const void *block);
int aot_max_pool(const void *block);

/* Common to both. */
int aot_add(const void *block);
int aot_mul(const void *block);
int aot_softmax(const void *block);
int aot_mean(const void *block);
int aot_rescale(const void *block);
int aot_clamp(const void *block); /* RELU6: takes aot_rescale_t, does not rescale */
int aot_logistic(const void *block);
int aot_quantize(const void *block);
int aot_dequantize(const void *block);
int aot_pad(const void *block);
int aot_concat(const void *block);
int aot_copy(const void *block);
int aot_alias(const void *block); /* RESHAPE where the planner shares the memory: nothing to do */

#endif
