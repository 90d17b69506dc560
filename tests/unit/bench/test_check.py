from __future__ import annotations

import errno
import importlib
import os
from pathlib import Path

import pytest

from harness.bench import Station, check
from harness.bench.check import SeenChip, read_chip
from harness.bench.discovery import SeenProbe
from harness.bench.port import open_port, port_holders, serial_error
from harness.boards import load_board
from harness.errors import BenchError, SerialUnavailable

check_module = importlib.import_module("harness.bench.check")  # the function hides its module
BOARD = load_board("nucleo_f746zg")
STATION = Station(name="desk", board=BOARD.id, probe="066DFF11", serial="/dev/ttyACM0")
SEEN = [SeenProbe("066DFF11", "ST-LINK")]
REAL = SeenChip(0x1001_6449, emulated=False)


def no_serial(url: str) -> None:
    raise SerialUnavailable(f"no serial port '{url}'", fix="check the cable")


def test_all_is_well() -> None:
    findings = check(
        STATION,
        BOARD,
        probes=lambda _: SEEN,
        chip=lambda *_: REAL,
        open_serial=lambda _: None,
    )
    assert [f.level for f in findings] == ["ok", "ok", "ok"]
    assert "0x449" in findings[1].what


def test_every_trouble_has_a_fix() -> None:
    findings = check(
        STATION, BOARD, probes=lambda _: [], chip=lambda *_: REAL, open_serial=no_serial
    )
    assert [f.level for f in findings] == ["error", "error"]
    assert all(f.fix for f in findings)


def test_wrong_chip() -> None:
    findings = check(
        STATION,
        BOARD,
        probes=lambda _: SEEN,
        chip=lambda *_: SeenChip(0x451, False),
        open_serial=lambda _: None,
    )
    assert findings[1].level == "error"
    assert "0x451" in findings[1].what
    assert "desk" in str(findings[1].fix)


@pytest.mark.parametrize("emulated", [True, False])
def test_an_emulated_chip_is_never_taken_for_a_real_one_nor_the_reverse(emulated: bool) -> None:
    station = STATION.model_copy(update={"emulated": None if emulated else "issue"})
    findings = check(
        station,
        BOARD,
        probes=lambda _: SEEN,
        chip=lambda *_: SeenChip(0x449, emulated),
        open_serial=lambda _: None,
    )
    assert findings[1].level == "error"
    assert "emulated" in str(findings[1].fix)


def test_chip_that_does_not_answer_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyocd.core import exceptions

    class Silent:
        target: object
        closed = False

        def read32(self, address: int) -> int:
            raise exceptions.TransferError("no ACK")

        def close(self) -> None:
            self.closed = True

    session = Silent()
    session.target = session
    monkeypatch.setattr(check_module, "open_session", lambda probe, options: session)
    with pytest.raises(BenchError, match="does not answer"):
        read_chip(STATION, BOARD)
    assert session.closed


def test_serial_port_that_is_not_there() -> None:
    with pytest.raises(SerialUnavailable, match="no serial port") as caught:
        open_port("/dev/does-not-exist")
    assert caught.value.exit_code == 3


def test_serial_port_that_is_there_opens() -> None:
    open_port("loop://").close()


def test_serial_port_held_by_another_program() -> None:
    import pty

    import serial

    master, slave = pty.openpty()
    name = os.ttyname(slave)
    try:
        with serial.Serial(name, exclusive=True), pytest.raises(SerialUnavailable, match="held by"):
            open_port(name).close()
        open_port(name).close()
    finally:
        os.close(master)
        os.close(slave)


def test_serial_errors_by_cause() -> None:
    denied = serial_error("/dev/x", OSError(errno.EACCES, "Permission denied"))
    assert "dialout" in str(denied.fix)
    other = serial_error("bad://", ValueError("invalid URL"))
    assert "invalid URL" in other.what


def test_holders_are_found_in_proc(tmp_path: Path) -> None:
    device = tmp_path / "ttyACM0"
    device.touch()
    fds = tmp_path / "proc/4242/fd"
    fds.mkdir(parents=True)
    (fds / "3").symlink_to(device)
    (tmp_path / "proc/4242/cmdline").write_bytes(b"picocom\0/dev/ttyACM0\0")
    (tmp_path / "proc/77").mkdir()
    assert port_holders(str(device), tmp_path / "proc") == [(4242, "picocom /dev/ttyACM0")]
    assert port_holders(str(tmp_path / "none")) == []
