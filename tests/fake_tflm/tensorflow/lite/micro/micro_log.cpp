#include "tensorflow/lite/micro/micro_log.h"

#include "tensorflow/lite/micro/debug_log.h"

void MicroPrintf(const char *format, ...) {
#ifdef FAKE_TFLM_OLD_LOG
    DebugLog(format);
    DebugLog("\r\n");
#else
    va_list arguments;
    va_start(arguments, format);
    DebugLog(format, arguments);
    va_end(arguments);
    va_start(arguments, format);
    DebugLog("\r\n", arguments);
    va_end(arguments);
#endif
}
