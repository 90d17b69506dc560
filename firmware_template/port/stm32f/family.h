/* Where STM32F4 and F7 have what every STM32 has (RM0385 5.3, RM0390 6.3). */
#ifndef PORT_FAMILY_H
#define PORT_FAMILY_H

enum {
    GPIO = 0x40020000u,
    RCC = 0x40023800u,
    RCC_AHB1ENR = RCC + 0x30u,
    RCC_GPIOENR = RCC_AHB1ENR,
    RCC_APB1ENR = RCC + 0x40u,
    RCC_APB2ENR = RCC + 0x44u,
    RCC_CSR = RCC + 0x74u,
    CSR_RMVF = 24,
    FLASH_ACR = 0x40023C00u,
};

#endif
