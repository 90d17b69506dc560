/* What STM32F4 and F7 have in common, and what a family adds. */
#ifndef PORT_STM32_H
#define PORT_STM32_H

#include <stdint.h>

#include "port.h"

enum {
    RCC = 0x40023800u,
    RCC_AHB1ENR = RCC + 0x30u,
    RCC_APB1ENR = RCC + 0x40u,
    RCC_APB2ENR = RCC + 0x44u,
    RCC_CSR = RCC + 0x74u,
    FLASH_ACR = 0x40023C00u,
};

/* From the board's facts; port_clock() tells the result. */
void stm32_clock_init(void);
/* Switch a peripheral's clock on; the read back is the delay that the errata sheets ask for. */
void stm32_enable(uint32_t rcc_register, uint32_t bit);
void stm32_console_pins(void);
void stm32_ticks_init(void);

/* A family's part. */
void family_flash_init(void);   /* wait states and accelerator, before the clock goes up */
void family_caches_init(void);  /* L1 caches, if it has any */
void family_console_init(uint32_t peripheral_hz);

#endif
