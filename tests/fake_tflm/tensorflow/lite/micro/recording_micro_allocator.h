#ifndef FAKE_RECORDING_MICRO_ALLOCATOR_H
#define FAKE_RECORDING_MICRO_ALLOCATOR_H

#include "tensorflow/lite/micro/micro_allocator.h"

namespace tflite {

enum class RecordedAllocationType {
    kTfLiteEvalTensorData,
    kPersistentTfLiteTensorData,
    kPersistentTfLiteTensorQuantizationData,
    kPersistentBufferData,
    kTfLiteTensorVariableBufferData,
    kNodeAndRegistrationArray,
    kOpData,
};

struct RecordedAllocation {
    size_t requested_bytes;
    size_t used_bytes;
    size_t count;
};

class RecordingMicroAllocator : public MicroAllocator {
  public:
    static RecordingMicroAllocator *Create(uint8_t *arena, size_t bytes);
    static size_t GetDefaultTailUsage();

    using MicroAllocator::MicroAllocator;
    void *AllocatePersistent(size_t bytes) override;
    RecordedAllocation GetRecordedAllocation(RecordedAllocationType type) const;

    const RecordingMicroAllocator *GetSimpleMemoryAllocator() const { return this; }
    size_t GetNonPersistentUsedBytes() const { return nonpersistent(); }

  private:
    RecordedAllocation recorded_ = {};
};

}  // namespace tflite

#endif
