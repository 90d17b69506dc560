/* STM32F7: flash interface, L1 caches, USART of the second generation. */
#include "board_config.h"
#include "cache.h"
#include "registers.h"
#include "stm32.h"

/* RM0385 3.7.1. */
enum { ACR_PRFTEN = 1 << 8, ACR_ARTEN = 1 << 9, ACR_ARTRST = 1 << 11 };

void family_flash_init(void) {
    REG(FLASH_ACR) = BOARD_FLASH_WAIT_STATES;
#if BOARD_ART
    REG(FLASH_ACR) = BOARD_FLASH_WAIT_STATES | ACR_ARTRST;
    REG(FLASH_ACR) = BOARD_FLASH_WAIT_STATES | ACR_PRFTEN | ACR_ARTEN;
#endif
    (void)REG(FLASH_ACR); /* the manual asks to read the wait states back before going faster */
}

void family_caches_init(void) {
#if BOARD_ICACHE
    icache_enable();
#endif
#if BOARD_DCACHE
    dcache_enable(BOARD_DCACHE_BYTES, BOARD_DCACHE_WAYS);
#endif
}

/* RM0385 31.8. */
enum {
    USART_CR1 = BOARD_CONSOLE_BASE + 0x00u,
    USART_CR2 = BOARD_CONSOLE_BASE + 0x04u,
    USART_CR3 = BOARD_CONSOLE_BASE + 0x08u,
    USART_BRR = BOARD_CONSOLE_BASE + 0x0Cu,
    USART_ISR = BOARD_CONSOLE_BASE + 0x1Cu,
    USART_ICR = BOARD_CONSOLE_BASE + 0x20u,
    USART_RDR = BOARD_CONSOLE_BASE + 0x24u,
    USART_TDR = BOARD_CONSOLE_BASE + 0x28u,
    ERRORS = 0xF, /* parity, framing, noise, overrun: the same bits in ISR and ICR */
    RXNE = 1 << 5,
    TXE = 1 << 7,
};

void family_console_init(uint32_t peripheral_hz) {
    REG(USART_CR1) = 0;
    REG(USART_CR2) = 0;
    REG(USART_CR3) = 0;
    REG(USART_BRR) = (peripheral_hz + BOARD_CONSOLE_BAUD / 2u) / BOARD_CONSOLE_BAUD;
    REG(USART_CR1) = 1u << 3 | 1u << 2 | 1u; /* TE, RE, UE */
}

uint32_t port_console_read(void) {
    for (;;) {
        const uint32_t status = REG(USART_ISR);
        if ((status & ERRORS) != 0u) {
            REG(USART_ICR) = ERRORS;
            return ((status & RXNE) != 0u ? REG(USART_RDR) & 0xFFu : 0u) | PORT_RX_ERROR;
        }
        if ((status & RXNE) != 0u) {
            return REG(USART_RDR) & 0xFFu;
        }
    }
}

void port_console_write(uint8_t byte) {
    while ((REG(USART_ISR) & TXE) == 0u) {
    }
    REG(USART_TDR) = byte;
}
