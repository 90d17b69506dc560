/* Where STM32H74x and H75x have what every STM32 has (RM0433 2.3.2, and 8.7 for RCC). */
#ifndef PORT_FAMILY_H
#define PORT_FAMILY_H

enum {
    GPIO = 0x58020000u,
    RCC = 0x58024400u,
    RCC_GPIOENR = RCC + 0xE0u, /* AHB4ENR */
    RCC_APB1ENR = RCC + 0xE8u, /* APB1LENR; APB1HENR is behind it */
    RCC_APB2ENR = RCC + 0xF0u,
    RCC_CSR = RCC + 0xD0u, /* the reset flags are in RSR */
    CSR_RMVF = 16,
    FLASH_ACR = 0x52002000u,
};

#endif
