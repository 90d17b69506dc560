"""TIMER and RTC: counters up, with compare events.

nRF52840 Product Specification v1.7, chapters TIMER and RTC.
"""

from __future__ import annotations

from functools import partial

from harness.virtual.chip.bus import Master
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.nrf52.block import EVENTS, Tasks
from harness.virtual.chip.families.nrf52.clock import LFCLK_HZ, Clock
from harness.virtual.chip.peripherals.nvic import Nvic

_COMPARE, _SHORTS, _CC = 0x140, 0x200, 0x540
_MODE, _BITMODE, _PRESCALER = 0x504, 0x508, 0x510
_PCLK_HZ = 16_000_000
_CORE_HZ = 64_000_000
_BITS = (16, 8, 24, 32)  # by BITMODE
_TICK, _OVRFLW = 0x100, 0x104
# Base, interrupt and compare registers.
TIMERS = (
    (0x4000_8000, 8, 4), (0x4000_9000, 9, 4), (0x4000_A000, 10, 4), (0x4001_A000, 26, 6),
    (0x4001_B000, 27, 6),
)  # fmt: skip
RTCS = ((0x4000_B000, 11, 3), (0x4001_1000, 17, 4), (0x4002_4000, 36, 4))


class _Counter(Tasks):
    """Counts ticks since it was started; a source of interrupts (`Source`)."""

    def __init__(
        self, to: Connections, name: str, place: tuple[int, int, int], manual: str, nvic: Nvic
    ) -> None:
        base, interrupt, self._compares = place
        super().__init__(name, base, manual, nvic, interrupt)
        self._counter = to.counter
        # The count at the time `_since`, while it runs, and the ticks since then that it has been
        # looked at.
        self._count = self._since = self._seen = 0
        self._counts = False
        self.add_task(0x000, "START", self._start)
        self.add_task(0x004, "STOP", self._stop)
        self.add_events((_COMPARE + 4 * n, f"COMPARE{n}") for n in range(self._compares))
        for n in range(self._compares):
            self.add(_CC + 4 * n, f"CC{n}", changed=self._moved)
        self.before_write = self.look

    def reset(self) -> None:
        """Stop at zero."""
        super().reset()
        self._count = self._seen = 0
        self._counts = False

    # What the two kinds differ in.

    @property
    def _rate(self) -> tuple[int, int]:
        """Ticks and core cycles that take the same time."""
        raise NotImplementedError

    @property
    def _bits(self) -> int:
        raise NotImplementedError

    # As a source of interrupts.

    @property
    def running(self) -> bool:
        """Whether it counts."""
        return self._counts

    @property
    def armed(self) -> bool:
        """Whether it may interrupt."""
        return self._counts and bool(self.enabled)

    def due(self) -> int | None:
        """Return when the next event that interrupts happens, in core cycles."""
        ticks = self._to_event(self.enabled)
        if not self._counts or ticks is None:
            return None
        rate, cycles = self._rate
        return self._since + -(-(self._seen + ticks) * cycles // rate)

    def advance(self, now: int) -> None:
        """Let happen what has happened by now."""
        if self._counts:
            rate, cycles = self._rate
            self._pass(max(0, (now - self._since) * rate // cycles - self._seen))
        self.drive()

    def look(self) -> None:
        """Let happen what is due."""
        self.advance(self._counter.elapsed())

    # Counting.

    def _now(self) -> int:
        """Return the count as it was last looked at."""
        return (self._count + self._seen) & (1 << self._bits) - 1

    def _ticks_to(self, value: int) -> int:
        return (value - self._now() - 1) % (1 << self._bits) + 1

    def _to_event(self, wanted: int) -> int | None:
        """Return the ticks from the last look to the next of some events; None for none."""
        found = [
            self._ticks_to(self.values[_CC + 4 * n])
            for n in range(self._compares)
            if wanted >> 16 + n & 1 and self.values[_CC + 4 * n] < 1 << self._bits
        ]
        return min(found, default=None)

    def _pass(self, ticks: int) -> None:
        """Let ticks pass, and events with them."""
        every = (1 << self._compares) - 1 << 16
        while ticks:
            step = self._to_event(every)
            if step is None or step > ticks:
                break
            ticks -= step
            self._advance_count(step)
            for n in range(self._compares):
                if self.values[_CC + 4 * n] == self._now():
                    self._matched(n)
            if not self._counts:
                return
        self._advance_count(ticks)

    def _advance_count(self, ticks: int) -> None:
        self._seen += ticks

    def _matched(self, n: int) -> None:
        self.values[_COMPARE + 4 * n] = 1

    def _restart(self, count: int) -> None:
        self._count, self._seen, self._since = count, 0, self._counter.elapsed()
        self._counter.request_stop()

    def _moved(self) -> None:
        self._counter.request_stop()

    def interrupts_changed(self) -> None:
        """Look at the deadlines again."""
        super().interrupts_changed()
        self._counter.request_stop()

    def _start(self) -> None:
        if not self._counts:
            self._restart(self._now())
            self._counts = True

    def _stop(self) -> None:
        self._count, self._seen = self._now(), 0
        self._counts = False

    def _clear(self) -> None:
        self._restart(0)


class Timer(_Counter):
    """TIMER as a timer; as a counter of other blocks' events it is not modelled."""

    def __init__(self, to: Connections, number: int, nvic: Nvic) -> None:
        super().__init__(to, f"TIMER{number}", TIMERS[number], "TIMER", nvic)
        self.add_task(0x00C, "CLEAR", self._clear)
        self.add_task(0x010, "SHUTDOWN", self._stop)
        for n in range(self._compares):
            self.add_task(0x040 + 4 * n, f"CAPTURE{n}", partial(self._capture, n))
        self.add(_SHORTS, "SHORTS", writable=0x3F3F)
        self.add(_MODE, "MODE", refuse=(3, "counting of events"))
        self.add(_BITMODE, "BITMODE", writable=3)
        self.add(_PRESCALER, "PRESCALER", 4, writable=0xF)

    @property
    def _rate(self) -> tuple[int, int]:
        return _PCLK_HZ, _CORE_HZ << min(self.values[_PRESCALER], 9)

    @property
    def _bits(self) -> int:
        return _BITS[self.values[_BITMODE]]

    def _capture(self, n: int) -> None:
        self.values[_CC + 4 * n] = self._now()

    def _matched(self, n: int) -> None:
        super()._matched(n)
        shorts = self.values[_SHORTS]
        if shorts >> 8 + n & 1:
            self._stop()
        if shorts >> n & 1:
            self._count = -self._seen  # zero at this tick


class Rtc(_Counter):
    """RTC: 24 bits of the low-frequency clock."""

    def __init__(self, to: Connections, number: int, clock: Clock, nvic: Nvic) -> None:
        super().__init__(to, f"RTC{number}", RTCS[number], "RTC", nvic)
        self._clock = clock
        self._events = 0  # EVTEN; nothing is connected to them
        self.add_task(0x008, "CLEAR", self._clear)
        self.add_task(0x00C, "TRIGOVRFLW", lambda: self._restart(0xFF_FFF0))
        self.add_events(((_TICK, "TICK"), (_OVRFLW, "OVRFLW")))
        for offset, name in ((0x340, "EVTEN"), (0x344, "EVTENSET"), (0x348, "EVTENCLR")):
            self.add(
                offset, name, read=lambda _master: self._events, write=partial(self._route, name)
            )
        self.add(0x504, "COUNTER", writable=0, read=self._read_count)
        self.add(0x508, "PRESCALER", writable=0xFFF)

    @property
    def running(self) -> bool:
        """Whether it counts."""
        return self._counts and self._clock.lfclk_runs

    @property
    def _rate(self) -> tuple[int, int]:
        return LFCLK_HZ, self._clock.hclk_hz * (self.values[0x508] + 1)

    @property
    def _bits(self) -> int:
        return 24

    def _route(self, name: str, value: int, _master: Master) -> None:
        kept = {"EVTEN": 0, "EVTENSET": self._events, "EVTENCLR": self._events & ~value}[name]
        self._events = kept | (value if name != "EVTENCLR" else 0)

    def _read_count(self, _master: Master) -> int:
        self.look()
        return self._now()

    def _to_event(self, wanted: int) -> int | None:
        found = [super()._to_event(wanted)]
        if wanted >> (_OVRFLW - EVENTS) // 4 & 1:
            found.append(self._ticks_to(0))
        if wanted >> (_TICK - EVENTS) // 4 & 1:
            found.append(1)
        return min((ticks for ticks in found if ticks is not None), default=None)

    def _advance_count(self, ticks: int) -> None:
        if ticks:
            self.values[_TICK] = 1
            if ticks >= self._ticks_to(0):
                self.values[_OVRFLW] = 1
        super()._advance_count(ticks)
