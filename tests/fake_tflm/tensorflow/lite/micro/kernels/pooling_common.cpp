#include "tensorflow/lite/micro/kernels/pooling.h"

int8_t tflite::larger(int8_t left, int8_t right) {
    return left > right ? left : right;
}
