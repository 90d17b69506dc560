/* Access to memory-mapped registers by address. */
#ifndef PORT_REGISTERS_H
#define PORT_REGISTERS_H

#include <stdint.h>

#define REG(address) (*(volatile uint32_t *)(address))

static inline void reg_change(uint32_t address, uint32_t clear, uint32_t set) {
    REG(address) = (REG(address) & ~clear) | set;
}

#endif
