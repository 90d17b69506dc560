/* Addresses and what the parts of the nRF52 port share (Nordic's nrf52840.h; nRF52840 Product
 * Specification v1.7, the chapter named at each block). */
#ifndef PORT_NRF52_H
#define PORT_NRF52_H

#include <stdint.h>

enum {
    CLOCK = 0x40000000u, /* POWER and APPROTECT have the same base */
    TIMER0 = 0x40008000u,
    NVMC = 0x4001E000u,
    UICR = 0x10001000u,
    PORT0 = 0x50000000u,
    PORT_STEP = 0x300u,
};

/* Poll until the register is not 0, at most `polls` times. */
uint32_t nrf52_wait(uint32_t address, uint32_t polls);
void nrf52_console_init(void);

#endif
