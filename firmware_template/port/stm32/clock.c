/* Clock tree (RM0385 5.2-5.3 and 4.1.4, RM0390 6.2-6.3 and 5.1.4: the registers are the same). */
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

static port_clock_t clock = {BOARD_HSI_HZ, BOARD_HSI_HZ, BOARD_HSI_HZ, "hsi"};

const port_clock_t *port_clock(void) {
    return &clock;
}

static uint32_t wait_for(uint32_t address, uint32_t mask, uint32_t value) {
    for (uint32_t i = 0; i < PATIENCE; i++) {
        if ((REG(address) & mask) == value) {
            return 1;
        }
    }
    return 0;
}

void stm32_enable(uint32_t rcc_register, uint32_t bit) {
    REG(rcc_register) |= 1u << bit;
    (void)REG(rcc_register);
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

static void start_overdrive(void) {
#if BOARD_OVERDRIVE
    REG(PWR_CR) |= PWR_OD;
    (void)wait_for(PWR_CSR, PWR_OD, PWR_OD);
    REG(PWR_CR) |= PWR_ODSW;
    (void)wait_for(PWR_CSR, PWR_ODSW, PWR_ODSW);
#endif
}

void stm32_clock_init(void) {
    stm32_enable(RCC_APB1ENR, 28); /* PWR */
    reg_change(PWR_CR, 3u << 14, (uint32_t)BOARD_VOS_BITS << 14);
    const uint32_t hse = start_hse();
    if (!start_pll(hse ? BOARD_PLLCFGR_HSE : BOARD_PLLCFGR_HSI, hse)) {
        return; /* still on HSI, and port_clock() says so: the host refuses to call it valid */
    }
    start_overdrive();
    family_flash_init();
    reg_change(RCC_CFGR, 0xFCF3u, BOARD_CFGR_PRESCALERS | 2u); /* HPRE 1, PPRE1, PPRE2; SW = PLL */
    if (!wait_for(RCC_CFGR, 3u << 2, 2u << 2)) {
        return;
    }
    clock.core_hz = BOARD_SYSCLK_HZ;
    clock.apb1_hz = BOARD_APB1_HZ;
    clock.apb2_hz = BOARD_APB2_HZ;
    clock.source = hse ? "hse" : "hsi";
}
