"""A virtual board that waits as a real one does."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import serial

from harness.virtual.core import pace
from support.board import Bench, power_on

_SLOW = 200  # cycles of each block, so that a real board would take long for little


def test_virtual_time_does_not_pass_the_host_s_and_cycles_stay(tiny_f746: Path) -> None:
    machine = power_on("nucleo_f746zg", block_cycles=lambda code, address: _SLOW)
    try:
        bench = Bench(machine)
        bench.load(tiny_f746)
        free = bench.ask(b"t")
        machine.core.set_pace(True)
        before, began = machine.now(), time.monotonic()
        for _ in range(10):
            assert bench.ask(b"t") == free
        passed = machine.now() - before
        assert passed > 1.5  # of which the emulator computes for a fraction
        # Ahead by what it computes from one look at the time to the next, and no more.
        assert passed <= time.monotonic() - began + 0.8
        assert machine.core.paced
        machine.core.set_pace(False)
        assert bench.ask(b"t") == free
    finally:
        machine.close()


def test_a_board_that_was_late_does_not_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    now, cycles, moved = 100.0, 0, 7
    monkeypatch.setattr(pace.time, "monotonic", lambda: now)
    kept = pace.Pace(
        pace.Work(lambda: cycles, lambda: 0.001), pace.Work(lambda: moved, lambda: 0.01)
    )
    now, cycles = 101.0, 1500
    assert kept.ahead() == pytest.approx(0.5)
    now = 110.0
    assert kept.ahead() == 0
    cycles, moved = cycles + 200, moved + 5
    assert kept.ahead() == pytest.approx(0.25)


def test_the_url_sets_the_pace() -> None:
    from harness.virtual.registry import discard_machine, get_machine

    if "harness.virtual.ports.serialurl" not in serial.protocol_handler_packages:
        serial.protocol_handler_packages.append("harness.virtual.ports.serialurl")
    board = "nucleo_f746zg"
    try:
        with serial.serial_for_url(f"virtual://{board}?pace=real#2"):
            assert get_machine(board, 2).core.paced
            assert not get_machine(board).core.paced
        with serial.serial_for_url(f"virtual://{board}#2"):
            assert not get_machine(board, 2).core.paced
        uids = {get_machine(board, number).chip.uid for number in (1, 2)}
        assert len(uids) == 2
        with pytest.raises(serial.SerialException, match="the only pace is 'real'"):
            serial.serial_for_url(f"virtual://{board}?pace=slow")
        with pytest.raises(serial.SerialException, match="no board's number"):
            serial.serial_for_url(f"virtual://{board}#two")
    finally:
        discard_machine(board)
        discard_machine(board, 2)


def test_erasing_takes_as_long_as_the_sectors_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.virtual.chip.peripherals import flash

    slept: list[float] = []
    monkeypatch.setattr(flash, "time", SimpleNamespace(sleep=slept.append))
    machine = power_on("nucleo_f746zg")
    try:
        machine.chip.flash.erase(0, 32 << 10, 0)
        assert slept == []
        machine.core.set_pace(True)
        machine.chip.flash.erase(0, 32 << 10, 0)
        machine.chip.flash.erase(0, 1 << 20, None)
        assert slept[0] == 0.2
        assert slept[-1] == pytest.approx(4 * 0.2 + 0.5 + 3 * 1.0)
    finally:
        machine.close()
