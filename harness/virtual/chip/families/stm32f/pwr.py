"""Power control: voltage scale and over-drive.

RM0385 and RM0410 section 4.4 (STM32F7), RM0390 section 5.4 (STM32F446).
"""

from __future__ import annotations

from collections.abc import Callable

from harness.boards import Board
from harness.virtual.chip.bus import Master, Peripheral

_BASE = 0x4000_7000
_CR, _CSR = 0x00, 0x04
_ODEN, _ODSWEN = 1 << 16, 1 << 17
_VOSRDY, _BRE, _DBP = 1 << 14, 1 << 9, 1 << 8


class PwrF(Peripheral):
    """Voltage scale and over-drive registers; what is switched on is ready at once."""

    def __init__(self, board: Board) -> None:
        super().__init__("PWR", _BASE, "RM0385 4.4, RM0410 4.4, RM0390 5.4")
        f7 = board.family == "stm32f7"
        #: Whether over-drive gets ready; a fault of the clock controller.
        self.works: Callable[[], bool] = lambda: True
        self.add(_CR, "CR1" if f7 else "CR", 0xC000)
        self.add(_CSR, "CSR1" if f7 else "CSR", read=self._read_status)
        if f7:
            self.add_storage(((0x08, "CR2"), (0x0C, "CSR2")))

    @property
    def overdrive(self) -> bool:
        """Whether over-drive is on and switched to."""
        both = _ODEN | _ODSWEN
        return self.works() and self.values[_CR] & both == both

    @property
    def backup_writable(self) -> bool:
        """Whether the backup domain takes writes."""
        return bool(self.values[_CR] & _DBP)

    def _read_status(self, _master: Master) -> int:
        ready = self.values[_CR] & (_ODEN | _ODSWEN) if self.works() else 0
        backup = (self.values[_CSR] & _BRE) >> 6  # BRR: the backup regulator is ready at once
        return self.values[_CSR] & 0x300 | ready | backup | _VOSRDY
