"""Data watchpoint and trace: the cycle counter.

ARMv7-M ARM C1.8; Cortex-M7 TRM for the software lock (LAR, LSR).
"""

from __future__ import annotations

from collections.abc import Callable

from harness.boards import Board
from harness.virtual.chip.bus import Master, Peripheral, read_zero
from harness.virtual.chip.peripherals.identity import DWT, add_ids
from harness.virtual.time.counting import BlockCounter

_CTRL, _CYCCNT, _LAR, _LSR = 0x000, 0x004, 0xFB0, 0xFB4
_CYCCNTENA, _NOCYCCNT = 1 << 0, 1 << 25
_NEARLY_WRAPPED = 0xFFFF_F000
_UNLOCK = 0xC5AC_CE55
_COMPARATORS = 4
_PRESENT, _LOCKED = 1 << 0, 1 << 1


class Dwt(Peripheral):
    """CYCCNT over the block counter; watchpoints and event counters are not modelled."""

    size = 0x1000

    def __init__(
        self, board: Board, counter: BlockCounter, trace_enabled: Callable[[], bool]
    ) -> None:
        super().__init__("DWT", DWT, "ARMv7-M ARM C1.8")
        self._counter = counter
        self._trace_enabled = trace_enabled
        self._lockable = board.facts.cycle_counter == "dwt-lock"
        self._locked = self._lockable
        #: A fault: ``stuck``, ``absent`` or ``wrap`` (starts just before its end).
        self.defect: str | None = None
        #: Called with CYCCNT when the core reads it.
        self.on_read: Callable[[int], None] | None = None
        read, write, count = self._read_ctrl, self._write_ctrl, _COMPARATORS << 28
        self.add(_CTRL, "CTRL", count, writable=0x007F_1FFF, read=read, write=write)
        self.add(_CYCCNT, "CYCCNT", read=self._read_cycles, write=self._write_cycles)
        for index in range(_COMPARATORS):
            base = 0x20 + 0x10 * index
            self.add(base, f"COMP{index}")
            self.add(base + 4, f"MASK{index}", writable=0x1F)
            self.add(base + 8, f"FUNCTION{index}", write=self._write_function)
        self.add(_LAR, "LAR", read=read_zero, write=self._write_lock)
        self.add(_LSR, "LSR", writable=0, read=self._read_lock)
        add_ids(self, 0x002)

    def reset(self) -> None:
        """Keep everything: only a power-on reset clears the debug components."""

    def write(self, offset: int, value: int, mask: int, master: Master) -> None:
        """Write a register; while locked, software's writes are lost."""
        if self._locked and master is Master.CORE and offset != _LAR:
            return
        super().write(offset, value, mask, master)

    def follow(self) -> None:
        """Count while both CTRL.CYCCNTENA and DEMCR.TRCENA are set."""
        enabled = bool(self.values[_CTRL] & _CYCCNTENA)
        self._counter.running = enabled and self._trace_enabled()

    def _write_ctrl(self, value: int, _master: Master) -> None:
        if value & 0x007F_F000:
            raise self.unmodelled(_CTRL, "enabling of trace events by write")
        self.store(_CTRL, value)
        if self.defect == "wrap" and value & _CYCCNTENA:
            self._counter.set_cycles(_NEARLY_WRAPPED)
        self.follow()

    def _read_ctrl(self, _master: Master) -> int:
        return self.values[_CTRL] | (_NOCYCCNT if self.defect == "absent" else 0)

    def _read_cycles(self, master: Master) -> int:
        if self.defect in ("stuck", "absent"):
            return 0
        cycles = self._counter.cycles() & 0xFFFF_FFFF
        if self.on_read is not None and master is Master.CORE:
            self.on_read(cycles)
        return cycles

    def _write_cycles(self, value: int, _master: Master) -> None:
        self._counter.set_cycles(value)

    def _write_function(self, value: int, _master: Master) -> None:
        if value & 0xF:
            raise self.unmodelled(0x28, "setting of a watchpoint by write")

    def _write_lock(self, value: int, master: Master) -> None:
        if self._lockable and master is Master.CORE:
            self._locked = value != _UNLOCK

    def _read_lock(self, master: Master) -> int:
        # The debugger sees no lock (ARMv7-M ARM, DWT_LSR).
        if not self._lockable or master is Master.DEBUGGER:
            return 0
        return _PRESENT | (_LOCKED if self._locked else 0)
