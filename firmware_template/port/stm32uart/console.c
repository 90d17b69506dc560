/* USART and LPUART of the second generation (RM0385 31.8; RM0432 LPUART registers). */
#include "board_config.h"
#include "registers.h"
#include "stm32.h"

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
    TC = 1 << 6,
    TXE = 1 << 7,
};

void family_console_init(uint32_t divider) {
    /* TC is set after reset too, and while the USART is off. */
    (void)stm32_wait(USART_ISR, TC, TC, 1000000u);
    REG(USART_CR1) = 0;
    REG(USART_CR2) = 0;
    REG(USART_CR3) = 0;
    REG(USART_BRR) = divider;
    REG(USART_CR1) = 1u << 3 | 1u << 2 | 1u; /* TE, RE, UE */
}

uint32_t port_console_waiting(void) {
    return (REG(USART_ISR) & (ERRORS | RXNE)) != 0u;
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
