"""The device's counters against each other and against time that is not the device's."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from harness import protocol
from harness.capture.clock import HOST, check_clock, read_time
from harness.capture.console import Console
from harness.errors import ClockError, CounterError
from harness.testing import FakeDevice, FakePort

HZ = 216_000_000


@dataclass
class Time:
    """A stopwatch that the test moves; the fake device's counters follow it."""

    seconds: float = 100.0
    waited: list[float] = field(default_factory=list)
    busy: int = 0  # that many times the host comes late

    def now(self) -> float:
        self.seconds += 0.5 if self.busy > 0 else 0.001
        self.busy -= 1
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.seconds += seconds


class Device(FakeDevice):
    """A device with a crystal, a timer and a counter that can each be wrong."""

    def __init__(
        self, time: Time, *, crystal: float = 1, counter: float = 1, ticks: float = 1
    ) -> None:
        super().__init__()
        self.time, self.rates = time, (crystal * counter, crystal * ticks)

    def answer(self, command: bytes) -> bytes:
        if command != b"hil-time":
            return super().answer(command)
        cycles, ticks = (round(self.time.seconds * rate * HZ) for rate in self.rates)
        fields = {"cycles": cycles, "ticks": ticks // 216 % 2**32, "counter": cycles % 2**32}
        return protocol.encode_line("time", 0, fields) + b"m-ready\r\n"


def check(time: Time, device: FakeDevice, *, fallback: bool = False) -> None:
    console = Console(FakePort(device), where="desk")
    first = read_time(console, time)
    check_clock(console, time, first, clock_hz=HZ, fallback=fallback, thorough=True)


@pytest.mark.parametrize("crystal", [1, 1.0024, 0.9976])
def test_a_good_clock_passes_after_a_wait_that_makes_the_bracket_narrow(crystal: float) -> None:
    time = Time()
    check(time, Device(time, crystal=crystal))
    assert 0.1 < sum(time.waited) < 10


@pytest.mark.parametrize(
    ("crystal", "says"), [(1.005, "fast"), (0.995, "slow"), (2, "fast"), (0.5, "slow")]
)
def test_a_clock_that_is_off_by_half_a_per_cent_is_found(crystal: float, says: str) -> None:
    time = Time()
    with pytest.raises(ClockError, match=says):
        check(time, Device(time, crystal=crystal))


@pytest.mark.parametrize("late", [2, 5, 8])
def test_a_busy_host_reads_again_until_it_knows_the_clock(late: int) -> None:
    time = Time(busy=late)
    with pytest.raises(ClockError, match=r"2\.0% fast"):
        check(time, Device(time, crystal=1.02))
    good = Time(busy=late)
    check(good, Device(good))


def test_the_internal_oscillator_may_be_off_by_more() -> None:
    time = Time()
    check(time, Device(time, crystal=1.01), fallback=True)
    with pytest.raises(ClockError):
        check(time, Device(time, crystal=1.05), fallback=True)


@pytest.mark.parametrize(
    ("rates", "says"),
    [
        ({"counter": 0}, "counter stands still"),
        ({"ticks": 0}, "timer stands still"),
        ({"counter": 0.5}, "108.0. MHz"),
    ],
)
def test_counters_that_disagree_are_named(rates: dict[str, float], says: str) -> None:
    time = Time()
    with pytest.raises(CounterError, match=says):
        check(time, Device(time, **rates))


def test_the_timer_may_wrap() -> None:
    time = Time(seconds=2**32 / 1e6 - 0.001)
    check(time, Device(time))


def test_the_host_s_clock_moves() -> None:
    before = HOST.now()
    HOST.wait(0.01)
    assert HOST.now() > before


class SlowPort(FakePort):
    """A line on which each byte takes its time, both ways."""

    def __init__(self, device: FakeDevice, time: Time, byte_s: float) -> None:
        super().__init__(device)
        self.time, self.byte_s = time, byte_s

    @property
    def in_waiting(self) -> int:
        return 0  # so that bytes are read one by one

    def write(self, data: bytes) -> int:
        self.time.seconds += len(data) * self.byte_s
        return super().write(data)

    def read(self, size: int = 1) -> bytes:
        data = super().read(size)
        self.time.seconds += len(data) * self.byte_s
        return data


def test_time_on_the_line_does_not_widen_the_bracket() -> None:
    byte_s = 10 / 115_200
    wide, narrow = Time(), Time()
    for time, known in ((wide, 0.0), (narrow, byte_s)):
        console = Console(SlowPort(Device(time), time, byte_s), where="desk")
        first = read_time(console, time, byte_s=known)
        assert first.before - 1e-6 < first.time.cycles / HZ < first.after
        check_clock(console, time, first, clock_hz=HZ, fallback=False, thorough=True, byte_s=known)
    # 0.9 ms less for each command; the first byte counts either way.
    assert sum(narrow.waited) < 0.7 * sum(wide.waited)
