/* nRF52: the console's UARTE, which moves bytes between the line and RAM by itself (EasyDMA).
 *
 * One byte at a time each way. What arrives while none is asked for waits in the UARTE's own FIFO,
 * as in Zephyr's polled driver (uart_nrfx_uarte.c, poll_in). */
#include "board_config.h"
#include "nrf52.h"
#include "port.h"
#include "registers.h"

/* UARTE, GPIO. */
enum {
    UARTE = BOARD_CONSOLE_BASE,
    TASKS_STARTRX = UARTE + 0x000u,
    TASKS_STOPRX = UARTE + 0x004u,
    TASKS_STARTTX = UARTE + 0x008u,
    TASKS_STOPTX = UARTE + 0x00Cu,
    EVENTS_ENDRX = UARTE + 0x110u,
    EVENTS_ENDTX = UARTE + 0x120u,
    EVENTS_ERROR = UARTE + 0x124u,
    EVENTS_RXTO = UARTE + 0x144u,
    EVENTS_TXSTOPPED = UARTE + 0x158u,
    ERRORSRC = UARTE + 0x480u, /* overrun, parity, framing, break: a one clears */
    ENABLE = UARTE + 0x500u,
    ENABLE_UARTE = 8,
    PSEL_RTS = UARTE + 0x508u,
    PSEL_TXD = UARTE + 0x50Cu,
    PSEL_CTS = UARTE + 0x510u,
    PSEL_RXD = UARTE + 0x514u,
    NOT_CONNECTED = 0xFFFFFFFFu,
    BAUDRATE = UARTE + 0x524u,
    RXD_PTR = UARTE + 0x534u,
    RXD_MAXCNT = UARTE + 0x538u,
    TXD_PTR = UARTE + 0x544u,
    TXD_MAXCNT = UARTE + 0x548u,
    CONFIG = UARTE + 0x56Cu,
    GPIO_OUTSET = 0x508u,
    GPIO_DIRSET = 0x518u,
    GPIO_PIN_CNF = 0x700u,
    PULL_UP = 3 << 2,
    PATIENCE = 100000, /* polls; a byte at 1200 baud is 8 ms */
};

static const struct {
    uint32_t baud;
    uint32_t value;
} rates[] = {BOARD_BAUD_RATES};

static volatile uint8_t received; /* by the UARTE */
static volatile uint8_t sending;
static uint32_t sends;

static uint32_t pin_register(uint32_t select, uint32_t offset) {
    return PORT0 + PORT_STEP * (select >> 5) + offset;
}

static void receive(void) {
    REG(EVENTS_ENDRX) = 0;
    REG(TASKS_STARTRX) = 1;
}

static void wait_sent(void) {
    if (sends) {
        (void)nrf52_wait(EVENTS_ENDTX, PATIENCE);
        sends = 0;
    }
}

static void stop(void) {
    wait_sent();
    REG(EVENTS_TXSTOPPED) = 0;
    REG(TASKS_STOPTX) = 1;
    (void)nrf52_wait(EVENTS_TXSTOPPED, PATIENCE);
    REG(EVENTS_RXTO) = 0;
    REG(TASKS_STOPRX) = 1;
    (void)nrf52_wait(EVENTS_RXTO, PATIENCE);
    REG(ENABLE) = 0;
}

uint32_t port_console_rate(uint32_t baud) {
    for (uint32_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        if (rates[i].baud == baud) {
            if (REG(ENABLE) != 0u) {
                stop();
            }
            REG(BAUDRATE) = rates[i].value;
            REG(ENABLE) = ENABLE_UARTE;
            receive();
            return 1;
        }
    }
    return 0;
}

void nrf52_console_init(void) {
    REG(pin_register(BOARD_TX_PSEL, GPIO_OUTSET)) = 1u << BOARD_TX_PSEL % 32u; /* idle is high */
    REG(pin_register(BOARD_TX_PSEL, GPIO_DIRSET)) = 1u << BOARD_TX_PSEL % 32u;
    REG(pin_register(BOARD_RX_PSEL, GPIO_PIN_CNF) + 4u * (BOARD_RX_PSEL % 32u)) = PULL_UP;
    REG(PSEL_TXD) = BOARD_TX_PSEL;
    REG(PSEL_RXD) = BOARD_RX_PSEL;
    REG(PSEL_RTS) = NOT_CONNECTED;
    REG(PSEL_CTS) = NOT_CONNECTED;
    REG(CONFIG) = 0;
    REG(RXD_PTR) = (uint32_t)(uintptr_t)&received;
    REG(RXD_MAXCNT) = 1;
    REG(TXD_PTR) = (uint32_t)(uintptr_t)&sending;
    REG(TXD_MAXCNT) = 1;
    (void)port_console_rate(BOARD_CONSOLE_BAUD);
}

uint32_t port_console_waiting(void) {
    return REG(EVENTS_ENDRX) != 0u;
}

uint32_t port_console_read(void) {
    while (REG(EVENTS_ENDRX) == 0u) {
    }
    uint32_t byte = received;
    if (REG(EVENTS_ERROR) != 0u) {
        REG(EVENTS_ERROR) = 0;
        REG(ERRORSRC) = REG(ERRORSRC);
        byte |= PORT_RX_ERROR;
    }
    receive();
    return byte;
}

void port_console_write(uint8_t byte) {
    wait_sent();
    sending = byte;
    REG(EVENTS_ENDTX) = 0;
    __asm__ volatile("dmb" ::: "memory"); /* the byte is in RAM before the UARTE reads it */
    REG(TASKS_STARTTX) = 1;
    sends = 1;
}
