/* The commands of MLPerf Tiny's monitor, so that its runner can drive the device. */
#ifndef BENCH_MLPERF_H
#define BENCH_MLPERF_H

#include <stdbool.h>

/* False when the command is none of them. */
bool mlperf_execute(const char *command, char **rest);

#endif
