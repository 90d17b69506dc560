"""Power control of the STM32H743: supply, voltage scale, over-drive, backup domain.

RM0433, chapter PWR; the over-drive is a bit of SYSCFG.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.virtual.chip.bus import Master, Peripheral, ignore_write
from harness.virtual.chip.families.stm32.clocks import ClockController

_PWR, _SYSCFG = 0x5802_4800, 0x5800_0400
_CR1, _CSR1, _CR2, _CR3, _CPUCR, _D3CR = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x18
_DBP, _READY, _LDOEN, _SCUEN = 1 << 8, 1 << 13, 1 << 1, 1 << 2
_SUPPLY = 0x7  # SCUEN, LDOEN, BYPASS
_BACKUP = 0x0000_0300, 0x0700_0000  # charging; USB regulator and detector
_PWRCR, _ODEN, _SYSCFGEN = 0x2C, 1 << 0, 1


class PwrH7(Peripheral):
    """Supply and voltage scale; what is switched on is ready at once."""

    def __init__(self, rcc: ClockController) -> None:
        super().__init__("PWR", _PWR, "RM0433, PWR registers")
        #: Whether over-drive gets ready, and is on.
        self.works: Callable[[], bool] = lambda: True
        self.boosted: Callable[[], bool] = lambda: False
        self.add(_CR1, "CR1", 0xF000_C000, writable=0x0007_C3F1)
        self.add(_CSR1, "CSR1", writable=0, read=self._read_csr1)
        self.add(_CR2, "CR2", writable=0x11)
        self.add(_CR3, "CR3", _SCUEN | _LDOEN, writable=_SUPPLY | sum(_BACKUP), write=self._supply)
        self.add(_CPUCR, "CPUCR", writable=0x0BE7)
        self.add(_D3CR, "D3CR", 0x4000, writable=0xC000, read=self._read_d3cr)
        self.add_storage(((0x20, "WKUPCR"), (0x24, "WKUPFR"), (0x28, "WKUPEPR")))
        del rcc

    def reset(self) -> None:
        """Return to the slowest scale; only a power-on clears the choice of the supply."""
        supply = self.values[_CR3]
        super().reset()
        self.values[_CR3] = supply

    @property
    def supplied(self) -> bool:
        """Whether the firmware has chosen the supply, and the LDO for it."""
        return self.values[_CR3] & _SUPPLY == _LDOEN

    @property
    def scale(self) -> int:
        """Voltage scale: 0 (the fastest) to 3."""
        scale = 4 - max(1, self.values[_D3CR] >> 14)
        return 0 if scale == 1 and self.boosted() and self.works() else scale

    @property
    def backup_writable(self) -> bool:
        """Whether the backup domain takes writes."""
        return bool(self.values[_CR1] & _DBP)

    def _supply(self, value: int, _master: Master) -> None:
        if self.values[_CR3] & _SCUEN:  # the low bits can be written once
            self.store(_CR3, value & ~_SCUEN)
        else:
            self.store(_CR3, value & ~_SUPPLY | self.values[_CR3] & _SUPPLY)

    def _ready(self) -> int:
        return _READY if self.works() or not self.boosted() else 0

    def _read_csr1(self, _master: Master) -> int:
        ready = self._ready() if self.supplied else 0
        return self.values[_D3CR] & 0xC000 | ready

    def _read_d3cr(self, _master: Master) -> int:
        return self.values[_D3CR] | self._ready()


class SyscfgH7(Peripheral):
    """Ports of the external interrupts, compensation cell, over-drive (RM0433, SYSCFG)."""

    def __init__(self, rcc: ClockController) -> None:
        super().__init__("SYSCFG", _SYSCFG, "RM0433, SYSCFG registers")
        self.gate = rcc, rcc.layout.apb["apb4"][0], _SYSCFGEN
        self.add(0x04, "PMCR", writable=0x0FE0_0FFF)
        for n in range(4):
            self.add(0x08 + 4 * n, f"EXTICR{n + 1}", writable=0xFFFF)
        self.add(0x18, "CFGR", writable=0xFFFF)
        # The compensation cell is ready as soon as it is on.
        self.add(0x20, "CCCSR", writable=0x1_0003, read=self._compensation)
        self.add(0x24, "CCVR", writable=0)
        self.add(0x28, "CCCR", writable=0xFF)
        self.add(_PWRCR, "PWRCR", writable=_ODEN)
        self.add(0x124, "PKGR", write=ignore_write)

    @property
    def overdrive(self) -> bool:
        """Whether over-drive is wanted."""
        return bool(self.values[_PWRCR] & _ODEN)

    def _compensation(self, _master: Master) -> int:
        return self.values[0x20] | (self.values[0x20] & 1) << 8
