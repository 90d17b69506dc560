#ifndef FAKE_MICRO_OP_RESOLVER_H
#define FAKE_MICRO_OP_RESOLVER_H

#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/schema/schema_generated.h"

struct TFLMRegistration {
    TfLiteStatus (*invoke)(const tflite::Operator *op, TfLiteTensor *tensors);
};

namespace tflite {

class MicroOpResolver {
  public:
    virtual const TFLMRegistration *FindOp(BuiltinOperator op) const = 0;
    virtual ~MicroOpResolver() {}
};

}  // namespace tflite

#endif
