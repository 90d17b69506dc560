#ifndef FAKE_MICRO_OPS_H
#define FAKE_MICRO_OPS_H

#include "tensorflow/lite/micro/micro_op_resolver.h"

namespace tflite {
TFLMRegistration Register_MAX_POOL_2D();
TFLMRegistration Register_RESHAPE();
}  // namespace tflite

#endif
