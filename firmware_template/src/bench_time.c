#include "bench_time.h"

#include "port.h"

static bench_mark_t last;
static uint64_t total;
static uint32_t cycles_per_tick;

void bench_time_init(void) {
    cycles_per_tick = port_clock()->core_hz / 1000000u;
    total = 0;
    last = bench_mark_start();
}

bench_mark_t bench_mark_start(void) {
    bench_mark_t mark;
    mark.ticks = port_ticks();
    port_barrier();
    mark.cycles = port_cycles();
    return mark;
}

bench_mark_t bench_mark_stop(void) {
    bench_mark_t mark;
    port_barrier();
    mark.cycles = port_cycles();
    mark.ticks = port_ticks();
    return mark;
}

uint64_t bench_elapsed(bench_mark_t start, bench_mark_t stop) {
    /* Unsigned differences are right across one wrap each. */
    const uint32_t low = stop.cycles - start.cycles;
    const uint64_t about = (uint64_t)(uint32_t)(stop.ticks - start.ticks) * cycles_per_tick;
    /* The count of wraps is the whole number nearest to (about - low) / 2^32; about is off by a few
     * ticks at most, far from the half wrap at which this would round wrongly. */
    const uint64_t half = (uint64_t)1 << 31;
    const uint64_t wraps = about + half >= low ? (about + half - low) >> 32 : 0;
    return (wraps << 32) + low;
}

uint64_t bench_cycles(void) {
    const bench_mark_t now = bench_mark_stop();
    total += bench_elapsed(last, now);
    last = now;
    return total;
}

uint32_t bench_microseconds(void) {
    return port_ticks();
}
