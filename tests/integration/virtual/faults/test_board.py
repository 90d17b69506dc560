"""Faults on a running virtual board, seen from its console."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serial import SerialException

from support.needs import EMULATOR

pytest.importorskip("unicorn", reason=EMULATOR)

from harness.boards import load_board
from harness.virtual.faults import ProbeGone, parse_faults
from support.board import Bench, build_tiny, power_on

Line = Any


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(load_board("nucleo_f746zg"), tmp_path_factory.mktemp("firmware"))


@pytest.fixture
def faulty(elf: Path) -> Iterator[Callable[[str], Line]]:
    """Return a function that puts faults on a board that runs the tests' firmware."""
    machine = power_on("nucleo_f746zg")
    Bench(machine).load(elf)
    machine.console.close()

    def start(faults: str) -> Line:
        line = machine.faults.line(parse_faults(faults, seed="5"))
        assert line.open("test", 115200)
        return line

    start.machine = machine  # type: ignore[attr-defined]
    yield start
    machine.close()


def read(line: Line, seconds: float = 1.0) -> bytes:
    out = b""
    while data := line.read(4096, seconds, lambda: False):
        out += data
        seconds = 0.2
    return out


TEXT = b"abcdefghij" * 400


def echo(line: Line) -> bytes:
    line.write(b"e" + TEXT + b"%")
    return read(line)


def test_a_plan_without_faults_changes_nothing(faulty: Any) -> None:
    assert echo(faulty("")) == TEXT + b"\r\n"


def test_bytes_get_lost_garbled_and_doubled_in_the_same_places_every_time(faulty: Any) -> None:
    for kind, sizes in (
        ("drop", range(3900, 4001)),
        ("garble", range(4002, 4003)),
        ("duplicate", range(4003, 4100)),
    ):
        wire = [faulty(f"{kind}:0.005")._to_host.carry(TEXT + b"\r\n")]
        faulty.machine.console.close()
        faulty.machine.faults.line(None)  # sound again: the next plan begins anew
        wire.append(faulty(f"{kind}:0.005")._to_host.carry(TEXT + b"\r\n"))
        faulty.machine.console.close()
        assert wire[0] == wire[1] != TEXT + b"\r\n"
        assert len(wire[0]) in sizes
        assert faulty.machine.faults.injector.counts[kind] > 5


def test_both_directions_are_damaged(faulty: Any) -> None:
    line = faulty("garble:0.003")
    to_board = line._to_board.carry(TEXT)
    assert to_board != TEXT and to_board != line._to_host.carry(TEXT)


def test_delayed_bytes_come_late_and_whole(faulty: Any) -> None:
    line = faulty("delay:0.0005")
    line.write(b"e" + TEXT + b"%")
    out = b""
    silences = 0
    while len(out) < len(TEXT) + 2:
        data = line.read(4096, 0.3, lambda: False)
        silences += not data
        out += data
    assert out == TEXT + b"\r\n" and silences


def test_a_port_vanishes_and_comes_back_at_the_second_opening(faulty: Any) -> None:
    line = faulty("vanish:0.002")
    line.write(b"e" + TEXT + b"%")
    with pytest.raises(SerialException, match="disconnected"):
        while True:
            read(line)
    for use in (lambda: line.write(b"x"), lambda: line.in_waiting, line.discard_input):
        with pytest.raises(SerialException):
            use()
    line.close()
    with pytest.raises(SerialException, match="No such file"):
        line.open("test", 115200)
    assert line.open("test", 115200)


def test_a_dip_of_the_supply_resets_the_chip(faulty: Any) -> None:
    line = faulty("reset:0.001")
    assert read_until(line, b"ready\r\n", b"e" + TEXT + b"%")


def test_a_hang_lasts_until_a_reset(faulty: Any) -> None:
    line = faulty("hang:1")
    line.write(b"eone%")
    assert b"one\r\n" not in read(line, 0.3)
    faulty.machine.core.reset()
    assert read_until(line, b"ready\r\n")


def test_a_fault_is_taken_by_the_firmware_s_handler(faulty: Any) -> None:
    line = faulty("hardfault:1")
    assert read_until(line, b"fault pc=", b"eone%")


def test_a_probe_stays_away_until_it_is_opened_again(faulty: Any) -> None:
    faulty("probe:0.2")
    machine = faulty.machine
    with pytest.raises(ProbeGone):
        for _ in range(1000):
            machine.debugger.read(0x0800_0000, 4)
    with pytest.raises(ProbeGone):
        machine.debugger.write(0x2000_0000, b"abcd")
    machine.faults.injector.probe_opened()
    machine.faults.injector._accesses._left = 10
    assert len(machine.debugger.read(0x0800_0000, 4)) == 4


def test_a_sound_plan_ends_the_faults(faulty: Any) -> None:
    faulty("counter:stuck,clock:1.5,hse:off,caches:off,probe:1")
    machine = faulty.machine
    machine.console.close()
    machine.faults.line(None)
    assert machine.faults.injector is None
    assert (machine.chip.clock.drift, machine.chip.clock.reference_works) == (1.0, True)
    assert machine.chip.dwt.defect is None and machine.chip.scs.caches_work
    assert len(machine.debugger.read(0x0800_0000, 4)) == 4


def read_until(line: Line, wanted: bytes, command: bytes = b"") -> bool:
    if command:
        line.write(command)
    out = b""
    silences = 0
    while wanted not in out and silences < 50:
        data = line.read(4096, 0.2, lambda: False)
        silences += not data
        out += data
    return wanted in out
