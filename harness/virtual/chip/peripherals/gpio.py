"""General-purpose I/O ports.

RM0385 section 6.4, RM0410 section 6.4, RM0390 section 7.4.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.boards.model import Pin
from harness.virtual.chip.bus import Master, Peripheral, read_zero
from harness.virtual.chip.peripherals.clocks import ClockController

_MODER, _PUPDR, _IDR, _ODR, _BSRR, _AFRL = 0x00, 0x0C, 0x10, 0x14, 0x18, 0x20
# Ports A and B start with the debug pins in their alternate function.
_RESET = {"A": (0xA800_0000, 0x0C00_0000, 0x6400_0000), "B": (0x0000_0280, 0x0000_00C0, 0x100)}
_OUTPUT, _ALTERNATE = 1, 2


class Gpio(Peripheral):
    """One port. Nothing is connected to its pins but the console."""

    def __init__(self, letter: str, base: int, rcc: ClockController, enable_register: int) -> None:
        index = ord(letter) - ord("A")
        super().__init__(f"GPIO{letter}", base + 0x400 * index, "RM0385 6.4, RM0390 7.4")
        self._rcc = rcc
        self._index = index
        self._enable_register = enable_register
        mode, speed, pull = _RESET.get(letter, (0, 0, 0))
        self.add(_MODER, "MODER", mode)
        self.add(0x04, "OTYPER", writable=0xFFFF)
        self.add(0x08, "OSPEEDR", speed)
        self.add(_PUPDR, "PUPDR", pull)
        self.add(_IDR, "IDR", writable=0, read=self._read_inputs)
        self.add(_ODR, "ODR", writable=0xFFFF)
        self.add(_BSRR, "BSRR", read=read_zero, write=self._set_reset)
        self.add_storage(((0x1C, "LCKR"), (_AFRL, "AFRL"), (_AFRL + 4, "AFRH")))

    def check_access(self) -> str | None:
        """Refuse while RCC has the port off."""
        return self._rcc.off(self._enable_register, self._index)

    def write(self, offset: int, value: int, mask: int, master: Master) -> None:
        """Write a register; a pin of the console may change."""
        self._rcc.changing()
        super().write(offset, value, mask, master)

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
                pull_up = self.values[_PUPDR] >> 2 * pin & 3 == 1
                level = int(pull_up)  # an open input follows its pull
            value |= level << pin
        return value

    def _set_reset(self, value: int, _master: Master) -> None:
        self.values[_ODR] = (self.values[_ODR] & ~(value >> 16) | value) & 0xFFFF


class Pins:
    """All ports of a chip."""

    def __init__(
        self, letters: Iterable[str], base: int, rcc: ClockController, enable_register: int
    ) -> None:
        self.ports = {letter: Gpio(letter, base, rcc, enable_register) for letter in letters}

    def connected(self, pin: Pin) -> bool:
        """Return whether `pin` is switched to the alternate function that the board uses it for."""
        return self.ports[pin.port].alternate(pin.pin) == pin.alternate
