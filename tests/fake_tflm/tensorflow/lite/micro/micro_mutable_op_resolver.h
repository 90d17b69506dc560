#ifndef FAKE_MICRO_MUTABLE_OP_RESOLVER_H
#define FAKE_MICRO_MUTABLE_OP_RESOLVER_H

#include "tensorflow/lite/micro/kernels/micro_ops.h"
#include "tensorflow/lite/micro/micro_op_resolver.h"

namespace tflite {

template <unsigned int tOpCount> class MicroMutableOpResolver : public MicroOpResolver {
  public:
    const TFLMRegistration *FindOp(BuiltinOperator op) const override {
        for (unsigned int i = 0; i < count_; i++) {
            if (codes_[i] == op) {
                return &registrations_[i];
            }
        }
        return nullptr;
    }

    TfLiteStatus AddMaxPool2D(
        const TFLMRegistration& registration = Register_MAX_POOL_2D()) {
        return AddBuiltin(BuiltinOperator_MAX_POOL_2D, registration, ParsePool);
    }

    TfLiteStatus AddReshape() {
        return AddBuiltin(BuiltinOperator_RESHAPE, Register_RESHAPE(), ParseReshape);
    }

  private:
    enum Parser { ParsePool, ParseReshape };

    TfLiteStatus AddBuiltin(BuiltinOperator op, const TFLMRegistration& registration, Parser) {
        if (count_ == tOpCount) {
            return kTfLiteError;
        }
        codes_[count_] = op;
        registrations_[count_++] = registration;
        return kTfLiteOk;
    }

    BuiltinOperator codes_[tOpCount];
    TFLMRegistration registrations_[tOpCount];
    unsigned int count_ = 0;
};

}  // namespace tflite

#endif
