/* Guard of the stack: a region of the MPU below it that nobody may touch (Armv7-M B3.5).
 *
 * The stack is lowest in RAM. What lies below is reserved on the chips that we know, but whether an
 * access to it faults is theirs to decide; with the MPU it always does, and is called what it is.
 * The region takes no RAM. */
#include <stdint.h>

#include "armv7m.h"
#include "port.h"
#include "registers.h"

extern uint32_t _stack_bottom[];

enum {
    MPU_TYPE = 0xE000ED90u,
    MPU_CTRL = 0xE000ED94u,
    MPU_RBAR = 0xE000ED9Cu,
    MPU_RASR = 0xE000EDA0u
};
enum {
    RBAR_VALID = 1 << 4,       /* the region's number, 0, is in the low bits */
    RASR_XN = 1 << 28,         /* AP = 0: no access, privileged or not */
    RASR_SIZE = (12 - 1) << 1, /* 2^12 bytes */
    RASR_ENABLE = 1,
    CTRL_PRIVDEFENA = 1 << 2, /* elsewhere as without an MPU */
    CTRL_ENABLE = 1,          /* not in HardFault: HFNMIENA = 0 */
};
_Static_assert(1 << 12 == PORT_GUARD_BYTES, "RASR_SIZE");

void port_guard_init(void) {
    if ((REG(MPU_TYPE) >> 8 & 0xFFu) == 0u) {
        return; /* a core without MPU */
    }
    REG(MPU_RBAR) = ((uint32_t)(uintptr_t)_stack_bottom - PORT_GUARD_BYTES) | RBAR_VALID;
    REG(MPU_RASR) = RASR_XN | RASR_SIZE | RASR_ENABLE;
    REG(MPU_CTRL) = CTRL_PRIVDEFENA | CTRL_ENABLE;
    port_barrier();
}
