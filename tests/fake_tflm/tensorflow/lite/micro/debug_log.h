#ifndef FAKE_DEBUG_LOG_H
#define FAKE_DEBUG_LOG_H

#include <stdarg.h>

extern "C" {
#ifdef FAKE_TFLM_OLD_LOG
void DebugLog(const char *text);
#else
void DebugLog(const char *format, va_list arguments);
#endif
}

#endif
