"""What the STM32F4 and the STM32F7 share: flash interface, power, clocks, ports."""

from __future__ import annotations

from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families import Blocks
from harness.virtual.chip.families.stm32 import put_together as put_stm32_together
from harness.virtual.chip.families.stm32.backup import BackupRam
from harness.virtual.chip.families.stm32.gpio import Pins
from harness.virtual.chip.families.stm32.usart import UsartF4, UsartF7
from harness.virtual.chip.families.stm32f.flash import FlashF
from harness.virtual.chip.families.stm32f.pwr import PwrF
from harness.virtual.chip.families.stm32f.rcc import AHB1ENR, RccF

_GPIO = 0x4002_0000
# MODER, OSPEEDR, PUPDR: ports A and B start with the debug pins in their alternate function.
_RESETS = ((0xA800_0000, 0x0C00_0000, 0x6400_0000), (0x0280, 0x00C0, 0x0100), (0, 0, 0))


def put_together(
    to: Connections,
    *,
    usart: type[UsartF4 | UsartF7],
    ports: int,
    interrupts: int,
    boot_address: int = 0,
) -> Blocks:
    """Put a chip's blocks together, with the kind of its console's UART and its GPIO ports."""
    flash, pwr = FlashF(to), PwrF(to.board)
    rcc = RccF(to, flash, pwr)
    pins = Pins(ports, _GPIO, rcc, AHB1ENR, _RESETS)
    return put_stm32_together(
        to, flash, rcc, pins, usart(to, rcc, pins), pwr, BackupRam(rcc),
        interrupts=interrupts, boot_address=boot_address,
    )  # fmt: skip
