"""GPIO: both ports, to whose pins nothing is connected but the console.

nRF52840 Product Specification v1.7, chapter GPIO.
"""

from __future__ import annotations

from functools import partial

from harness.virtual.chip.bus import Master, Peripheral
from harness.virtual.chip.families.nrf52.block import BYTES

_STEP = 0x300  # between the two ports
_OUT, _IN, _DIR = 0x504, 0x510, 0x514
_PIN_CNF, _PINS = 0x700, (32, 16)
_PULL_UP = 3 << 2


class Gpio(Peripheral):
    """P0 and P1, which share a page."""

    def __init__(self) -> None:
        super().__init__("GPIO", 0x5000_0000, "nRF52840 PS, GPIO")
        self.size = BYTES
        for port, pins in enumerate(_PINS):
            at = _STEP * port
            for register, name in ((_OUT, "OUT"), (_DIR, "DIR")):
                self.add(at + register, f"P{port}_{name}")
                for offset, suffix in ((4, "SET"), (8, "CLR")):
                    self.add(
                        at + register + offset, f"P{port}_{name}{suffix}",
                        read=partial(self._read, at + register),
                        write=partial(self._change, at + register, suffix == "SET"),
                    )  # fmt: skip
            self.add(at + _IN, f"P{port}_IN", writable=0, read=partial(self._read_in, at, pins))
            self.add_storage(((at + 0x520, f"P{port}_LATCH"), (at + 0x524, f"P{port}_DETECTMODE")))
            for n in range(pins):
                changed = partial(self._follow_pin, at, n)
                self.add(at + _PIN_CNF + 4 * n, f"P{port}_PIN_CNF{n}", 2, changed=changed)

    def _read(self, register: int, _master: Master) -> int:
        return self.values[register]

    def _change(self, register: int, on: bool, value: int, _master: Master) -> None:
        old = self.values[register]
        self.values[register] = old | value if on else old & ~value
        if register % _STEP == _DIR % _STEP:
            at = register - _DIR
            for n in range(_PINS[at // _STEP]):
                if value >> n & 1:
                    cnf = at + _PIN_CNF + 4 * n
                    self.values[cnf] = self.values[cnf] & ~1 | on

    def _follow_pin(self, at: int, n: int) -> None:
        """Let DIR follow the direction in PIN_CNF, as they are one."""
        output = self.values[at + _PIN_CNF + 4 * n] & 1
        self.values[at + _DIR] = self.values[at + _DIR] & ~(1 << n) | output << n

    def _read_in(self, at: int, pins: int, _master: Master) -> int:
        value = 0
        for n in range(pins):
            if self.values[at + _DIR] >> n & 1:
                level = self.values[at + _OUT] >> n & 1
            else:
                level = int(self.values[at + _PIN_CNF + 4 * n] & _PULL_UP == _PULL_UP)
            value |= level << n
        return value
