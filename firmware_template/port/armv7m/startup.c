/* Reset, vectors, memory set-up (Armv7-M Architecture Reference Manual B1.5). */
#include <stddef.h>
#include <stdint.h>

#include "armv7m.h"
#include "board_config.h"
#include "port.h"
#include "registers.h"

extern uint32_t _data_load[], _data_start[], _data_end[], _arena_start[], _arena_end[],
    _bss_start[], _bss_end[];
extern uint32_t _stack_bottom[], _stack_top[];
extern void (*_init_start[])(void), (*_init_end[])(void);

static const uint32_t PAINT = 0x5AC3A596u;
enum { CPACR = 0xE000ED88u, VTOR = 0xE000ED08u };

void port_reset(void);

extern void *const port_vectors[];

/* Only the core's own exceptions: no interrupt is ever enabled, all input and output is polled. */
__attribute__((section(".vectors"), used)) void *const port_vectors[16] = {
    _stack_top,
    (void *)port_reset,
    (void *)port_fault,
    (void *)port_fault,
    (void *)port_fault,
    (void *)port_fault,
    (void *)port_fault,
    NULL,
    NULL,
    NULL,
    NULL,
    (void *)port_fault,
    (void *)port_fault,
    NULL,
    (void *)port_fault,
    (void *)port_fault,
};

/* Which board the image is for, behind the vectors: harness/flash/image.py reads it before it lets
 * an image onto a board. */
__attribute__((section(".identity"), used)) const char port_identity[] = "TMLH1 " BOARD_ID;

/* Runs before .data is there and before the FPU is on, so it is all of start-up and nothing else. */
__attribute__((used, noreturn)) void port_reset(void) {
    REG(CPACR) |= 0xFu << 20; /* CP10, CP11: FPU */
    REG(VTOR) = (uint32_t)(uintptr_t)port_vectors;
    __asm__ volatile("dsb\n isb" ::: "memory");

    uint32_t *stack_pointer;
    __asm__ volatile("mov %0, sp" : "=r"(stack_pointer));
    /* 64 bytes of room for what the compiler pushes until the loop is done. */
    for (uint32_t *at = _stack_bottom; at < stack_pointer - 16; at++) {
        *(volatile uint32_t *)at = PAINT;
    }
    const uint32_t *from = _data_load;
    for (uint32_t *to = _data_start; to < _data_end; to++) {
        *to = *from++;
    }
    for (uint32_t *to = _arena_start; to < _arena_end; to++) {
        *to = 0;
    }
    for (uint32_t *to = _bss_start; to < _bss_end; to++) {
        *to = 0;
    }
    port_guard_init();
    for (void (**constructor)(void) = _init_start; constructor < _init_end; constructor++) {
        (*constructor)();
    }
    (void)main();
    for (;;) {
    }
}

uint32_t port_stack_bytes(void) {
    return (uint32_t)((uintptr_t)_stack_top - (uintptr_t)_stack_bottom);
}

uint32_t port_stack_used(void) {
    const uint32_t *at = _stack_bottom;
    while (at < _stack_top && *at == PAINT) {
        at++;
    }
    return (uint32_t)((uintptr_t)_stack_top - (uintptr_t)at);
}
