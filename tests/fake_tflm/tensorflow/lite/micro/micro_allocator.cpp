#include "tensorflow/lite/micro/micro_allocator.h"

#include <new>

#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/recording_micro_allocator.h"

namespace tflite {
namespace {

constexpr size_t alignment = 16;

size_t aligned(size_t bytes) {
    return (bytes + alignment - 1) & ~(alignment - 1);
}

// Like TFLM's, this does not check that the arena is large enough for the allocator itself.
template <typename T> T *create(uint8_t *arena, size_t bytes) {
    uint8_t *const place = arena + bytes - aligned(sizeof(T));
    return new (place) T(arena, bytes - aligned(sizeof(T)));
}

}  // namespace

MicroAllocator *MicroAllocator::Create(uint8_t *arena, size_t bytes) {
    return create<MicroAllocator>(arena, bytes);
}

size_t MicroAllocator::GetDefaultTailUsage(bool) {
    return aligned(sizeof(MicroAllocator));
}

void *MicroAllocator::fail(size_t bytes) const {
    MicroPrintf("Failed to allocate memory. Requested: %u, available %u", static_cast<unsigned>(bytes),
                static_cast<unsigned>(high_ - low_));
    return nullptr;
}

void *MicroAllocator::AllocatePersistent(size_t bytes) {
    bytes = aligned(bytes);
    if (bytes > static_cast<size_t>(high_ - low_)) {
        return fail(bytes);
    }
    return high_ -= bytes;
}

void *MicroAllocator::AllocateTensor(size_t bytes) {
    bytes = aligned(bytes);
    if (bytes > static_cast<size_t>(high_ - low_)) {
        return fail(bytes);
    }
    uint8_t *const place = low_;
    low_ += bytes;
    return place;
}

RecordingMicroAllocator *RecordingMicroAllocator::Create(uint8_t *arena, size_t bytes) {
    return create<RecordingMicroAllocator>(arena, bytes);
}

size_t RecordingMicroAllocator::GetDefaultTailUsage() {
    return aligned(sizeof(RecordingMicroAllocator));
}

void *RecordingMicroAllocator::AllocatePersistent(size_t bytes) {
    void *const place = MicroAllocator::AllocatePersistent(bytes);
    if (place != nullptr) {
        recorded_.requested_bytes += bytes;
        recorded_.used_bytes += aligned(bytes);
        recorded_.count++;
    }
    return place;
}

RecordedAllocation RecordingMicroAllocator::GetRecordedAllocation(
    RecordedAllocationType type) const {
    if (type == RecordedAllocationType::kPersistentTfLiteTensorData) {
        return recorded_;
    }
    return {};
}

}  // namespace tflite
