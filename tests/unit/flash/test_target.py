"""The session's errors and rules, against a pyOCD session that is made up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.bench import Station
from harness.boards import load_board
from harness.errors import (
    BenchError,
    FlashError,
    HarnessError,
    ProbeNotFound,
    TargetMismatch,
    VerifyError,
)
from harness.flash import Target, open_target
from harness.flash import target as target_module

BOARD = load_board("nucleo_f746zg")
STATION = Station(name="desk", board=BOARD.id, probe="066DFF", serial="/dev/ttyACM0")
MakeElf = Callable[..., Path]


class FakeChip:
    """Enough of a pyOCD target: a memory, a state, and an error to raise."""

    def __init__(self, device_id: int = 0x1001_6449) -> None:
        self.words = {0xE004_2000: device_id, 0x4002_3C14: 1 << 29}
        self.memory: dict[int, bytes] = {}
        self.halted = False
        self.failure: Exception | None = None
        self.cores: dict[int, object] = {}

    def _may_fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    def read32(self, address: int) -> int:
        self._may_fail()
        return self.words.get(address, address & 0xFFFF)

    def read_memory_block8(self, address: int, size: int) -> list[int]:
        self._may_fail()
        base = max(start for start in self.memory if start <= address)
        return list(self.memory[base][address - base : address - base + size])

    def reset(self) -> None:
        self._may_fail()

    def reset_and_halt(self) -> None:
        self._may_fail()
        self.halted = True

    def halt(self) -> None:
        self._may_fail()
        self.halted = True

    def resume(self) -> None:
        self.halted = False

    def is_halted(self) -> bool:
        return self.halted


class FakeSession:
    def __init__(self, chip: FakeChip) -> None:
        self.target = chip
        self.probe = type("Probe", (), {"unique_id": "066DFF485550"})()
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def make(chip: FakeChip) -> Target:
    return Target(FakeSession(chip), STATION, BOARD, deque(["info: last words"]))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Make `open_target` open a fake; record the options of every attempt."""

    def install(
        chip: FakeChip, *failures: HarnessError
    ) -> tuple[FakeSession, list[dict[str, Any]]]:
        session, attempts, left = FakeSession(chip), [], list(failures)

        def open_session(probe: str, options: dict[str, Any]) -> FakeSession:
            attempts.append(options)
            if left:
                raise left.pop(0)
            return session

        monkeypatch.setattr(target_module, "open_session", open_session)
        monkeypatch.setattr(target_module, "choose", lambda board, packs: f"x-{packs}")
        return session, attempts

    return install


def test_session_is_closed_at_the_end(opened: Callable[..., Any]) -> None:
    session, attempts = opened(FakeChip())
    with open_target(STATION, BOARD) as target:
        assert target.probe_id == "066DFF485550"
        assert session.closed == 0
    assert session.closed == 1
    assert attempts == [
        {"target_override": "x-True", "frequency": 4_600_000, "connect_mode": "halt"}
    ]


def test_wrong_chip_is_refused(opened: Callable[..., Any]) -> None:
    session, _ = opened(FakeChip(0x1001_6451))
    with pytest.raises(TargetMismatch, match="0x451") as caught, open_target(STATION, BOARD):
        pass
    assert "0x449" in str(caught.value)
    assert session.closed == 1


@pytest.mark.parametrize(
    ("board_id", "device", "options", "wanted"),
    [
        ("nucleo_f767zi", 0x1001_6451, 0x4002_3C14, "not in single-bank mode"),
        ("nucleo_l4r5zi", 0x100F_6470, 0x4002_2020, "not in dual-bank mode"),
    ],
)
def test_a_flash_with_other_sectors_is_refused(
    opened: Callable[..., Any], board_id: str, device: int, options: int, wanted: str
) -> None:
    chip = FakeChip(device)
    chip.words[options] = 0
    opened(chip)
    with pytest.raises(TargetMismatch, match=wanted), open_target(STATION, load_board(board_id)):
        pass


@pytest.mark.parametrize("revision", [0x1003, 0x2003])
def test_a_chip_too_old_for_the_clock_is_refused(opened: Callable[..., Any], revision: int) -> None:
    chip = FakeChip()
    chip.words[0x5C00_1000] = revision << 16 | 0x450
    opened(chip)
    session = open_target(STATION, load_board("nucleo_h743zi"))
    if revision == 0x2003:
        with session:
            return
    with pytest.raises(TargetMismatch, match=r"revision 0x1003.*not made for 480 MHz"), session:
        pass


def test_silent_chip_is_tried_once_under_reset(opened: Callable[..., Any]) -> None:
    _, attempts = opened(FakeChip(), BenchError("does not answer"))
    with open_target(STATION, BOARD):
        pass
    assert [a["connect_mode"] for a in attempts] == ["halt", "under-reset"]


def test_other_failures_to_open_are_not_tried_again(opened: Callable[..., Any]) -> None:
    _, attempts = opened(FakeChip(), ProbeNotFound("none"))
    with pytest.raises(ProbeNotFound) as caught, open_target(STATION, BOARD):
        pass
    assert len(attempts) == 1
    assert caught.value.data["log"] == []


def test_reset_and_run_leaves_the_core_running() -> None:
    chip = FakeChip()
    target = make(chip)
    target.halt()
    assert chip.halted
    target.reset_and_run()
    assert not chip.halted


def test_unique_id_is_24_digits(make_elf: MakeElf, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = FakeChip()
    base = BOARD.facts.chip.uid_address
    chip.words |= {base: 0x11, base + 4: 0x22334455, base + 8: 0xFFFFFFFF}
    chip.memory[0x0800_0000] = b"data"
    target = make(chip)
    monkeypatch.setattr(target, "_write", lambda image: ([], 0.0))
    report = target.program(make_elf((0x0800_0000, b"data")))
    assert report.chip_uid == "0000001122334455ffffffff"


def failures() -> Iterator[tuple[Exception, type[HarnessError], str]]:
    from pyocd.core import exceptions

    yield (
        exceptions.FlashEraseFailure("erase", address=0x0800_8000, result_code=1),
        FlashError,
        "erasing failed at 0x08008000",
    )
    yield (
        exceptions.FlashProgramFailure("program", address=0x0800_0400, result_code=1),
        FlashError,
        "writing failed at 0x08000400",
    )
    yield exceptions.FlashFailure("flash init timed out"), FlashError, "flash init timed out"
    yield exceptions.ProbeError("USB Error: pipe"), ProbeNotFound, "lost debug probe"
    yield exceptions.ProbeDisconnected("gone"), ProbeNotFound, "disconnected"
    yield exceptions.TransferFaultError(fault_address=0x2000_0000), FlashError, "0x20000000"
    yield exceptions.TransferTimeoutError("SWD"), FlashError, "stopped answering"
    yield TimeoutError("bare"), FlashError, "stopped answering"


@pytest.mark.parametrize("index", range(8))
def test_failures_while_programming_are_typed(make_elf: MakeElf, index: int) -> None:
    failure, kind, text = list(failures())[index]
    chip = FakeChip()
    target = make(chip)
    chip.failure = failure
    elf = make_elf((0x0800_0000, b"data"))
    with pytest.raises(HarnessError) as caught:
        target.program(elf)
    assert type(caught.value) is kind
    assert text in str(caught.value)
    assert caught.value.fix
    assert caught.value.data["log"] == ["info: last words"]
    assert caught.value.__cause__ is failure
    with pytest.raises(BenchError, match="already failed"):
        target.reset_and_run()
    target.close()
    target.close()


def test_bugs_are_not_dressed_up(make_elf: MakeElf) -> None:
    chip = FakeChip()
    target = make(chip)
    chip.failure = AttributeError("no such attribute")
    with pytest.raises(AttributeError):
        target.program(make_elf((0x0800_0000, b"data")))
    with pytest.raises(BenchError, match="already failed"):
        target.halt()


def test_images_are_checked_before_the_chip_is_touched(make_elf: MakeElf) -> None:
    chip = FakeChip()
    chip.failure = RuntimeError("touched")
    with pytest.raises(TargetMismatch):
        make(chip).program(make_elf((0x2000_0000, b"data")))


def test_verify_names_the_first_byte_that_differs(
    make_elf: MakeElf, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = FakeChip()
    data = bytes(range(256)) * 80  # more than one read
    chip.memory[0x0800_0000] = data[:18_000] + b"\xee" + data[18_001:]
    target = make(chip)
    monkeypatch.setattr(target, "_write", lambda image: ([], 0.0))
    with pytest.raises(VerifyError) as caught:
        target.program(make_elf((0x0800_0000, data)))
    assert caught.value.data["address"] == 0x0800_0000 + 18_000
    assert caught.value.data["found"] == 0xEE
    # The session is sound: the next image may go well.
    chip.memory[0x0800_0000] = data
    assert target.program(make_elf((0x0800_0000, data))).bytes_total == len(data)
