"""Stop the core behind an access that a comparator of the DWT matches (ARMv7-M ARM C1.8.1).

Unicorn looks for hooks at each access only in code that was translated while there was one, and
stops within a block only at an instruction that has a hook. So all code runs hooked while a
watchpoint is set, which is slow; without one nothing is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from unicorn import unicorn_const as uc


@dataclass(frozen=True, slots=True)
class Watchpoint:
    """A comparator: addresses from `start` up to `end`, reads or writes or both."""

    index: int
    start: int
    end: int
    reads: bool
    writes: bool


class Watchpoints:
    """The watchpoints of one core; `matched` gets the indices of comparators that match."""

    def __init__(self, engine: Any, matched: set[int]) -> None:
        self._engine = engine
        self._matched = matched
        self._hooks: list[int] = []
        #: Whether one has matched in this run.
        self.hit = False

    def set(self, wanted: Iterable[Watchpoint]) -> None:
        """Replace the watchpoints; the core stands still."""
        wanted = list(wanted)
        if not wanted and not self._hooks:
            return
        for hook in self._hooks:
            self._engine.hook_del(hook)
        self._hooks.clear()
        for point in wanted:
            kind = uc.UC_HOOK_MEM_READ if point.reads else 0
            kind |= uc.UC_HOOK_MEM_WRITE if point.writes else 0
            # An access may begin before the range.
            self._hooks.append(
                self._engine.hook_add(kind, self._on_access, point, point.start - 3, point.end - 1)
            )
        if self._hooks:
            self._hooks.append(self._engine.hook_add(uc.UC_HOOK_CODE, self._on_instruction))
        self._engine.ctl_flush_tb()

    def _on_access(
        self, _engine: Any, _kind: int, address: int, size: int, _value: int, point: Watchpoint
    ) -> None:
        if address < point.end and point.start < address + size:
            self._matched.add(point.index)
            self.hit = True

    def _on_instruction(self, *_details: Any) -> None:
        if self.hit:
            self._engine.emu_stop()
