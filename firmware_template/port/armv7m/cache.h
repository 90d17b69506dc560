/* L1 caches of the Cortex-M7 (DDI0403 B3.2.2 CCR, B2.2.7 cache maintenance). */
#ifndef PORT_CACHE_H
#define PORT_CACHE_H

#include "port.h"
#include "registers.h"

enum { CCR = 0xE000ED14u, CSSELR = 0xE000ED84u, ICIALLU = 0xE000EF50u, DCISW = 0xE000EF60u };

static inline void icache_enable(void) {
    port_barrier();
    REG(ICIALLU) = 0;
    port_barrier();
    REG(CCR) |= 1u << 17; /* IC */
    port_barrier();
}

/* Invalidate every line by set and way before the cache is switched on: its content at power-on is
 * undefined. Lines have 32 bytes. */
static inline void dcache_enable(uint32_t bytes, uint32_t ways) {
    const uint32_t sets = bytes / (32u * ways);
    const uint32_t way_shift = (uint32_t)__builtin_clz(ways - 1u);
    REG(CSSELR) = 0; /* level 1, data */
    port_barrier();
    for (uint32_t set = 0; set < sets; set++) {
        for (uint32_t way = 0; way < ways; way++) {
            REG(DCISW) = way << way_shift | set << 5;
        }
    }
    port_barrier();
    REG(CCR) |= 1u << 16; /* DC */
    port_barrier();
}

#endif
