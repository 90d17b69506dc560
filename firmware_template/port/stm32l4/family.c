/* STM32L4+: clock tree, supply, flash interface (RM0432, chapters RCC, PWR and FLASH). */
#include "board_config.h"
#include "registers.h"
#include "stm32.h"

enum {
    RCC_CR = RCC + 0x00u,
    RCC_CFGR = RCC + 0x08u,
    RCC_PLLCFGR = RCC + 0x0Cu,
    RCC_BDCR = RCC + 0x90u,
    PWR_CR1 = 0x40007000u,
    PWR_CR2 = 0x40007004u,
    PWR_SR2 = 0x40007014u,
    PWR_CR5 = 0x40007080u,
    CR_MSIRDY = 1 << 1,
    CR_MSIPLLEN = 1 << 2,
    CR_MSIRGSEL = 1 << 3,
    CR_HSION = 1 << 8,
    CR_HSIRDY = 1 << 10,
    CR_HSEON = 1 << 16,
    CR_HSERDY = 1 << 17,
    CR_HSEBYP = 1 << 18,
    CR_PLLON = 1 << 24,
    CR_PLLRDY = 1 << 25,
    BDCR_LSEON = 1 << 0,
    BDCR_LSERDY = 1 << 1,
    CFGR_HPRE_2 = 8 << 4,
    CFGR_PLL = 3, /* SW; SWS is the same two bits higher */
    SOURCE_MSI = 1,
    SOURCE_HSI = 2,
    SOURCE_HSE = 3,
    CR1_DBP = 1 << 8,
    CR2_IOSV = 1 << 9,
    CR5_R1MODE = 1 << 8,
    SR2_VOSF = 1 << 10,
    MSI_RESET_HZ = 4000000,
    /* Polls, not time. The crystal of 32 kHz takes up to two seconds after the supply came. */
    PATIENCE = 100000,
    PATIENCE_LSE = 1500000,
};

/* RCC_PLLCFGR without the source: PLLREN, and R for the system clock. */
static uint32_t pllcfgr(uint32_t m, uint32_t n, uint32_t r) {
    return 1u << 24 | (r / 2u - 1u) << 25 | n << 8 | (m - 1u) << 4;
}

/* MSIRANGE of the frequencies that the manifest may name. */
#define MSI_RANGE                      \
    (BOARD_MSI_HZ == 48000000u   ? 11u \
     : BOARD_MSI_HZ == 32000000u ? 10u \
     : BOARD_MSI_HZ == 24000000u ? 9u  \
     : BOARD_MSI_HZ == 16000000u ? 8u  \
     : BOARD_MSI_HZ == 8000000u  ? 7u  \
                                 : 6u)

/* A power-on sets the brown-out flag, and has none of its own. */
const stm32_cause_t family_causes[] = {
    {31, "low-power"}, {30, "window-watchdog"}, {29, "watchdog"}, {28, "software"},
    {27, "power-on"},  {25, "option-bytes"},    {26, "pin"},      {0, 0},
};

static port_clock_t clock = {MSI_RESET_HZ, "msi"};
stm32_buses_t stm32_buses = {MSI_RESET_HZ, MSI_RESET_HZ};

const port_clock_t *port_clock(void) {
    return &clock;
}

/* Returns the PLL's source, 0 where the reference clock does not start. */
static uint32_t start_reference(void) {
#if BOARD_MSI_HZ
    REG(PWR_CR1) |= CR1_DBP; /* RCC_BDCR is write-protected until it reads as set */
    if (!stm32_wait(PWR_CR1, CR1_DBP, CR1_DBP, PATIENCE)) {
        return 0;
    }
    REG(RCC_BDCR) |= BDCR_LSEON;
    if (!stm32_wait(RCC_BDCR, BDCR_LSERDY, BDCR_LSERDY, PATIENCE_LSE)) {
        return 0;
    }
    reg_change(RCC_CR, 15u << 4, MSI_RANGE << 4 | CR_MSIRGSEL);
    REG(RCC_CR) |= CR_MSIPLLEN; /* only with LSERDY: the crystal trims the oscillator from now on */
    return stm32_wait(RCC_CR, CR_MSIRDY, CR_MSIRDY, PATIENCE) ? SOURCE_MSI : 0u;
#else
#if BOARD_HSE_BYPASS
    REG(RCC_CR) |= CR_HSEBYP;
#endif
    REG(RCC_CR) |= CR_HSEON;
    if (stm32_wait(RCC_CR, CR_HSERDY, CR_HSERDY, PATIENCE)) {
        return SOURCE_HSE;
    }
    reg_change(RCC_CR, CR_HSEON | CR_HSEBYP, 0);
    return 0;
#endif
}

static uint32_t start_pll(uint32_t source) {
    if (source != 0u) {
        REG(RCC_PLLCFGR) = pllcfgr(BOARD_PLL_M, BOARD_PLL_N, BOARD_PLL_P) | source;
    } else {
        REG(RCC_CR) |= CR_HSION;
        if (!stm32_wait(RCC_CR, CR_HSIRDY, CR_HSIRDY, PATIENCE)) {
            return 0;
        }
        REG(RCC_PLLCFGR) = pllcfgr(BOARD_PLL_HSI_M, BOARD_PLL_HSI_N, BOARD_PLL_HSI_P) | SOURCE_HSI;
    }
    REG(RCC_CR) |= CR_PLLON;
    return stm32_wait(RCC_CR, CR_PLLRDY, CR_PLLRDY, PATIENCE);
}

static void start_supply(void) {
    stm32_enable(RCC_APB1ENR, 28); /* PWR */
    reg_change(PWR_CR1, 3u << 9, BOARD_VOLTAGE_SCALE << 9);
    (void)stm32_wait(PWR_SR2, SR2_VOSF, 0, PATIENCE);
#if BOARD_OVERDRIVE
    REG(PWR_CR5) &= ~(uint32_t)CR5_R1MODE; /* range 1, boost */
#endif
#if BOARD_TX_PORT == 6u || BOARD_RX_PORT == 6u
    REG(PWR_CR2) |= CR2_IOSV; /* PG2 to PG15 have a supply of their own, VDDIO2 */
#endif
}

void stm32_clock_init(void) {
    start_supply();
    if (!family_flash_init()) { /* before the MSI speeds up: it drives the core */
        return;                 /* still on MSI, and port_clock() says so */
    }
    const uint32_t source = start_reference();
    if (!start_pll(source)) {
        return; /* still on MSI, and port_clock() says so: the host refuses to call it valid */
    }
    /* Above 80 MHz the core clock goes up in two steps, at least 1 us apart. */
    const uint32_t prescalers =
        STM32_PRESCALER(BOARD_APB1_DIVIDER) << 8 | STM32_PRESCALER(BOARD_APB2_DIVIDER) << 11;
    reg_change(RCC_CFGR, 0x3FF0u, prescalers | CFGR_HPRE_2);
    reg_change(RCC_CFGR, 3u, CFGR_PLL);
    if (!stm32_wait(RCC_CFGR, 3u << 2, CFGR_PLL << 2, PATIENCE)) {
        return;
    }
    for (uint32_t i = 0; i < BOARD_SYSCLK_HZ / 1000000u; i++) {
        (void)REG(RCC_CFGR);
    }
    reg_change(RCC_CFGR, 15u << 4, 0);
    clock.core_hz = BOARD_SYSCLK_HZ;
    stm32_buses.apb1_hz = BOARD_APB1_HZ;
    stm32_buses.apb2_hz = BOARD_APB2_HZ;
    clock.source = source == SOURCE_MSI ? "lse" : source == SOURCE_HSE ? "hse" : "hsi";
}

enum {
    ACR_PRFTEN = 1 << 8,
    ACR_ICEN = 1 << 9,
    ACR_DCEN = 1 << 10,
    ACR_ICRST = 1 << 11,
    ACR_DCRST = 1 << 12,
};

/* The caches are on at reset, and may be reset only while they are off. */
uint32_t family_flash_init(void) {
    REG(FLASH_ACR) = BOARD_FLASH_WAIT_STATES;
#if BOARD_ART
    REG(FLASH_ACR) = BOARD_FLASH_WAIT_STATES | ACR_ICRST | ACR_DCRST;
    REG(FLASH_ACR) = BOARD_FLASH_WAIT_STATES;
    REG(FLASH_ACR) =
        BOARD_FLASH_WAIT_STATES | ACR_ICEN | ACR_DCEN | (BOARD_PREFETCH ? ACR_PRFTEN : 0);
#endif
    return stm32_wait(FLASH_ACR, 15u, BOARD_FLASH_WAIT_STATES, PATIENCE);
}

uint32_t family_art_is_on(void) {
    return (REG(FLASH_ACR) & (ACR_ICEN | ACR_DCEN)) == (ACR_ICEN | ACR_DCEN);
}

void family_caches_init(void) {
    /* The Cortex-M4 has none; those of the flash interface are on since family_flash_init(). */
}
