"""Let what may interrupt the core do so in time, and time pass while the core sleeps.

A source (`Source`) is asked only while it is armed, so that firmware without interrupts pays
nothing for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.virtual.chip.connections import Connections
from harness.virtual.chip.peripherals.nvic import Source
from harness.virtual.core.exceptions import Exceptions

if TYPE_CHECKING:
    from harness.virtual.chip.chip import Chip

_WFE, _SEV = (b"\x20\xbf", b"\xaf\xf3\x02\x80"), b"\x40\xbf"


class Events:
    """The sources of one chip, and what the core does at their deadlines."""

    def __init__(self, to: Connections, chip: Chip, exceptions: Exceptions) -> None:
        self._counter = to.counter
        self._console = to.console
        self._memory = to.memory
        self._clock = chip.clock
        self._nvic = chip.scs.nvic
        self._sources: tuple[Source, ...] = chip.sources
        self._exceptions = exceptions

    def service(self) -> None:
        """Take what is due, and set when the core is to stop next; it stands still.

        Raises:
            Lockup: An exception cannot be taken.
        """
        armed = [source for source in self._sources if source.armed]
        if not armed and not self._nvic.pending and not self._counter.timed:
            return
        self._advance(armed)
        self._exceptions.take_pending()
        masked = self._exceptions.masked() if self._nvic.ready else None
        due = self._due(armed)
        if due is not None or masked is not None:
            self._counter.watch_time(True)
        if self._counter.timed:
            self._counter.stop_at(due, masked)
        limit = None if due is None else self._seconds(due)
        self._console.limit_wait(limit, self._counter.address)

    def sleep(self, pc: int, wait: Callable[[float | None], bool]) -> bool:
        """Let time pass after a WFI or WFE, until something ends it.

        Args:
            pc: Where the core goes on.
            wait: Waits for input of the console, at most so many seconds (None: as long as it
                takes), and returns False when the core is to halt instead.

        Returns:
            Whether the core goes on; False when it is to halt.
        """
        before = self._memory.read(pc - 4, 4) or bytes(4)
        for_event = before.endswith(_WFE)
        if for_event and (self._exceptions.event or before[:2] == _SEV):
            self._exceptions.event = False
            return True
        while True:
            armed = [source for source in self._sources if source.armed]
            self._advance(armed)
            if self._exceptions.would_wake():
                return True
            due = self._due(armed)
            if due is None:
                if not wait(None):
                    return False
            elif not self._pass(due - self._counter.elapsed(), wait):
                return False

    def _pass(self, cycles: int, wait: Callable[[float | None], bool]) -> bool:
        """Let cycles pass: at the host's pace if someone at the console may end the sleep."""
        if self._console.on_input is not None and self._console.baud is not None:
            began = time.monotonic()
            going_on = wait(cycles / self._clock.hclk_hz)
            waited = round((time.monotonic() - began) * self._clock.hclk_hz)
            self._counter.let_pass(min(cycles, waited), asleep=True)
            return going_on
        self._counter.let_pass(cycles, asleep=True)
        return wait(0)

    def _advance(self, armed: list[Source]) -> None:
        timed = any(source.due() is not None for source in armed)
        now = self._counter.elapsed() if timed else 0
        for source in armed:
            source.advance(now)

    def _due(self, armed: list[Source]) -> int | None:
        return min((due for each in armed if (due := each.due()) is not None), default=None)

    def _seconds(self, due: int) -> float:
        return max(0, due - self._counter.elapsed()) / self._clock.hclk_hz
