"""What every flashable station must do, on all virtual boards (tests/hardware has the real ones).

The images are made by hand: a vector table, an endless loop and random bytes.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.bench import Station, check, virtual_bench
from harness.boards import Board, all_boards, load_board
from harness.errors import BenchError, ProbeNotFound, TargetMismatch, VerifyError
from harness.flash import Target, flash, open_target
from harness.virtual.registry import discard_machine, get_machine
from support import needs

pytestmark = needs.emulator
EMULATED = [board for board in all_boards() if board.facts.emulation]


def station_of(board: Board) -> Station:
    return virtual_bench().station(f"virtual-{board.id}")


def program_bytes(board: Board, size: int, seed: int) -> bytes:
    """Return a vector table, ``b .`` at offset 8 and random filling."""
    start = board.flash.origin
    head = struct.pack("<IIHH", board.ram_regions[0].origin + 0x1000, start + 8 + 1, 0xE7FE, 0xBF00)
    return head + random.Random(seed).randbytes(size - len(head))


def write_elf(path: Path, *segments: tuple[int, bytes]) -> Path:
    offset, headers, content = 52 + 32 * len(segments), b"", b""
    for address, data in segments:
        fields = (1, offset + len(content), address, address, len(data), len(data), 5, 4)
        headers += struct.pack("<8I", *fields)
        content += data
    counts = (52, 32, len(segments), 40, 0, 0)
    header = struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, segments[0][0], 52, 0, 0x0500_0000, *counts)
    path.write_bytes(b"\x7fELF" + bytes([1, 1, 1]) + bytes(9) + header + headers + content)
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module", autouse=True)
def _off() -> Iterator[None]:
    """Switch the boards off in the end: what some tests leave in them runs in circles."""
    yield
    for found in EMULATED:
        discard_machine(found.id)


@pytest.fixture(params=EMULATED, ids=lambda board: board.id)
def board(request: pytest.FixtureRequest) -> Board:
    found: Board = request.param
    return found


@pytest.fixture
def target(board: Board) -> Iterator[Target]:
    with open_target(station_of(board), board) as opened:
        yield opened


def read_back(target: Target, address: int, size: int) -> bytes:
    return bytes(target._session.target.read_memory_block8(address, size))


def test_image_is_in_flash_and_runs(board: Board, target: Target, tmp_path: Path) -> None:
    start = board.flash.origin
    data = program_bytes(board, 40_001, seed=1)  # ends inside a word and a page
    elf = write_elf(tmp_path / "a.elf", (start, data))
    report = target.program(elf)
    assert report.bytes_total == len(data)
    assert report.bytes_programmed >= len(data)
    assert report.sectors_erased == sum(at < start + len(data) for at, _ in board.sectors())
    assert report.probe_id == f"virtual:{board.id}"
    assert len(report.chip_uid) == 8 * board.facts.chip.uid_words
    assert read_back(target, start, len(data)) == data
    target.reset_and_run()
    target.halt()
    pc = target._session.target.read_core_register("pc")
    assert pc == start + 8


def test_only_sectors_that_differ_are_written(board: Board, target: Target, tmp_path: Path) -> None:
    (first, first_size), (second, second_size) = list(board.sectors())[:2]
    head = program_bytes(board, first_size, seed=2)
    old, new = bytes(range(256)) * 16, bytes(reversed(range(256))) * 16
    target.program(write_elf(tmp_path / "a.elf", (first, head), (second, old)))
    target.reset_and_run()
    report = target.program(write_elf(tmp_path / "b.elf", (first, head), (second, new)))
    assert report.sectors_erased == 1
    assert report.bytes_programmed <= second_size
    assert report.bytes_unchanged == first_size
    assert read_back(target, second, len(new)) == new
    again = target.program(tmp_path / "b.elf")
    assert (again.sectors_erased, again.bytes_programmed) == (0, 0)


# The pages of the L4+ are erased at one speed.
_PARALLEL = [b.id for b in EMULATED if b.family not in ("stm32l4", "nrf52")]


@pytest.mark.parametrize("board_id", _PARALLEL)
def test_sectors_are_erased_at_full_parallelism(board_id: str, tmp_path: Path) -> None:
    board = load_board(board_id)
    flashed: Any = get_machine(board.id).chip.flash
    before = flashed.erased_by.copy()
    content = program_bytes(board, 70_000, seed=8)
    report = flash(
        write_elf(tmp_path / "a.elf", (board.flash.origin, content)), station_of(board), board
    )
    assert set(flashed.erased_by - before) == {8 if board.family == "stm32h7" else 4}
    assert set(report.stages) == {"erase", "write", "verify"}
    assert 0 < sum(report.stages.values()) < report.seconds


@pytest.mark.parametrize("sticks", [False, True], ids=["cleared", "options-loaded"])
def test_a_chip_that_was_empty_runs_its_program(tmp_path: Path, sticks: bool) -> None:
    board = load_board("nucleo_l4r5zi")
    discard_machine(board.id)
    chip: Any = get_machine(board.id).chip
    chip.flash.empty_sticks = sticks
    assert chip.flash.starts_loader
    elf = write_elf(tmp_path / "a.elf", (board.flash.origin, program_bytes(board, 4096, seed=9)))
    with open_target(station_of(board), board) as target:
        target.reset_and_run()
        assert target.in_boot_loader()
        target.program(elf)
        target.reset_and_run()
        assert not target.in_boot_loader()
    assert not chip.flash.starts_loader


def test_last_sector_can_be_programmed(board: Board, target: Target, tmp_path: Path) -> None:
    data = random.Random(3).randbytes(1024)
    end = board.flash.end
    report = target.program(write_elf(tmp_path / "a.elf", (end - len(data), data)))
    assert report.sectors_erased == 1
    assert read_back(target, end - len(data), len(data)) == data


def test_flash_outlives_the_session(board: Board, tmp_path: Path) -> None:
    station = station_of(board)
    elf = write_elf(tmp_path / "a.elf", (board.flash.origin, program_bytes(board, 4096, seed=4)))
    assert flash(elf, station, board).bytes_total > 0
    assert flash(elf, station, board).sectors_erased == 0


def test_damage_is_found_by_verification(
    board: Board, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = board.flash.origin
    elf = write_elf(tmp_path / "a.elf", (start, program_bytes(board, 20_000, seed=5)))
    core = target._session.target
    honest = core.read_memory_block8

    def stuck_bit(address: int, size: int) -> list[int]:
        found = list(honest(address, size))
        if address <= start + 17_000 < address + size:
            found[start + 17_000 - address] ^= 1
        return found

    write = target._write

    def write_then_break(*arguments: object) -> object:
        done = write(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(core, "read_memory_block8", stuck_bit)
        return done

    monkeypatch.setattr(target, "_write", write_then_break)
    with pytest.raises(VerifyError) as caught:
        target.program(elf)
    assert caught.value.data["address"] == start + 17_000


def test_image_of_another_board_is_refused(board: Board, target: Target, tmp_path: Path) -> None:
    elf = write_elf(tmp_path / "a.elf", (board.flash.end, bytes(16)))
    with pytest.raises(TargetMismatch, match="outside the flash"):
        target.program(elf)
    # Nothing was touched, so the session goes on.
    target.reset_and_run()


def test_station_with_another_chip_is_refused() -> None:
    station = station_of(load_board("nucleo_f767zi"))
    with (
        pytest.raises(TargetMismatch, match="0x451"),
        open_target(station, load_board("nucleo_f746zg")),
    ):
        pass


def test_missing_probe_names_those_that_are_there() -> None:
    board = load_board("nucleo_f746zg")
    gone = Station(name="gone", board=board.id, probe="066DFF4855", serial="/dev/null")
    with pytest.raises(ProbeNotFound) as caught, open_target(gone, board):
        pass
    assert "virtual:nucleo_f746zg" in caught.value.data["seen"]
    assert caught.value.exit_code == 3


def test_emulated_chip_cannot_pass_for_hardware() -> None:
    board = load_board("nucleo_f746zg")
    # A part of the id finds the virtual probe, but makes the station look like a real one.
    posing = Station(name="posing", board=board.id, probe="nucleo_f746zg", serial="/dev/null")
    assert posing.source == "hardware"
    with pytest.raises(TargetMismatch, match="emulated"), open_target(posing, board):
        pass


def test_part_of_several_probe_ids_is_refused() -> None:
    board = load_board("nucleo_f746zg")
    vague = Station(name="vague", board=board.id, probe="nucleo_f7", serial="/dev/null")
    with pytest.raises(ProbeNotFound, match="matches 2 probes"), open_target(vague, board):
        pass


def test_unknown_virtual_board_names_those_that_are_there() -> None:
    board = load_board("nucleo_f746zg")
    wrong = Station(name="w", board=board.id, probe="virtual:nucleo_g4", serial="/dev/null")
    with pytest.raises(ProbeNotFound) as caught, open_target(wrong, board):
        pass
    assert "virtual:nucleo_f767zi" in caught.value.data["seen"]


def test_unknown_kind_of_probe() -> None:
    board = load_board("nucleo_f746zg")
    odd = Station(name="odd", board=board.id, probe="teleport:1", serial="/dev/null")
    with pytest.raises(ProbeNotFound, match="teleport"), open_target(odd, board):
        pass


def test_lost_probe_is_typed_and_ends_the_session(
    board: Board, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyocd.core import exceptions

    elf = write_elf(tmp_path / "a.elf", (board.flash.origin, program_bytes(board, 4096, seed=6)))

    def pulled_out(*_: object, **__: object) -> None:
        raise exceptions.ProbeDisconnected("no device")

    with monkeypatch.context() as patch:
        patch.setattr(target._session.target, "write_memory_block32", pulled_out)
        with pytest.raises(ProbeNotFound, match="disconnected"):
            target.program(elf)
    with pytest.raises(BenchError, match="already failed"):
        target.program(elf)


def test_bench_check_is_all_green(board: Board) -> None:
    findings = check(station_of(board), board)
    assert [finding.level for finding in findings] == ["ok", "ok", "ok"], findings


def test_a_core_that_pyocd_cannot_set_up_is_tried_once_more_under_reset(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.errors import VirtualError
    from harness.virtual.core.debugger import Debugger

    read, upsets = Debugger.read, []

    def upset(self: Debugger, address: int, count: int) -> bytes:
        if address == 0xE000_ED00 and not upsets:
            # What runs stops on an error while pyOCD reads CPUID: it logs that and goes on.
            upsets.append(address)
            raise VirtualError("the firmware went wild")
        return read(self, address, count)

    monkeypatch.setattr(Debugger, "read", upset)
    with open_target(station_of(board), board) as target:
        # With a core that is half set up this ends in pyOCD's KeyError.
        target.reset_and_run()
        target.halt()
        target._session.target.reset_and_halt()
    assert upsets
