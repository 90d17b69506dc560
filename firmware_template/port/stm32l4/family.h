/* Where STM32L4+ has what every STM32 has (RM0432 2.2, and 6.4 for RCC). */
#ifndef PORT_FAMILY_H
#define PORT_FAMILY_H

enum {
    GPIO = 0x48000000u,
    RCC = 0x40021000u,
    RCC_GPIOENR = RCC + 0x4Cu, /* AHB2ENR */
    RCC_APB1ENR = RCC + 0x58u, /* APB1ENR1; APB1ENR2 is behind it */
    RCC_APB2ENR = RCC + 0x60u,
    RCC_CSR = RCC + 0x94u,
    CSR_RMVF = 23,
    FLASH_ACR = 0x40022000u,
};

#endif
