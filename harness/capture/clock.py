"""Check the device's clock and cycle counter against time that does not come from the device.

Both counters of the device are read twice, with time between the readings. The device's own two
must agree with each other, and with the host's clock: a crystal of another frequency, or a clock
tree that is set up wrongly, moves both alike. A reading happens at some moment between the command
and its answer, so a time between two readings is known within a bracket.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from harness import protocol
from harness.capture.console import Console
from harness.errors import ClockError, CounterError

# Together they make the 0.5 % that latencies are trusted to: how far clocks may be apart, and how
# wide the bracket around the host's time may be.
TOLERANCE = 0.0025
BRACKET = 0.0025
# The chips' internal oscillator; a row that used it is marked anyway.
_FALLBACK_TOLERANCE = 0.03
_TICKS = 3  # µs: each of two readings is a tick late at most, and takes a moment itself
_LEAST_S, _LONGEST_WAIT_S = 0.002, 10.0
_READINGS = 5  # at most, on a host that is too busy to see an answer when it comes


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Time that does not come from the device; a virtual board's passes without waiting."""

    now: Callable[[], float]  # seconds since some moment
    wait: Callable[[float], None]  # lets that many seconds pass
    # Identity of the model that counts an emulated board's cycles.
    timing_model: str | None = None


HOST = Stopwatch(time.monotonic, time.sleep)


@dataclass(frozen=True, slots=True)
class Reading:
    """Both counters, read between two moments of the stopwatch, in seconds."""

    before: float
    after: float
    time: protocol.Time

    @property
    def width(self) -> float:
        """Seconds within which the reading's moment is known."""
        return self.after - self.before


def read_time(console: Console, stopwatch: Stopwatch, *, byte_s: float = 0.0) -> Reading:
    """Ask the device for its counters; CaptureError without a checked answer.

    The device reads them after the last byte of the command and before the first of its answer, so
    that the time on the line does not widen the bracket.

    Args:
        console: The device.
        stopwatch: Time that is not the device's.
        byte_s: Seconds that a byte takes on the line at the least; 0 where it takes none.
    """
    garbled = console.garbled
    console.clock = stopwatch.now
    before = stopwatch.now()
    try:
        answer = console.ask_for(protocol.TIME, protocol.Time, what="the time")
    finally:
        console.clock = None
    after = stopwatch.now()
    sent = before + len(protocol.TIME) * byte_s
    plain = console.attempts == 1 and console.garbled == garbled
    if plain and console.arrived is not None and console.arrived - byte_s >= sent:
        return Reading(sent, console.arrived - byte_s, answer)
    return Reading(before, after, answer)


def check_clock(
    console: Console,
    stopwatch: Stopwatch,
    first: Reading,
    *,
    clock_hz: int,
    fallback: bool,
    thorough: bool,
    byte_s: float = 0.0,
) -> None:
    """Read the counters again and compare what passed since `first`, a reading of the same boot.

    Args:
        clock_hz: Clock that the device says it runs at.
        fallback: Whether that is its internal oscillator.
        thorough: Wait until the bracket is narrow enough; else the time that passed must do.
        byte_s: As for `read_time`.

    Raises:
        CounterError: The counter stands still, or does not count cycles of that clock.
        ClockError: The clock is another one than the device says.
    """
    if stopwatch.now() - first.after < _LEAST_S:
        stopwatch.wait(_LEAST_S)
    last = read_time(console, stopwatch, byte_s=byte_s)
    _compare_counters(first.time, last.time, clock_hz, console)
    for _ in range(_READINGS if thorough else 0):
        missing = (first.width + last.width) / BRACKET - (last.before - first.after)
        if missing <= 0:
            break
        if missing > 2 * last.width / BRACKET:  # the host was busy at the first reading
            first, missing = last, 2 * last.width / BRACKET
        stopwatch.wait(min(missing, _LONGEST_WAIT_S))
        last = read_time(console, stopwatch, byte_s=byte_s)
        _compare_counters(first.time, last.time, clock_hz, console)
    tolerance = _FALLBACK_TOLERANCE if fallback else TOLERANCE
    seconds = (last.time.cycles - first.time.cycles) / clock_hz
    shortest, longest = last.before - first.after, last.after - first.before
    if not shortest * (1 - tolerance) <= seconds <= longest * (1 + tolerance):
        off = seconds / ((shortest + longest) / 2) - 1
        raise console.failure(
            ClockError,
            f"the device counts {seconds:.4f} s at {clock_hz / 1e6:g} MHz while "
            f"{shortest:.4f} to {longest:.4f} s pass: its clock is {abs(off):.1%} "
            f"{'fast' if off > 0 else 'slow'}",
            expected=f"agreement within {tolerance:.2%}",
            fix="check the board's oscillator and 'hse_hz' in its manifest",
        )


def _compare_counters(
    first: protocol.Time, last: protocol.Time, clock_hz: int, console: Console
) -> None:
    cycles, ticks = last.cycles - first.cycles, (last.ticks - first.ticks) & 0xFFFF_FFFF
    expected = ticks * clock_hz / 1e6
    slack = _TICKS * clock_hz / 1e6
    if abs(cycles - expected) <= expected * TOLERANCE + slack:
        return
    if first.counter == last.counter and ticks:
        what = f"the cycle counter stands still at {last.counter} while {ticks} µs pass"
    elif not ticks:
        what = f"the timer stands still while the cycle counter counts {cycles}"
    else:
        what = (
            f"the cycle counter counts {cycles} in {ticks} µs, that is {cycles / ticks:.2f} MHz, "
            f"and the core should run at {clock_hz / 1e6:g} MHz"
        )
    raise console.failure(
        CounterError,
        what,
        expected="a counter that counts the core's cycles",
        fix="power-cycle the board; if it stays, no latency of this chip can be trusted",
    )
