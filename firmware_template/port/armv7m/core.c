/* Cycle counter, barriers, interrupt lock (Armv7-M C1.8, A3.7.3, B5.2.2). */
#include "armv7m.h"
#include "board_config.h"
#include "port.h"
#include "registers.h"

enum {
    DEMCR = 0xE000EDFCu,
    DWT_CTRL = 0xE0001000u,
    DWT_CYCCNT = 0xE0001004u,
    DWT_LAR = 0xE0001FB0u, /* CoreSight lock access */
    CCR = 0xE000ED14u,
};

void port_counter_init(void) {
    REG(DEMCR) |= 1u << 24; /* TRCENA */
#if BOARD_DWT_LOCK
    REG(DWT_LAR) = 0xC5ACCE55u; /* Cortex-M7: writes are ignored until unlocked */
#endif
    REG(DWT_CTRL) |= 1u; /* CYCCNTENA; only differences matter, so the count is left as it is */
}

void port_counter_ensure(void) {
    /* A debugger that leaves clears DEMCR. */
    if ((REG(DEMCR) & 1u << 24) == 0u || (REG(DWT_CTRL) & 1u) == 0u) {
        port_counter_init();
    }
}

uint32_t port_cycles(void) {
    return REG(DWT_CYCCNT);
}

const char *port_counter(void) {
    return (REG(DWT_CTRL) & 1u << 25) != 0u ? "none" : "dwt"; /* NOCYCCNT */
}

uint32_t port_caches(void) {
    const uint32_t control = REG(CCR); /* IC and DC are reserved, and zero, without caches */
    return ((control >> 17 & 1u) != 0u ? PORT_ICACHE : 0u) |
           ((control >> 16 & 1u) != 0u ? PORT_DCACHE : 0u);
}

void port_barrier(void) {
    __asm__ volatile("dsb\n isb" ::: "memory");
}

uint32_t port_lock(void) {
    uint32_t state;
    __asm__ volatile("mrs %0, primask\n cpsid i" : "=r"(state)::"memory");
    return state;
}

void port_unlock(uint32_t state) {
    __asm__ volatile("msr primask, %0" ::"r"(state) : "memory");
}
