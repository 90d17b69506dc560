"""Nested vectored interrupt controller: what is pending, enabled, and how urgent it is.

ARMv7-M ARM B3.4 (registers), B1.5.4 (priorities). Exceptions are told by their numbers; interrupt
n of the chip is exception 16 + n.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from harness.virtual.chip.bus import Master, Peripheral

NMI, HARD_FAULT, SVC, PENDSV, SYSTICK, FIRST = 2, 3, 11, 14, 15, 16
_FIXED = {NMI: -2, HARD_FAULT: -1}
_WORDS = 8  # of registers; those behind the chip's interrupts read as zero
_SHPR1, _IPR0 = 0xD18, 0x400


def priority_mask(bits: int) -> int:
    """Return the bits of a register of four priorities that a chip with so many bits each has."""
    return (0xFF << 8 - bits & 0xFF) * 0x0101_0101


class Source(Protocol):
    """A block of the chip that has deadlines or an interrupt line.

    Times are in core cycles since power-on.
    """

    @property
    def armed(self) -> bool:
        """Whether it may, as it is set up."""

    @property
    def running(self) -> bool:
        """Whether time alone changes what its registers read as."""

    def due(self) -> int | None:
        """Return when it is to be advanced at the latest; None for never."""

    def advance(self, now: int) -> None:
        """Drive its interrupt line, or make its exception pending, as it is to be at `now`."""


class Nvic:
    """Pending and enabled exceptions; its registers are the system control space's.

    Args:
        scs: System control space, which gets the registers.
        interrupts: How many the chip has.
        priorities: Bits that a register of four priorities has.
        changed: Called when an exception may have become ready to be taken.
        active: Returns the numbers of the active exceptions.
    """

    def __init__(
        self,
        scs: Peripheral,
        interrupts: int,
        priorities: int,
        changed: Callable[[], None],
        active: Callable[[], list[int]],
    ) -> None:
        self._scs = scs
        self._changed = changed
        self._active = active
        self._exist = ((1 << interrupts) - 1) << FIRST
        #: Bit n is about exception n.
        self.enabled = self.pending = 0
        self._lines = 0  # inputs that are high
        #: AIRCR.PRIGROUP.
        self.group = 0
        for word in range(_WORDS):
            for base, name, read, write in (
                (0x100, "ISER", self._read_enabled, self._enable),
                (0x180, "ICER", self._read_enabled, self._disable),
                (0x200, "ISPR", self._read_pending, self._pend),
                (0x280, "ICPR", self._read_pending, self._unpend),
            ):
                scs.add(
                    base + 4 * word, f"NVIC_{name}{word}",
                    read=partial(read, word), write=partial(write, word),
                )  # fmt: skip
            scs.add(0x300 + 4 * word, f"NVIC_IABR{word}", read=partial(self._read_active, word))
        for n in range(_WORDS * 8):
            there = range(4 * n, min(4 * n + 4, interrupts))
            writable = priorities & (1 << 8 * len(there)) - 1
            scs.add(_IPR0 + 4 * n, f"NVIC_IPR{n}", writable=writable, changed=changed)
        scs.add(0xF00, "STIR", write=self._trigger)

    def reset(self) -> None:
        """Disable everything; nothing is pending."""
        self.enabled = self.pending = self._lines = self.group = 0

    # For peripherals.

    def pend(self, number: int) -> None:
        """Make an exception pending."""
        self.pending |= 1 << number
        self._changed()

    def unpend(self, number: int) -> None:
        """Make an exception not pending."""
        self.pending &= ~(1 << number)

    def set_line(self, interrupt: int, high: bool) -> None:
        """Drive the input of an interrupt, which makes it pending as it rises."""
        bit = 1 << FIRST + interrupt
        if high and not self._lines & bit:
            self._lines |= bit
            self.pend(FIRST + interrupt)
        elif not high:
            self._lines &= ~bit

    def finished(self, number: int) -> None:
        """Note that the handler of an exception has returned: a line that is high pends again."""
        self.pending |= self._lines & 1 << number

    # For the core.

    @property
    def ready(self) -> int:
        """Exceptions that are pending and enabled."""
        return self.pending & (self.enabled | 0xFFFF)

    def first(self) -> int | None:
        """Return the most urgent exception that is pending and enabled, None without one."""
        ready = self.ready
        numbers = [n for n in range(ready.bit_length()) if ready >> n & 1] if ready else []
        return min(numbers, key=lambda n: (self.priority(n), n), default=None)

    def priority(self, number: int) -> int:
        """Return the priority of an exception, group and subpriority together."""
        if number in _FIXED:
            return _FIXED[number]
        at = _IPR0 + number - FIRST if number >= FIRST else _SHPR1 + number - 4
        return self._scs.values[at & ~3] >> 8 * (at & 3) & 0xFF

    def group_priority(self, priority: int) -> int:
        """Return the part of a priority that decides what preempts what."""
        return priority if priority < 0 else priority & ~((2 << self.group) - 1)

    # Registers.

    def _read_enabled(self, word: int, _master: Master) -> int:
        return self.enabled >> FIRST + 32 * word & 0xFFFF_FFFF

    def _read_pending(self, word: int, _master: Master) -> int:
        return self.pending >> FIRST + 32 * word & 0xFFFF_FFFF

    def _read_active(self, word: int, _master: Master) -> int:
        return sum(1 << n - FIRST for n in self._active() if n >= FIRST) >> 32 * word & 0xFFFF_FFFF

    def _enable(self, word: int, value: int, _master: Master) -> None:
        self.enabled |= value << FIRST + 32 * word & self._exist
        self._changed()

    def _disable(self, word: int, value: int, _master: Master) -> None:
        self.enabled &= ~(value << FIRST + 32 * word)

    def _pend(self, word: int, value: int, _master: Master) -> None:
        self.pending |= value << FIRST + 32 * word & self._exist
        self._changed()

    def _unpend(self, word: int, value: int, _master: Master) -> None:
        cleared = value << FIRST + 32 * word
        self.pending = self.pending & ~cleared | self._lines & cleared
        self._changed()

    def _trigger(self, value: int, _master: Master) -> None:
        self._pend(0, 1 << (value & 0x1FF), _master)
