#ifndef FAKE_MICRO_INTERPRETER_H
#define FAKE_MICRO_INTERPRETER_H

#include "tensorflow/lite/micro/micro_allocator.h"
#include "tensorflow/lite/micro/micro_op_resolver.h"
#include "tensorflow/lite/micro/micro_profiler_interface.h"

#define TFLITE_SCHEMA_VERSION (3)

namespace tflite {

class MicroResourceVariables;

class MicroInterpreter {
  public:
    MicroInterpreter(const Model *model, const MicroOpResolver &resolver,
                     MicroAllocator *allocator, MicroResourceVariables *variables = nullptr,
                     MicroProfilerInterface *profiler = nullptr)
        : graph_(model->subgraphs()->Get(0)), model_(model), resolver_(resolver),
          allocator_(allocator), profiler_(profiler) {
        (void)variables;
    }

    TfLiteStatus AllocateTensors();
    TfLiteStatus Invoke();

    size_t inputs_size() const { return graph_->inputs()->size(); }
    size_t outputs_size() const { return graph_->outputs()->size(); }
    TfLiteTensor *input(size_t i) { return &tensors_[graph_->inputs()->Get(i)]; }
    TfLiteTensor *output(size_t i) { return &tensors_[graph_->outputs()->Get(i)]; }
    size_t arena_used_bytes() const { return allocator_->used_bytes(); }

  private:
    const SubGraph *graph_;
    const Model *model_;
    const MicroOpResolver &resolver_;
    MicroAllocator *allocator_;
    MicroProfilerInterface *profiler_;
    const TFLMRegistration **nodes_ = nullptr;
    TfLiteTensor *tensors_ = nullptr;
};

}  // namespace tflite

#endif
