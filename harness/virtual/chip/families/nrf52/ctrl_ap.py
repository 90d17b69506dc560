"""CTRL-AP: erase the chip and reset it by the debugger, even if it is closed.

nRF52840 Product Specification v1.7, "Debug and trace".
"""

from __future__ import annotations

from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.nrf52.nvmc import Nvmc
from harness.virtual.chip.peripherals.clock import ResetCause

NUMBER = 1  # of the access port
_RESET, _ERASEALL, _STATUS, _APPROTECTSTATUS, _IDR = 0x000, 0x004, 0x008, 0x00C, 0x0FC
_IDENTITY = 0x1288_0000
_CLOSED = 0x00  # of UICR.APPROTECT, low byte


class ControlPort:
    """The access port, and whether the one to memory is closed."""

    def __init__(self, to: Connections, nvmc: Nvmc) -> None:
        self._to, self._nvmc = to, nvmc
        self._erase = self._reset = 0

    def closed(self) -> bool:
        """Return whether UICR closes the debug port (build codes before Fxx)."""
        return self._nvmc.uicr.approtect & 0xFF == _CLOSED

    def read(self, register: int) -> int:
        """Read a register by its offset; an erase is done at once."""
        return {
            _RESET: self._reset,
            _ERASEALL: self._erase,
            _STATUS: 0,
            _APPROTECTSTATUS: int(not self.closed()),
            _IDR: _IDENTITY,
        }.get(register, 0)

    def write(self, register: int, value: int) -> None:
        """Write a register by its offset."""
        if register == _ERASEALL:
            self._erase = value & 1
            if self._erase:
                with self._to.core().paused():
                    self._nvmc.erase_chip()
        elif register == _RESET:
            if self._reset and not value & 1:
                self._to.core().reset(ResetCause.PIN)
            self._reset = value & 1
