"""Tasks, events and interrupts, which all of an nRF52's peripherals have alike.

nRF52840 Product Specification v1.7, "Peripheral interface": a task is a register that starts
something when a one is written to it, an event a register that reads as one until it is cleared.
The event at 0x100 + 4 n interrupts where bit n of INTEN is set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from harness.virtual.chip.bus import Master, Peripheral, read_zero
from harness.virtual.chip.peripherals.nvic import Nvic

BYTES = 0x1000  # of address space, for each
EVENTS = 0x100
_INTEN, _INTENSET, _INTENCLR = 0x300, 0x304, 0x308


class Tasks(Peripheral):
    """Base of the register blocks that have tasks and events."""

    def __init__(self, name: str, base: int, manual: str, nvic: Nvic, interrupt: int) -> None:
        super().__init__(name, base, f"nRF52840 PS, {manual}")
        self.size = BYTES
        self._nvic, self._interrupt = nvic, interrupt
        #: Events that interrupt, a bit each.
        self.enabled = 0
        self.add(_INTENSET, "INTENSET", read=self._read_enabled, write=self._enable)
        self.add(_INTENCLR, "INTENCLR", read=self._read_enabled, write=self._disable)

    def reset(self) -> None:
        """Clear events and interrupts."""
        super().reset()
        self.enabled = 0

    def add_task(self, offset: int, name: str, act: Callable[[], None]) -> None:
        """Declare a task, and what it does."""

        def write(value: int, _master: Master) -> None:
            if value & 1:
                act()

        self.add(offset, f"TASKS_{name}", read=read_zero, write=write)

    def add_events(self, events: Iterable[tuple[int, str]]) -> None:
        """Declare events."""
        for offset, name in events:
            self.add(
                offset, f"EVENTS_{name}", writable=1,
                read=partial(self._read_event, offset), changed=self.drive,
            )  # fmt: skip

    def add_inten(self) -> None:
        """Declare INTEN, which not all of them have."""

        def write(value: int, _master: Master) -> None:
            self.enabled = value
            self.interrupts_changed()

        self.add(_INTEN, "INTEN", read=self._read_enabled, write=write)

    def raise_event(self, offset: int) -> None:
        """Let an event happen."""
        self.values[offset] = 1
        self.drive()

    def drive(self) -> None:
        """Drive the interrupt."""
        high = any(self.enabled >> n & 1 and self.values.get(EVENTS + 4 * n, 0) for n in range(32))
        self._nvic.set_line(self._interrupt, high)

    def look(self) -> None:
        """Let happen what is due before an event is read."""

    def interrupts_changed(self) -> None:
        """Follow a change of the events that interrupt."""
        self.drive()

    def _read_event(self, offset: int, _master: Master) -> int:
        self.look()
        return self.values[offset]

    def _read_enabled(self, _master: Master) -> int:
        return self.enabled

    def _enable(self, value: int, _master: Master) -> None:
        self.enabled |= value
        self.interrupts_changed()

    def _disable(self, value: int, _master: Master) -> None:
        self.enabled &= ~value
        self.interrupts_changed()
