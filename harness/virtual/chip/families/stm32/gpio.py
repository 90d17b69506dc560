"""General-purpose I/O ports.

RM0385 section 6.4, RM0410 section 6.4, RM0390 section 7.4.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.boards.stm32 import Pin
from harness.virtual.chip.bus import Master, Peripheral, read_zero
from harness.virtual.chip.families.stm32.clocks import ClockController

_MODER, _PUPDR, _IDR, _ODR, _BSRR, _AFRL = 0x00, 0x0C, 0x10, 0x14, 0x18, 0x20
_OUTPUT, _ALTERNATE = 1, 2


class Gpio(Peripheral):
    """One port. Nothing is connected to its pins but the console."""

    def __init__(
        self,
        index: int,
        base: int,
        rcc: ClockController,
        enables: int,
        reset: tuple[int, int, int],
        has_brr: bool,
    ) -> None:
        name = f"GPIO{chr(ord('A') + index)}"
        super().__init__(name, base + 0x400 * index, "RM0385 6.4, RM0390 7.4")
        self.gate = rcc, enables, index
        self.before_write = rcc.recheck_console  # a pin of the console may change
        mode, speed, pull = reset
        self.add(_MODER, "MODER", mode)
        self.add(0x04, "OTYPER", writable=0xFFFF)
        self.add(0x08, "OSPEEDR", speed)
        self.add(_PUPDR, "PUPDR", pull)
        self.add(_IDR, "IDR", writable=0, read=self._read_inputs)
        self.add(_ODR, "ODR", writable=0xFFFF)
        self.add(_BSRR, "BSRR", read=read_zero, write=self._set_reset)
        self.add_storage(((0x1C, "LCKR"), (_AFRL, "AFRL"), (_AFRL + 4, "AFRH")))
        if has_brr:
            self.add(0x28, "BRR", read=read_zero, write=lambda v, m: self._set_reset(v << 16, m))

    def alternate(self, pin: int) -> int | None:
        """Return the alternate function that `pin` is switched to, None if it is not."""
        if self.values[_MODER] >> 2 * pin & 3 != _ALTERNATE:
            return None
        return self.values[_AFRL + 4 * (pin // 8)] >> 4 * (pin % 8) & 0xF

    def _read_inputs(self, _master: Master) -> int:
        value = 0
        for pin in range(16):
            if self.values[_MODER] >> 2 * pin & 3 == _OUTPUT:
                level = self.values[_ODR] >> pin & 1
            else:
                level = self.values[_PUPDR] >> 2 * pin & 3 == 1  # an open input follows its pull
            value |= level << pin
        return value

    def _set_reset(self, value: int, _master: Master) -> None:
        self.values[_ODR] = (self.values[_ODR] & ~(value >> 16) | value) & 0xFFFF


class Pins:
    """All ports of a chip.

    Args:
        count: Number of ports, from A on.
        base: First address of port A.
        rcc: Clock controller.
        enables: Register of it whose bits 0 and up enable the ports.
        resets: MODER, OSPEEDR and PUPDR after reset of the ports A and up; the last are those of
            all further ports.
        has_brr: Whether they have a register that only resets bits.
    """

    def __init__(
        self,
        count: int,
        base: int,
        rcc: ClockController,
        enables: int,
        resets: Sequence[tuple[int, int, int]],
        has_brr: bool = False,
    ) -> None:
        last = len(resets) - 1
        self.ports = [
            Gpio(i, base, rcc, enables, resets[min(i, last)], has_brr) for i in range(count)
        ]

    def connected(self, pin: Pin) -> bool:
        """Return whether `pin` is switched to the alternate function that the board uses it for."""
        port = self.ports[ord(pin.port) - ord("A")]
        return port.alternate(pin.pin) == pin.alternate
