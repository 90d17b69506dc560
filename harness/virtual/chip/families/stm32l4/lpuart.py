"""LPUART of the STM32L4+, without its FIFO: a USART of the second generation with a finer divider.

RM0432, chapter LPUART.
"""

from __future__ import annotations

from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.stm32.clocks import ClockController
from harness.virtual.chip.families.stm32.gpio import Pins
from harness.virtual.chip.families.stm32.usart import UsartF7

_BRR, _PRESC = 0x0C, 0x2C
_LEAST = 0x300  # "forbidden to write values less than 0x300"
_SCALE = 256


class Lpuart(UsartF7):
    """The console."""

    def __init__(self, to: Connections, rcc: ClockController, pins: Pins) -> None:
        super().__init__(to, rcc, pins)
        self.manual = "RM0432, LPUART registers"
        for offset in (0x10, 0x14):  # GTPR and RTOR are the USART's
            del self.registers[offset], self.values[offset]
        self.registers[_BRR].writable = 0xF_FFFF
        self.add(_PRESC, "PRESC", writable=0, refuse=(0xF, "prescaler"))

    @property
    def baud(self) -> int | None:
        """Rate that the registers give; None without a divider or a clock."""
        divider = self.values[_BRR]
        clock = self._rcc.usart_hz(self._number, self._facts.bus)
        return None if clock is None or divider < _LEAST else round(_SCALE * clock / divider)
