#include "bench_check.h"

#include "port.h"

enum { AROUND = 8, ROUNDS = 4 };

extern uint32_t _stack_bottom[], _stack_top[], _free_end[];

bool check_edge_is_ram(uint32_t edge) {
    return edge % 4u == 0u && edge >= (uint32_t)(uintptr_t)_stack_top + AROUND &&
           edge <= (uint32_t)(uintptr_t)_free_end - AROUND;
}

/* By hand, as the compiler may split what it knows to be unaligned. */
static uint32_t load(uint32_t at, uint32_t size) {
    uint32_t value;
    if (size == 4u) {
        __asm__ volatile("ldr %0, [%1]" : "=r"(value) : "r"(at) : "memory");
    } else {
        __asm__ volatile("ldrh %0, [%1]" : "=r"(value) : "r"(at) : "memory");
    }
    return value;
}

static void store(uint32_t at, uint32_t size, uint32_t value) {
    if (size == 4u) {
        __asm__ volatile("str %1, [%0]" ::"r"(at), "r"(value) : "memory");
    } else {
        __asm__ volatile("strh %1, [%0]" ::"r"(at), "r"(value) : "memory");
    }
}

static uint8_t pattern(uint32_t i, uint32_t round) {
    return (uint8_t)(37u * i + 91u * round + 5u);
}

/* One load and one store of `size` bytes at `at`, of which some are on each side of the edge. */
static uint32_t across(volatile uint8_t *around, uint32_t at, uint32_t size, uint32_t round) {
    const uint32_t start = at - (uint32_t)(uintptr_t)around;
    uint32_t expected = 0;
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < 2u * AROUND; i++) {
        around[i] = pattern(i, round);
    }
    for (uint32_t i = 0; i < size; i++) {
        expected |= (uint32_t)pattern(start + i, round) << 8u * i;
    }
    port_barrier();
    wrong += load(at, size) != expected;
    store(at, size, ~expected);
    port_barrier();
    for (uint32_t i = 0; i < 2u * AROUND; i++) {
        const uint8_t plain = pattern(i, round);
        const uint8_t wanted = i - start < size ? (uint8_t)~plain : plain;
        if (around[i] != wanted) {
            wrong++;
            break;
        }
    }
    return wrong;
}

uint32_t check_edge(uint32_t edge, uint32_t *tried) {
    volatile uint8_t *const around = (volatile uint8_t *)(uintptr_t)(edge - AROUND);
    uint8_t kept[2 * AROUND];
    uint32_t wrong = 0;
    *tried = 0;
    const uint32_t state = port_lock();
    for (uint32_t i = 0; i < sizeof kept; i++) {
        kept[i] = around[i];
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t size = 2; size <= 4u; size += 2u) {
            for (uint32_t before = 1; before < size; before++) {
                wrong += across(around, edge - before, size, round);
                *tried += 2u;
            }
        }
    }
    for (uint32_t i = 0; i < sizeof kept; i++) {
        around[i] = kept[i];
    }
    port_unlock(state);
    return wrong;
}

void check_guard(void) {
    (void)*(volatile uint32_t *)((uintptr_t)_stack_bottom - 32u);
}
