/* Time: the core's cycle counter, extended beyond its 32 bits. */
#ifndef BENCH_TIME_H
#define BENCH_TIME_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Both counters at one moment. The slow one only tells how often the fast one wrapped. */
typedef struct {
    uint32_t ticks;  /* 32-bit timer at 1 MHz: wraps after 71 minutes */
    uint32_t cycles; /* core cycles: wraps after 20 s at 216 MHz */
} bench_mark_t;

void bench_time_init(void);

/* Around the timed region: everything before is complete, nothing of it starts before the mark. */
bench_mark_t bench_mark_start(void);
bench_mark_t bench_mark_stop(void);

/* Core cycles from start to stop, which must be less than 71 minutes apart. */
uint64_t bench_elapsed(bench_mark_t start, bench_mark_t stop);

/* Core cycles since bench_time_init(); for layers. Ask at least once in 71 minutes. */
uint64_t bench_cycles(void);

/* Microseconds since bench_time_init(), 32 bits (MLPerf Tiny's time stamp). */
uint32_t bench_microseconds(void);

#ifdef __cplusplus
}
#endif

#endif
