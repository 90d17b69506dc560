"""STM32L4+ as the STM32L4R5 has it (RM0432)."""

from __future__ import annotations

from harness.boards.stm32 import Pin
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families import Blocks
from harness.virtual.chip.families.stm32 import put_together
from harness.virtual.chip.families.stm32.gpio import Pins
from harness.virtual.chip.families.stm32l4.flash import FlashL4
from harness.virtual.chip.families.stm32l4.lpuart import Lpuart
from harness.virtual.chip.families.stm32l4.rcc import AHB2ENR, RccL4

_GPIO, _PORTS, _INTERRUPTS = 0x4800_0000, 9, 95
# MODER, OSPEEDR, PUPDR: pins start as analog inputs, but for the debug pins of ports A and B.
_RESETS = (
    (0xABFF_FFFF, 0x0C00_0000, 0x6400_0000),
    (0xFFFF_FEBF, 0, 0x0100),
    (0xFFFF_FFFF, 0, 0),
)
_IO2 = "G", 2  # PG2 to PG15 are supplied by VDDIO2
_FREEZE = ((0x8, "APB1FZR1"), (0xC, "APB1FZR2"), (0x10, "APB2FZR"))


class _PinsL4(Pins):
    """Ports whose pins in the VDDIO2 domain are dead until the firmware says it is supplied."""

    def __init__(self, rcc: RccL4) -> None:
        super().__init__(_PORTS, _GPIO, rcc, AHB2ENR, _RESETS, has_brr=True)
        self._pwr = rcc.pwr

    def connected(self, pin: Pin) -> bool:
        """Return whether `pin` is switched to the board's use of it, and supplied."""
        supplied = pin.port != _IO2[0] or pin.pin < _IO2[1] or self._pwr.io2_valid
        return supplied and super().connected(pin)


def build(to: Connections) -> Blocks:
    """Put the chip's blocks together."""
    flash = FlashL4(to)
    rcc = RccL4(to, flash)
    pins = _PinsL4(rcc)
    uart = Lpuart(to, rcc, pins)
    return put_together(to, flash, rcc, pins, uart, rcc.pwr, interrupts=_INTERRUPTS, freeze=_FREEZE)
