/* STM32F4: flash interface with the accelerator's caches, USART of the first generation. */
#include "board_config.h"
#include "registers.h"
#include "stm32.h"

/* RM0390 3.8.1. On this family the accelerator has an instruction and a data cache of its own. */
enum {
    ACR_PRFTEN = 1 << 8,
    ACR_ICEN = 1 << 9,
    ACR_DCEN = 1 << 10,
    ACR_ICRST = 1 << 11,
    ACR_DCRST = 1 << 12,
};

uint32_t family_flash_init(void) {
    REG(FLASH_ACR) = BOARD_FLASH_WAIT_STATES;
#if BOARD_ART
    REG(FLASH_ACR) = BOARD_FLASH_WAIT_STATES | ACR_ICRST | ACR_DCRST;
    REG(FLASH_ACR) = BOARD_FLASH_WAIT_STATES | ACR_PRFTEN | ACR_ICEN | ACR_DCEN;
#endif
    /* The manual asks to read the wait states back before going faster. */
    return (REG(FLASH_ACR) & 15u) == BOARD_FLASH_WAIT_STATES;
}

uint32_t family_art_is_on(void) {
    return (REG(FLASH_ACR) & (ACR_ICEN | ACR_DCEN)) == (ACR_ICEN | ACR_DCEN);
}

void family_caches_init(void) {
    /* The Cortex-M4 has none; those of the flash interface are on since family_flash_init(). */
}

/* RM0390 25.6. */
enum {
    USART_SR = BOARD_CONSOLE_BASE + 0x00u,
    USART_DR = BOARD_CONSOLE_BASE + 0x04u,
    USART_BRR = BOARD_CONSOLE_BASE + 0x08u,
    USART_CR1 = BOARD_CONSOLE_BASE + 0x0Cu,
    USART_CR2 = BOARD_CONSOLE_BASE + 0x10u,
    USART_CR3 = BOARD_CONSOLE_BASE + 0x14u,
    ERRORS = 0xF, /* parity, framing, noise, overrun: cleared by reading SR, then DR */
    RXNE = 1 << 5,
    TC = 1 << 6,
    TXE = 1 << 7,
};

void family_console_init(uint32_t divider) {
    (void)stm32_wait(USART_SR, TC, TC, 1000000u); /* set after reset too */
    REG(USART_CR1) = 0;
    REG(USART_CR2) = 0;
    REG(USART_CR3) = 0;
    REG(USART_BRR) = divider;
    REG(USART_CR1) = 1u << 13 | 1u << 3 | 1u << 2; /* UE, TE, RE */
}

uint32_t port_console_waiting(void) {
    return (REG(USART_SR) & (ERRORS | RXNE)) != 0u;
}

uint32_t port_console_read(void) {
    for (;;) {
        const uint32_t status = REG(USART_SR);
        if ((status & (ERRORS | RXNE)) != 0u) {
            const uint32_t byte = REG(USART_DR) & 0xFFu;
            return (status & ERRORS) != 0u ? byte | PORT_RX_ERROR : byte;
        }
    }
}

void port_console_write(uint8_t byte) {
    while ((REG(USART_SR) & TXE) == 0u) {
    }
    REG(USART_DR) = byte;
}
