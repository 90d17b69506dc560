"""Flash patch and breakpoint unit.

ARMv7-M ARM C1.11: version 1 (Cortex-M4) compares words of the code region, version 2 (Cortex-M7)
any instruction address.
"""

from __future__ import annotations

from harness.virtual.chip.bus import Master, Peripheral, ignore_write, read_zero
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.peripherals.identity import FPB, add_ids

_CTRL, _REMAP, _COMP0 = 0x000, 0x004, 0x008
_ENABLE, _KEY = 1 << 0, 1 << 1


class Fpb(Peripheral):
    """Instruction comparators: breakpoints of the core."""

    survives_reset = True

    def __init__(self, to: Connections) -> None:
        super().__init__("FPB", FPB, "ARMv7-M ARM C1.11")
        self._version2 = to.board.facts.core.cpu == "cortex-m7"
        code, literal = (8, 0) if self._version2 else (6, 2)
        reset = code << 4 | literal << 8 | (1 << 28 if self._version2 else 0)
        self._code = code
        self._core = to.core
        self.add(_CTRL, "CTRL", reset, write=self._write_ctrl)
        self.add(_REMAP, "REMAP", 0x2000_0000, writable=0)
        for index in range(code + literal):
            self.add(_COMP0 + 4 * index, f"COMP{index}")
        self.add(0xFB0, "LAR", read=read_zero, write=ignore_write)
        self.add(0xFB4, "LSR", writable=0)
        add_ids(self, 0x00E if self._version2 else 0x003)

    def write(self, offset: int, value: int, mask: int, master: Master) -> None:
        """Write a register and follow with the comparators."""
        super().write(offset, value, mask, master)
        with self._core().paused():
            self._core().cpu.set_breakpoints(self._addresses())

    def _write_ctrl(self, value: int, _master: Master) -> None:
        if value & _KEY:
            self.values[_CTRL] = self.values[_CTRL] & ~_ENABLE | value & _ENABLE

    def _addresses(self) -> list[int]:
        """Return the instruction addresses that are compared."""
        if not self.values[_CTRL] & _ENABLE:
            return []
        found: list[int] = []
        for index in range(self._code):
            value = self.values[_COMP0 + 4 * index]
            if not value & 1:
                continue
            if self._version2:
                found.append(value & 0xFFFF_FFFE)
                continue
            replace, word = value >> 30, value & 0x1FFF_FFFC
            if replace == 0:
                raise self.unmodelled(_COMP0 + 4 * index, "remapping of code by write")
            found += [word + 2 * half for half in (0, 1) if replace >> half & 1]
        return found
