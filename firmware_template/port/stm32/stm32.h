/* What the families of STM32 have in common, and what each adds. */
#ifndef PORT_STM32_H
#define PORT_STM32_H

#include <stdint.h>

#include "family.h" /* addresses: in the family's folder, or in one that it builds upon */
#include "port.h"

/* Bits of RCC_CFGR's PPRE1 and PPRE2 for a divider. */
#define STM32_PRESCALER(divider) \
    ((divider) == 1u ? 0u : (divider) == 2u ? 4u : (divider) == 4u ? 5u : (divider) == 8u ? 6u : 7u)

/* Poll until the bits of `mask` are `value`, at most `polls` times. */
uint32_t stm32_wait(uint32_t address, uint32_t mask, uint32_t value, uint32_t polls);
/* Switch a peripheral's clock on; the read back is the delay that the errata sheets ask for. Bits
 * from 32 on are in the register behind. */
void stm32_enable(uint32_t rcc_register, uint32_t bit);
void stm32_console_pins(void);
void stm32_ticks_init(void);

typedef struct {
    uint32_t apb1_hz;
    uint32_t apb2_hz;
} stm32_buses_t;

/* A family's part. */
void stm32_clock_init(void);     /* from the board's facts; port_clock() tells the result */
extern stm32_buses_t stm32_buses; /* and this too */
/* Wait states and accelerator, before the clock goes up; 0 where the wait states do not hold. */
uint32_t family_flash_init(void);
uint32_t family_art_is_on(void); /* as FLASH_ACR says */
void family_caches_init(void);   /* L1 caches, if it has any */
void family_console_init(uint32_t divider);

typedef struct {
    uint32_t bit; /* of RCC_CSR */
    const char *name;
} stm32_cause_t;
/* The flags add up until cleared; the most telling one comes first, no name ends the list. */
extern const stm32_cause_t family_causes[];

#endif
