"""USART of the STM32H743: that of the STM32F7 with a prescaler and FIFOs, which stay off.

RM0433, USART registers.
"""

from __future__ import annotations

from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.stm32.clocks import ClockController
from harness.virtual.chip.families.stm32.gpio import Pins
from harness.virtual.chip.families.stm32.usart import UsartF7

_PRESC = 0x2C
_DIVIDERS = (1, 2, 4, 6, 8, 10, 12, 16, 32, 64, 128, 256)


class UsartH7(UsartF7):
    """ISR, ICR, RDR, TDR and PRESC."""

    def __init__(self, to: Connections, rcc: ClockController, pins: Pins) -> None:
        super().__init__(to, rcc, pins)
        self.registers[0x00].refuse = 1 << 29, "FIFO mode"
        self.add(_PRESC, "PRESC", writable=0xF, changed=rcc.recheck_console)

    @property
    def baud(self) -> int | None:
        """Rate that the registers give; None without a divider or a clock."""
        rate, selected = super().baud, self.values[_PRESC]
        divider = _DIVIDERS[min(selected, len(_DIVIDERS) - 1)]
        return None if rate is None else round(rate / divider)
