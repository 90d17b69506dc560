/* Console pins, 1 MHz timer, unique id, reset cause: the same on every STM32 but for addresses. */
#include "armv7m.h"
#include "board_config.h"
#include "registers.h"
#include "stm32.h"

enum {
    TIM2 = 0x40000000u, /* 32 bits wide (RM0385 23, RM0390 17) */
    TIM_CR1 = TIM2 + 0x00u,
    TIM_SR = TIM2 + 0x10u,
    TIM_EGR = TIM2 + 0x14u,
    TIM_CNT = TIM2 + 0x24u,
    TIM_PSC = TIM2 + 0x28u,
    TIM_ARR = TIM2 + 0x2Cu,
};

static const char *reset_cause;

uint32_t stm32_wait(uint32_t address, uint32_t mask, uint32_t value, uint32_t polls) {
    for (uint32_t i = 0; i < polls; i++) {
        if ((REG(address) & mask) == value) {
            return 1;
        }
    }
    return 0;
}

void stm32_enable(uint32_t rcc_register, uint32_t bit) {
    const uint32_t address = rcc_register + 4u * (bit / 32u);
    REG(address) |= 1u << bit % 32u;
    (void)REG(address);
}

/* RM0385 6.4, RM0390 7.4, RM0432 GPIO registers: mode 2 = alternate function, fast, pulled up. */
static void alternate_pin(uint32_t port, uint32_t pin, uint32_t function) {
    const uint32_t base = GPIO + 0x400u * port;
    stm32_enable(RCC_GPIOENR, port);
    reg_change(base + 0x20u + 4u * (pin / 8u), 15u << 4u * (pin % 8u), function << 4u * (pin % 8u));
    reg_change(base + 0x08u, 3u << 2u * pin, 2u << 2u * pin);
    reg_change(base + 0x0Cu, 3u << 2u * pin, 1u << 2u * pin);
    reg_change(base + 0x00u, 3u << 2u * pin, 2u << 2u * pin);
}

void stm32_console_pins(void) {
    alternate_pin(BOARD_TX_PORT, BOARD_TX_PIN, BOARD_TX_AF);
    alternate_pin(BOARD_RX_PORT, BOARD_RX_PIN, BOARD_RX_AF);
}

/* An LPUART counts 256ths of its clock (RM0432, LPUART baud rate generation). */
uint32_t port_console_rate(uint32_t baud) {
    const uint32_t hz = BOARD_CONSOLE_APB == 1 ? stm32_buses.apb1_hz : stm32_buses.apb2_hz;
    const uint32_t divider = BOARD_CONSOLE_SCALE * (hz / baud) +
                             (BOARD_CONSOLE_SCALE * (hz % baud) + baud / 2u) / baud;
    if (divider < (BOARD_CONSOLE_SCALE == 1u ? 16u : 0x300u)) {
        return 0;
    }
    family_console_init(divider); /* rounded, in 32 bits */
    return 1;
}

void stm32_ticks_init(void) {
    /* Timers of APB1 run at twice its clock unless it is undivided (RM0385 5.2, TIMPRE = 0). */
    const uint32_t apb1_hz = stm32_buses.apb1_hz;
    const uint32_t hz = apb1_hz == port_clock()->core_hz ? apb1_hz : 2u * apb1_hz;
    stm32_enable(RCC_APB1ENR, 0);
    REG(TIM_PSC) = hz / 1000000u - 1u;
    REG(TIM_ARR) = 0xFFFFFFFFu;
    REG(TIM_EGR) = 1; /* UG: take the prescaler over, clear the counter */
    REG(TIM_SR) = 0;
    REG(TIM_CR1) = 1; /* CEN */
}

uint32_t port_ticks(void) {
    return REG(TIM_CNT);
}

void port_unique_id(uint32_t id[3]) {
    for (uint32_t i = 0; i < 3u; i++) {
        id[i] = REG(BOARD_UID_ADDRESS + 4u * i);
    }
}

int32_t port_art(void) {
    return BOARD_HAS_ART ? (int32_t)family_art_is_on() : -1;
}

static const char *read_reset_cause(void) {
    const uint32_t flags = REG(RCC_CSR);
    REG(RCC_CSR) = flags | 1u << CSR_RMVF;
    for (const stm32_cause_t *cause = family_causes; cause->name != 0; cause++) {
        if ((flags >> cause->bit & 1u) != 0u) {
            return cause->name;
        }
    }
    return "unknown";
}

const char *port_reset_cause(void) {
    return reset_cause;
}

void port_init(void) {
    reset_cause = read_reset_cause();
    stm32_clock_init();
    family_caches_init();
    stm32_console_pins();
    stm32_enable(BOARD_CONSOLE_APB == 1 ? RCC_APB1ENR : RCC_APB2ENR, BOARD_CONSOLE_ENABLE_BIT);
    (void)port_console_rate(BOARD_CONSOLE_BAUD);
    port_counter_init();
    stm32_ticks_init();
}
