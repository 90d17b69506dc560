/* Report a fault or a failed assertion as one line, by polling, then stay.
 *
 * The stack may be what failed (the MPU guards its end, see guard.c), hence
 * the handler takes a stack of its own before it touches any. */
#include <stddef.h>
#include <stdint.h>

#include "armv7m.h"
#include "bench_console.h"
#include "port.h"
#include "registers.h"

extern uint32_t _stack_bottom[], _stack_top[];

/* Armv7-M B3.2.2: system control registers. */
enum { CFSR = 0xE000ED28u, HFSR = 0xE000ED2Cu, MMFAR = 0xE000ED34u, BFAR = 0xE000ED38u };
enum { CFSR_MMARVALID = 1 << 7 };

void port_fault_report(const uint32_t *frame, uint32_t exception);

uint32_t port_fault_stack[128] __attribute__((aligned(8)));

__attribute__((naked)) void port_fault(void) {
    __asm__ volatile(
        "mrs r0, msp\n"
        "mrs r1, ipsr\n"
        "ldr r2, =port_fault_stack + 512\n"
        "mov sp, r2\n"
        "b port_fault_report\n"
        ".ltorg\n");
}

__attribute__((used, noreturn)) void port_fault_report(const uint32_t *frame, uint32_t exception) {
    static const uint32_t nothing[8] = {0};
    const uint32_t sp = (uint32_t)(uintptr_t)frame;
    const uint32_t cfsr = REG(CFSR);
    const uint32_t hfsr = REG(HFSR);
    const uint32_t address = REG((cfsr & CFSR_MMARVALID) != 0u ? MMFAR : BFAR);
    const uint32_t bottom = (uint32_t)(uintptr_t)_stack_bottom;
    /* Frame: r0-r3, r12, lr, pc, xPSR (B1.5.6); it is not there when the push itself failed. */
    const int outside = sp < bottom || sp > (uint32_t)(uintptr_t)_stack_top - 32u;
    const int guarded = (cfsr & CFSR_MMARVALID) != 0u && bottom - address <= PORT_GUARD_BYTES;
    const int overflow = outside || guarded;
    const uint32_t *const saved = outside ? nothing : frame;
    console_line_end(); /* whatever was being sent ends here */
    hil_begin("fault");
    hil_unsigned("exc", exception);
    hil_hex32("pc", &saved[6], 1);
    hil_hex32("lr", &saved[5], 1);
    hil_hex32("sp", &sp, 1);
    hil_hex32("psr", &saved[7], 1);
    hil_hex32("r0", saved, 4);
    hil_hex32("cfsr", &cfsr, 1);
    hil_hex32("hfsr", &hfsr, 1);
    hil_hex32("bfar", &address, 1); /* of the MPU's fault where it has one */
    hil_text("stack", overflow ? "overflow" : "ok");
    hil_end();
    for (;;) {
    }
}

/* What newlib's assert() calls. */
void __assert_func(const char *file, int line, const char *function, const char *expression);

__attribute__((noreturn)) void __assert_func(const char *file, int line, const char *function,
                                             const char *expression) {
    (void)port_lock();
    console_line_end();
    hil_begin("assert");
    hil_signed("line", line);
    hil_message("func", function != NULL ? function : "");
    hil_message("expr", expression);
    hil_message("file", file);
    hil_end();
    for (;;) {
    }
}
