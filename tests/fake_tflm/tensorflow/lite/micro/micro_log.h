#ifndef FAKE_MICRO_LOG_H
#define FAKE_MICRO_LOG_H

void MicroPrintf(const char *format, ...);

#endif
