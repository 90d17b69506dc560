/* STM32H74x and H75x: supply, clock tree, flash interface, caches (RM0433, chapters PWR, RCC and
 * FLASH; registers as in ST's stm32h743xx.h). */
#include "board_config.h"
#include "cache.h"
#include "registers.h"
#include "stm32.h"

enum {
    RCC_CR = RCC + 0x00u,
    RCC_CFGR = RCC + 0x10u,
    RCC_D1CFGR = RCC + 0x18u,
    RCC_D2CFGR = RCC + 0x1Cu,
    RCC_D3CFGR = RCC + 0x20u,
    RCC_PLLCKSELR = RCC + 0x28u,
    RCC_PLLCFGR = RCC + 0x2Cu,
    RCC_PLL1DIVR = RCC + 0x30u,
    RCC_APB4ENR = RCC + 0xF4u,
    PWR_CSR1 = 0x58024804u,
    PWR_CR3 = 0x5802480Cu,
    PWR_D3CR = 0x58024818u,
    SYSCFG_PWRCR = 0x5800042Cu,
    DBGMCU_IDCODE = 0x5C001000u,
    CR_HSEON = 1 << 16,
    CR_HSERDY = 1 << 17,
    CR_HSEBYP = 1 << 18,
    CR_PLL1ON = 1 << 24,
    CR_PLL1RDY = 1 << 25,
    APB4ENR_SYSCFGEN = 1,
    SOURCE_HSI = 0,
    SOURCE_HSE = 2,
    CFGR_PLL1 = 3, /* SW; SWS is the same three bits higher */
    CR3_LDOEN = 1 << 1,
    CR3_SUPPLY = 7, /* SCUEN, LDOEN, BYPASS */
    CSR1_ACTVOSRDY = 1 << 13,
    D3CR_VOSRDY = 1 << 13,
    PWRCR_ODEN = 1,
    /* Polls, not time: some 10 ms at 64 MHz. The ST-LINK's clock is there at once or never. */
    PATIENCE = 100000,
};

/* A power-on sets the flags of brown-out and pin too. */
const stm32_cause_t family_causes[] = {
    {30, "low-power"}, {28, "window-watchdog"}, {26, "watchdog"}, {24, "software"},
    {23, "power-on"},  {21, "brown-out"},       {22, "pin"},      {0, 0},
};

static port_clock_t clock = {BOARD_HSI_HZ, "hsi"};
stm32_buses_t stm32_buses = {BOARD_HSI_HZ, BOARD_HSI_HZ};

const port_clock_t *port_clock(void) {
    return &clock;
}

/* VOS is 3, 2, 1 for the scales 1, 2, 3; scale 0 is 1 with over-drive. The supply is set once after
 * power-on: further writes are lost, and nothing may speed up before. */
static uint32_t start_supply(void) {
    reg_change(PWR_CR3, CR3_SUPPLY, CR3_LDOEN);
    if (!stm32_wait(PWR_CSR1, CSR1_ACTVOSRDY, CSR1_ACTVOSRDY, PATIENCE)) {
        return 0;
    }
    reg_change(PWR_D3CR, 3u << 14, (4u - BOARD_VOLTAGE_SCALE) << 14);
    if (!stm32_wait(PWR_D3CR, D3CR_VOSRDY, D3CR_VOSRDY, PATIENCE)) {
        return 0;
    }
#if BOARD_OVERDRIVE
    stm32_enable(RCC_APB4ENR, APB4ENR_SYSCFGEN);
    REG(SYSCFG_PWRCR) |= PWRCR_ODEN;
    return stm32_wait(PWR_D3CR, D3CR_VOSRDY, D3CR_VOSRDY, PATIENCE);
#else
    return 1;
#endif
}

/* Returns the PLL's source. */
static uint32_t start_reference(void) {
#if BOARD_HSE_BYPASS
    REG(RCC_CR) |= CR_HSEBYP;
#endif
    REG(RCC_CR) |= CR_HSEON;
    if (stm32_wait(RCC_CR, CR_HSERDY, CR_HSERDY, PATIENCE)) {
        return SOURCE_HSE;
    }
    reg_change(RCC_CR, CR_HSEON | CR_HSEBYP, 0);
    return SOURCE_HSI;
}

/* PLL1RGE: the range of the PLL's input, from 1, 2, 4 and 8 MHz on. */
static uint32_t input_range(uint32_t hz) {
    return hz >= 8000000u ? 3u : hz >= 4000000u ? 2u : hz >= 2000000u ? 1u : 0u;
}

static uint32_t start_pll(uint32_t source) {
    const uint32_t hse = source == SOURCE_HSE;
    const uint32_t m = hse ? BOARD_PLL_M : BOARD_PLL_HSI_M;
    const uint32_t n = hse ? BOARD_PLL_N : BOARD_PLL_HSI_N;
    const uint32_t p = hse ? BOARD_PLL_P : BOARD_PLL_HSI_P;
    const uint32_t q = hse ? BOARD_PLL_Q : BOARD_PLL_HSI_Q;
    const uint32_t input_hz = BOARD_SYSCLK_HZ / n * p;
    reg_change(RCC_PLLCKSELR, 63u << 4 | 3u, m << 4 | source);
    /* Wide range of the VCO, no fraction; the dividers' outputs are on after reset. */
    reg_change(RCC_PLLCFGR, 15u, input_range(input_hz) << 2);
    REG(RCC_PLL1DIVR) = 1u << 24 | (q - 1u) << 16 | (p - 1u) << 9 | (n - 1u);
    REG(RCC_CR) |= CR_PLL1ON;
    return stm32_wait(RCC_CR, CR_PLL1RDY, CR_PLL1RDY, PATIENCE);
}

void stm32_clock_init(void) {
#if BOARD_LEAST_REVISION
    /* An older chip stays on HSI: it is not made for this clock. */
    if (REG(DBGMCU_IDCODE) >> 16 < BOARD_LEAST_REVISION) {
        return;
    }
#endif
    if (!start_supply()) {
        return; /* still on HSI, and port_clock() says so: the host refuses to call it valid */
    }
    const uint32_t source = start_reference();
    if (!start_pll(source) || !family_flash_init()) {
        return; /* likewise */
    }
    /* The buses are slowed down before the core speeds up: HPRE and D1PPRE, D2PPRE1 and D2PPRE2,
     * D3PPRE. */
    const uint32_t apb1 = STM32_PRESCALER(BOARD_APB1_DIVIDER);
    const uint32_t apb2 = STM32_PRESCALER(BOARD_APB2_DIVIDER);
    const uint32_t ahb = BOARD_AHB_DIVIDER == 1u ? 0u : 7u + BOARD_AHB_DIVIDER / 2u;
    reg_change(RCC_D1CFGR, 0xF7Fu, apb2 << 4 | ahb);
    reg_change(RCC_D2CFGR, 0x770u, apb2 << 8 | apb1 << 4);
    reg_change(RCC_D3CFGR, 0x70u, apb2 << 4);
    reg_change(RCC_CFGR, 7u, CFGR_PLL1);
    if (!stm32_wait(RCC_CFGR, 7u << 3, CFGR_PLL1 << 3, PATIENCE)) {
        return;
    }
    clock.core_hz = BOARD_SYSCLK_HZ;
    stm32_buses.apb1_hz = BOARD_APB1_HZ;
    stm32_buses.apb2_hz = BOARD_APB2_HZ;
    clock.source = source == SOURCE_HSE ? "hse" : "hsi";
}

/* LATENCY, and WRHIGHFREQ for an AXI clock above 185 MHz (RM0433 table 17). */
#define ACR (BOARD_FLASH_WAIT_STATES | ACR_WRHIGHFREQ << 4)
enum { ACR_WRHIGHFREQ = 2 };

uint32_t family_flash_init(void) {
    REG(FLASH_ACR) = ACR;
    return stm32_wait(FLASH_ACR, 0x3Fu, ACR, PATIENCE);
}

uint32_t family_art_is_on(void) {
    return 0; /* there is none: code and data go through the core's caches */
}

void family_caches_init(void) {
#if BOARD_ICACHE
    icache_enable();
#endif
#if BOARD_DCACHE
    dcache_enable(BOARD_DCACHE_BYTES, BOARD_DCACHE_WAYS);
#endif
}
