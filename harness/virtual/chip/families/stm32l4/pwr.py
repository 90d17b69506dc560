"""Power control of the STM32L4+: voltage range, boost, backup domain, supply of port G.

RM0432, chapter PWR.
"""

from __future__ import annotations

from harness.virtual.chip.bus import Master, Peripheral
from harness.virtual.chip.families.stm32.clocks import ClockController

_BASE = 0x4000_7000
_CR1, _CR2, _SR1, _SR2, _CR5 = 0x00, 0x04, 0x10, 0x14, 0x80
_DBP, _IOSV, _R1MODE = 1 << 8, 1 << 9, 1 << 8
_RANGE1 = 1
_APB1ENR1, _PWREN = 0x58, 28


class PwrL4(Peripheral):
    """Voltage range and supplies; what is switched on is ready at once."""

    def __init__(self, rcc: ClockController) -> None:
        super().__init__("PWR", _BASE, "RM0432, PWR registers")
        self.gate = rcc, _APB1ENR1, _PWREN
        self.before_write = rcc.recheck_console  # the supply of the console's pins may change
        #: How often CR1 is read before DBP is in force; software has to wait for it (RM0432).
        self.slow_reads = 0
        self._left = 0
        self.add(_CR1, "CR1", 0x0200, writable=0x471F, read=self._read_cr1, changed=self._changed)
        self.add(_CR2, "CR2", writable=0x06FF)
        self.add(0x08, "CR3", 0x8000)
        self.add(0x0C, "CR4")
        self.add(_SR1, "SR1", writable=0)
        # REGLPF and VOSF are zero: the regulator is at its range at once.
        self.add(_SR2, "SR2", 0x0100, writable=0)
        self.add(0x18, "SCR")
        self.add(_CR5, "CR5", _R1MODE, writable=_R1MODE)

    @property
    def range1(self) -> bool:
        """Whether the regulator is in range 1."""
        return self.values[_CR1] >> 9 & 3 == _RANGE1

    @property
    def boost(self) -> bool:
        """Whether the regulator is in range 1 boost mode."""
        return self.range1 and not self.values[_CR5] & _R1MODE

    @property
    def backup_writable(self) -> bool:
        """Whether the backup domain takes writes."""
        return bool(self.values[_CR1] & _DBP) and not self._left

    def _changed(self) -> None:
        self._left = self.slow_reads

    def _read_cr1(self, _master: Master) -> int:
        value = self.values[_CR1]
        if not self._left:
            return value
        self._left -= 1
        return value & ~_DBP

    @property
    def io2_valid(self) -> bool:
        """Whether the firmware has declared VDDIO2 present."""
        return bool(self.values[_CR2] & _IOSV)
