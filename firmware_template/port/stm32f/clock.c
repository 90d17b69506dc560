/* Clock tree of STM32F4 and F7 (RM0385 5.2-5.3 and 4.1.4, RM0390 6.2-6.3 and 5.1.4: the registers
 * are the same), and their reset flags. */
#include "board_config.h"
#include "registers.h"
#include "stm32.h"

enum {
    RCC_CR = RCC + 0x00u,
    RCC_PLLCFGR = RCC + 0x04u,
    RCC_CFGR = RCC + 0x08u,
    PWR_CR = 0x40007000u,
    PWR_CSR = 0x40007004u,
    CR_HSEON = 1 << 16,
    CR_HSERDY = 1 << 17,
    CR_HSEBYP = 1 << 18,
    CR_PLLON = 1 << 24,
    CR_PLLRDY = 1 << 25,
    PWR_OD = 1 << 16,   /* ODEN and, in CSR, ODRDY */
    PWR_ODSW = 1 << 17, /* ODSWEN and, in CSR, ODSWRDY */
    /* Polls, not time: some 50 ms at 16 MHz. The ST-LINK's clock is there at once or never. */
    PATIENCE = 100000,
};

/* RCC_PLLCFGR without the source (RM0385 5.3.2); R, where it exists, is 2. */
#define PLLCFGR(m, n, p, q) (2u << 28 | (q) << 24 | ((p) / 2u - 1u) << 16 | (n) << 6 | (m))

static port_clock_t clock = {BOARD_HSI_HZ, "hsi"};
stm32_buses_t stm32_buses = {BOARD_HSI_HZ, BOARD_HSI_HZ};

const port_clock_t *port_clock(void) {
    return &clock;
}

/* RM0385 5.3.21, RM0390 6.3.21. */
const stm32_cause_t family_causes[] = {
    {31, "low-power"}, {30, "window-watchdog"}, {29, "watchdog"}, {28, "software"},
    {27, "power-on"},  {25, "brown-out"},       {26, "pin"},      {0, 0},
};

static uint32_t wait_for(uint32_t address, uint32_t mask, uint32_t value) {
    return stm32_wait(address, mask, value, PATIENCE);
}

static uint32_t start_pll(uint32_t factors, uint32_t from_hse) {
    REG(RCC_PLLCFGR) = factors | from_hse << 22;
    REG(RCC_CR) |= CR_PLLON;
    return wait_for(RCC_CR, CR_PLLRDY, CR_PLLRDY);
}

static uint32_t start_hse(void) {
#if BOARD_HSE_BYPASS
    REG(RCC_CR) |= CR_HSEBYP;
#endif
    REG(RCC_CR) |= CR_HSEON;
    if (wait_for(RCC_CR, CR_HSERDY, CR_HSERDY)) {
        return 1;
    }
    reg_change(RCC_CR, CR_HSEON | CR_HSEBYP, 0);
    return 0;
}

static uint32_t start_overdrive(void) {
#if BOARD_OVERDRIVE
    REG(PWR_CR) |= PWR_OD;
    if (!wait_for(PWR_CSR, PWR_OD, PWR_OD)) {
        return 0;
    }
    REG(PWR_CR) |= PWR_ODSW;
    return wait_for(PWR_CSR, PWR_ODSW, PWR_ODSW);
#else
    return 1;
#endif
}

void stm32_clock_init(void) {
    stm32_enable(RCC_APB1ENR, 28); /* PWR */
    reg_change(PWR_CR, 3u << 14, (4u - BOARD_VOLTAGE_SCALE) << 14);
    const uint32_t hse = start_hse();
    const uint32_t factors =
        hse ? PLLCFGR(BOARD_PLL_M, BOARD_PLL_N, BOARD_PLL_P, BOARD_PLL_Q)
            : PLLCFGR(BOARD_PLL_HSI_M, BOARD_PLL_HSI_N, BOARD_PLL_HSI_P, BOARD_PLL_HSI_Q);
    if (!start_pll(factors, hse)) {
        return; /* still on HSI, and port_clock() says so: the host refuses to call it valid */
    }
    if (!start_overdrive() || !family_flash_init()) {
        return; /* likewise: the chip would not run at full speed */
    }
    /* The buses are slowed down before the core speeds up. */
    reg_change(RCC_CFGR, 0xFCF0u, /* HPRE 1, PPRE1, PPRE2 */
               STM32_PRESCALER(BOARD_APB1_DIVIDER) << 10 |
                   STM32_PRESCALER(BOARD_APB2_DIVIDER) << 13);
    reg_change(RCC_CFGR, 3u, 2u); /* SW = PLL */
    if (!wait_for(RCC_CFGR, 3u << 2, 2u << 2)) {
        return;
    }
    clock.core_hz = BOARD_SYSCLK_HZ;
    stm32_buses.apb1_hz = BOARD_APB1_HZ;
    stm32_buses.apb2_hz = BOARD_APB2_HZ;
    clock.source = hse ? "hse" : "hsi";
}
