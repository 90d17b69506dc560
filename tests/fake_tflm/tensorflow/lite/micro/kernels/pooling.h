#ifndef FAKE_POOLING_H
#define FAKE_POOLING_H

#include "tensorflow/lite/micro/micro_op_resolver.h"

namespace tflite {
TFLMRegistration Register_MAX_POOL_2D_INT8();
int8_t larger(int8_t left, int8_t right);
}  // namespace tflite

#endif
