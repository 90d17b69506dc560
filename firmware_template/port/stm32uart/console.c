/* USART and LPUART of the second generation (RM0385 31.8; RM0432 LPUART registers): the LPUART's
 * divider counts 256ths of its clock. */
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
    TXE = 1 << 7,
};

void family_console_init(uint32_t peripheral_hz) {
    REG(USART_CR1) = 0;
    REG(USART_CR2) = 0;
    REG(USART_CR3) = 0;
    REG(USART_BRR) =
        BOARD_CONSOLE_SCALE * (peripheral_hz / BOARD_CONSOLE_BAUD) +
        (BOARD_CONSOLE_SCALE * (peripheral_hz % BOARD_CONSOLE_BAUD) + BOARD_CONSOLE_BAUD / 2u) /
            BOARD_CONSOLE_BAUD;              /* rounded, in 32 bits */
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
