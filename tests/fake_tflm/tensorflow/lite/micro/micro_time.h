#ifndef FAKE_MICRO_TIME_H
#define FAKE_MICRO_TIME_H

#include <stdint.h>

namespace tflite {
uint32_t ticks_per_second();
uint32_t GetCurrentTimeTicks();
}  // namespace tflite

#endif
