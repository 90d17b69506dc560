"""Exceptions and interrupts as the core takes them, on all boards (ARMv7-M ARM B1.5, B3)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.boards import load_board
from harness.errors import VirtualError
from support.board import BOARDS, Bench, build_tiny, power_on


@pytest.fixture(scope="module", params=BOARDS)
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("firmware")
    elf = build_tiny(load_board(request.param), folder, "interrupts.c")
    machine = power_on(request.param)
    bench = Bench(machine)
    bench.load(elf)
    yield bench
    machine.close()


@pytest.mark.parametrize(
    ("command", "happened"),
    [
        pytest.param("2", "pt", id="PendSV at once"),
        pytest.param("3", "mpt", id="PRIMASK holds it back"),
        pytest.param("4", "mpnt", id="BASEPRI holds back what is no more urgent"),
        pytest.param("5", "abAct", id="preemption and tail-chaining"),
        pytest.param("g", "aAbct", id="sub-priorities do not preempt"),
        pytest.param("9", "mpt", id="WFI ends though PRIMASK holds the handler back"),
        pytest.param("d", "cucucu", id="compare and update of a timer"),
        pytest.param("f", "bt", id="an external line that software triggers"),
        pytest.param("b", "sent by interrupts.", id="transmission"),
        pytest.param("a%", "%", id="reception"),
        pytest.param("ahello%", "hello%", id="reception of more"),
        pytest.param("7", "121212++", id="threads with floating-point state"),
    ],
)
def test_exceptions_are_taken_in_order(bench: Bench, command: str, happened: str) -> None:
    assert bench.ask(command.encode()) == happened


def test_systick_keeps_its_period(bench: Bench) -> None:
    periods = [int(period, 16) for period in bench.ask(b"1").split()]
    # The loop that it interrupts is not divisible, so that a handler starts some cycles late.
    assert all(abs(period - 10_000) < 100 for period in periods), periods
    assert abs(sum(periods) - 30_000) < 100


def test_the_cycle_counter_stands_still_in_sleep_and_systick_does_not(bench: Bench) -> None:
    began = bench.machine.now()
    assert bench.ask(b"6") == "0000000100000005"
    slept = (bench.machine.now() - began) * bench.machine.board.clock_hz
    assert slept > 5_000_000


def test_countflag_tells_of_a_period_without_an_interrupt(bench: Bench) -> None:
    assert bench.ask(b"8") == "0000000100000000"


def test_cycles_do_not_depend_on_whether_time_is_watched(bench: Bench) -> None:
    bench.machine.core.reset()
    assert bench.line() == "ready"
    counter = bench.machine.cpu.counter
    plain = [bench.ask(b"t") for _ in range(2)]
    assert not counter.timed
    bench.ask(b"1")
    assert counter.timed
    assert [bench.ask(b"t") for _ in range(2)] == plain
    with bench.machine.core.paused():
        counter.idle()
        summed = counter.elapsed()
        counter.watch_time(False)
        assert counter.elapsed() == summed
        counter.watch_time(True)
        assert counter.elapsed() == summed


def test_firmware_that_polls_for_what_never_comes_is_told_so(bench: Bench) -> None:
    bench.machine.core.reset()
    assert bench.line() == "ready"
    began = bench.machine.now()
    bench.console.write(b"h")
    assert bench.line() == "ready"  # LSE is
    with pytest.raises(
        VirtualError, match=r"(?s)polled SCS_VTOR \(0xe000ed08\), bit 0,.* PC 0x0800"
    ):
        bench.line()
    assert bench.machine.now() - began > 1
    bench.machine.core.reset()
    assert bench.line() == "ready"


def test_sleep_does_not_end_by_a_look_at_the_time(bench: Bench) -> None:
    bench.console.write(b"ahel")
    for _ in range(5):
        bench.machine.now()
    assert bench.ask(b"lo%") == "hello%"
