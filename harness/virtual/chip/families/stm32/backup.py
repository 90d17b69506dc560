"""Backup SRAM of the STM32F4 and F7: 4 KiB that resets leave alone (RM0385 2.3, RM0390 2.2.2)."""

from __future__ import annotations

from harness.virtual.chip.bus import Master, Peripheral
from harness.virtual.chip.families.stm32.clocks import ClockController

_BASE, _BYTES = 0x4002_4000, 0x1000
_AHB1ENR, _BKPSRAMEN = 0x30, 18


class BackupRam(Peripheral):
    """Words by offset. Without a battery its content is lost with the power."""

    survives_reset = True

    def __init__(self, rcc: ClockController) -> None:
        super().__init__("backup SRAM", _BASE, "RM0385 2.3, RM0390 2.2.2")
        self.size = _BYTES
        self.gate = rcc, _AHB1ENR, _BKPSRAMEN

    def has(self, offset: int) -> bool:
        """Return whether there is a word at `offset`: everywhere."""
        return 0 <= offset < _BYTES

    def read(self, offset: int, master: Master) -> int:
        """Read a word; as other SRAM it powers up with no defined content."""
        del master
        return self.values.get(offset, 0xA5A5_A5A5)

    def write(self, offset: int, value: int, mask: int, master: Master) -> None:
        """Write bits of a word."""
        self.values[offset] = self.read(offset, master) & ~mask | value
