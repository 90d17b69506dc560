#ifndef FAKE_MICRO_ALLOCATOR_H
#define FAKE_MICRO_ALLOCATOR_H

#include "tensorflow/lite/c/common.h"

namespace tflite {

// Tensors from the bottom of the arena, everything else from its top, itself included.
class MicroAllocator {
  public:
    static MicroAllocator *Create(uint8_t *arena, size_t bytes);
    static size_t GetDefaultTailUsage(bool is_memory_planner_given);

    MicroAllocator(uint8_t *arena, size_t bytes) : low_(arena), high_(arena + bytes),
                                                   arena_(arena), end_(arena + bytes) {}
    virtual ~MicroAllocator() {}

    virtual void *AllocatePersistent(size_t bytes);
    void *AllocateTensor(size_t bytes);
    size_t used_bytes() const { return nonpersistent() + static_cast<size_t>(end_ - high_); }
    size_t nonpersistent() const { return static_cast<size_t>(low_ - arena_); }

  private:
    void *fail(size_t bytes) const;

    uint8_t *low_;
    uint8_t *high_;
    uint8_t *arena_;
    uint8_t *end_;
};

}  // namespace tflite

#endif
