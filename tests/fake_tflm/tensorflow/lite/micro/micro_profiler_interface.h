#ifndef FAKE_MICRO_PROFILER_INTERFACE_H
#define FAKE_MICRO_PROFILER_INTERFACE_H

#include <stdint.h>

namespace tflite {

class MicroProfilerInterface {
  public:
    virtual ~MicroProfilerInterface() {}
    virtual uint32_t BeginEvent(const char *tag) = 0;
    virtual void EndEvent(uint32_t event) = 0;
};

}  // namespace tflite

#endif
