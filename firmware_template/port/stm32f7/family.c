/* STM32F7: flash interface and L1 caches. */
#include "board_config.h"
#include "cache.h"
#include "registers.h"
#include "stm32.h"

/* RM0385 3.7.1. */
enum { ACR_PRFTEN = 1 << 8, ACR_ARTEN = 1 << 9, ACR_ARTRST = 1 << 11 };

uint32_t family_flash_init(void) {
    REG(FLASH_ACR) = BOARD_FLASH_WAIT_STATES;
#if BOARD_ART
    REG(FLASH_ACR) = BOARD_FLASH_WAIT_STATES | ACR_ARTRST;
    REG(FLASH_ACR) = BOARD_FLASH_WAIT_STATES | ACR_PRFTEN | ACR_ARTEN;
#endif
    /* The manual asks to read the wait states back before going faster. */
    return (REG(FLASH_ACR) & 15u) == BOARD_FLASH_WAIT_STATES;
}

uint32_t family_art_is_on(void) {
    return (REG(FLASH_ACR) & ACR_ARTEN) != 0u;
}

void family_caches_init(void) {
#if BOARD_ICACHE
    icache_enable();
#endif
#if BOARD_DCACHE
    dcache_enable(BOARD_DCACHE_BYTES, BOARD_DCACHE_WAYS);
#endif
}
