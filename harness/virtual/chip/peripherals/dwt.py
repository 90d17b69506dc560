"""Data watchpoint and trace: the cycle counter, and a debugger's watchpoints.

ARMv7-M ARM C1.8; Cortex-M7 TRM for the software lock (LAR, LSR).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from harness.virtual.chip.bus import Master, Peripheral, read_zero
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.peripherals.identity import DWT, add_ids
from harness.virtual.core.watchpoints import Watchpoint

_CTRL, _CYCCNT, _LAR, _LSR = 0x000, 0x004, 0xFB0, 0xFB4
_CYCCNTENA, _NOCYCCNT = 1 << 0, 1 << 25
_NEARLY_WRAPPED = 0xFFFF_F000
_UNLOCK = 0xC5AC_CE55
_COMPARATORS, _COMP0 = 4, 0x20
_MATCHED, _OTHER_MATCHES = 1 << 24, 0x1B0
_ACCESSES = {5: (True, False), 6: (False, True), 7: (True, True)}  # reads, writes
_PRESENT, _LOCKED = 1 << 0, 1 << 1


class Dwt(Peripheral):
    """CYCCNT over the block counter; event counters are not modelled."""

    survives_reset = True

    def __init__(self, to: Connections) -> None:
        super().__init__("DWT", DWT, "ARMv7-M ARM C1.8")
        self._counter = to.counter
        self._core = to.core
        self._lockable = to.board.facts.cycle_counter == "dwt-lock"
        self._locked = self._lockable
        #: A fault: ``stuck``, ``absent`` or ``wrap`` (starts just before its end).
        self.defect: str | None = None
        #: A fault: returns the share of the cycles since the last reading that are counted twice.
        self.stolen: Callable[[], float] | None = None
        self._extra = self._last = 0
        #: Called with CYCCNT when the core reads it.
        self.on_read: Callable[[int], None] | None = None
        trace = 0x007F_F000, "enabling of trace events"
        read, changed, count = self._read_ctrl, self._ctrl_changed, _COMPARATORS << 28
        self.add(_CTRL, "CTRL", count, writable=0xFFF, refuse=trace, read=read, changed=changed)
        self.add(_CYCCNT, "CYCCNT", read=self._read_cycles, write=self._write_cycles)
        for index in range(_COMPARATORS):
            base = _COMP0 + 0x10 * index
            self.add(base, f"COMP{index}")
            self.add(base + 4, f"MASK{index}", writable=0x1F)
            refuse = _OTHER_MATCHES, "matching of values, cycles or links"
            self.add(
                base + 8, f"FUNCTION{index}", refuse=refuse, read=partial(self._matched, index)
            )
        #: Comparators that have matched since their FUNCTION was last read.
        self.matched: set[int] = set()
        self.add(_LAR, "LAR", read=read_zero, write=self._write_lock)
        self.add(_LSR, "LSR", writable=0, read=self._read_lock)
        add_ids(self, 0x002)

    def write(self, offset: int, value: int, mask: int, master: Master) -> None:
        """Write a register; while locked, software's writes are lost."""
        if self._locked and master is Master.CORE and offset != _LAR:
            return
        comparator = _COMP0 <= offset < _COMP0 + 0x10 * _COMPARATORS
        sets = comparator and offset & 0xC == 8 and value & 0xF
        if sets and (master is Master.CORE or value & 0xF not in _ACCESSES):
            raise self.unmodelled(offset, "other watchpoints than a debugger's, set by write")
        super().write(offset, value, mask, master)
        if comparator:
            with self._core().paused():
                self._core().cpu.watchpoints.set(self._watched())

    def _matched(self, index: int, _master: Master) -> int:
        flag = _MATCHED if index in self.matched else 0
        self.matched.discard(index)
        return self.values[_COMP0 + 0x10 * index + 8] & ~_MATCHED | flag

    def _watched(self) -> list[Watchpoint]:
        found: list[Watchpoint] = []
        for index in range(_COMPARATORS):
            base = _COMP0 + 0x10 * index
            access = _ACCESSES.get(self.values[base + 8] & 0xF)
            if access is not None:
                size = 1 << self.values[base + 4]
                start = self.values[base] & ~(size - 1)
                found.append(Watchpoint(index, start, start + size, *access))
        return found

    def follow(self) -> None:
        """Count while both CTRL.CYCCNTENA and DEMCR.TRCENA are set."""
        enabled = bool(self.values[_CTRL] & _CYCCNTENA)
        self._counter.running = enabled and self._core().debug.trace_enabled

    def _ctrl_changed(self) -> None:
        if self.defect == "wrap" and self.values[_CTRL] & _CYCCNTENA:
            self._counter.set_cycles(_NEARLY_WRAPPED)
        self.follow()

    def _read_ctrl(self, _master: Master) -> int:
        return self.values[_CTRL] | (_NOCYCCNT if self.defect == "absent" else 0)

    def _read_cycles(self, master: Master) -> int:
        if self.defect in ("stuck", "absent"):
            return 0
        cycles = self._counter.cycles()
        if self.stolen is not None and master is Master.CORE:
            self._extra += round(self.stolen() * max(0, cycles - self._last))
            self._last = cycles
            cycles += self._extra
        cycles &= 0xFFFF_FFFF
        if self.on_read is not None and master is Master.CORE:
            self.on_read(cycles)
        return cycles

    def _write_cycles(self, value: int, _master: Master) -> None:
        self._counter.set_cycles(value)
        self._extra, self._last = 0, value

    def _write_lock(self, value: int, master: Master) -> None:
        if self._lockable and master is Master.CORE:
            self._locked = value != _UNLOCK

    def _read_lock(self, master: Master) -> int:
        # The debugger sees no lock (ARMv7-M ARM, DWT_LSR).
        if not self._lockable or master is Master.DEBUGGER:
            return 0
        return _PRESENT | (_LOCKED if self._locked else 0)
