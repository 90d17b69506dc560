"""STM32H74x and STM32H75x as the STM32H743 has it (RM0433)."""

from __future__ import annotations

from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families import Blocks
from harness.virtual.chip.families.stm32 import put_together
from harness.virtual.chip.families.stm32.gpio import Pins
from harness.virtual.chip.families.stm32h7.flash import FlashH7
from harness.virtual.chip.families.stm32h7.minor import external_memory, reserved, watchdog
from harness.virtual.chip.families.stm32h7.rcc import AHB4ENR, RccH7
from harness.virtual.chip.families.stm32h7.usart import UsartH7

_GPIO, _PORTS, _INTERRUPTS, _BOOT = 0x5802_0000, 11, 150, 0x0800_0000
# MODER, OSPEEDR, PUPDR: pins start as analog inputs, but for the debug pins of ports A and B.
_RESETS = (
    (0xABFF_FFFF, 0x0C00_0000, 0x6400_0000),
    (0xFFFF_FEBF, 0x00C0, 0x0100),
    (0xFFFF_FFFF, 0, 0),
)
_FREEZE = (
    (0x34, "APB3FZ1"), (0x3C, "APB1LFZ1"), (0x44, "APB1HFZ1"), (0x4C, "APB2FZ1"), (0x54, "APB4FZ1"),
)  # fmt: skip


def build(to: Connections) -> Blocks:
    """Put the chip's blocks together."""
    flash = FlashH7(to)
    rcc = RccH7(to, flash)
    pins = Pins(_PORTS, _GPIO, rcc, AHB4ENR, _RESETS)
    usart = UsartH7(to, rcc, pins)
    return put_together(
        to, flash, rcc, pins, usart, rcc.pwr, watchdog(), external_memory(), *reserved(),
        interrupts=_INTERRUPTS, boot_address=_BOOT, freeze=_FREEZE, syscfg=rcc.syscfg,
        rom_table=False,
    )  # fmt: skip
