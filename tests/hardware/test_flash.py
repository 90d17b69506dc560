"""Flash: every station is programmed with a small endless loop."""

from __future__ import annotations

import random
import struct
from pathlib import Path

from harness.bench import Station, check, station_lock
from harness.boards import load_board
from harness.flash import open_target


def image(path: Path, station: Station, seed: int) -> Path:
    board = load_board(station.board)
    start = board.flash.origin
    data = struct.pack("<IIHH", board.ram_regions[0].origin + 0x1000, start + 9, 0xE7FE, 0xBF00)
    data += random.Random(seed).randbytes(50_000)
    program = struct.pack("<8I", 1, 84, start, start, len(data), len(data), 5, 4)
    counts = (52, 32, 1, 40, 0, 0)
    header = struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, start, 52, 0, 0x0500_0000, *counts)
    path.write_bytes(b"\x7fELF" + bytes([1, 1, 1]) + bytes(9) + header + program + data)
    return path


def test_station_is_ready(station: Station) -> None:
    with station_lock(station):
        findings = check(station, load_board(station.board))
    assert {finding.level for finding in findings} == {"ok"}, findings


def test_program_verify_and_run(station: Station, tmp_path: Path) -> None:
    board = load_board(station.board)
    with station_lock(station), open_target(station, board) as target:
        first = target.program(image(tmp_path / "a.elf", station, 1))
        assert first.bytes_total > 0
        second = target.program(image(tmp_path / "b.elf", station, 2))
        assert second.sectors_erased >= 1
        third = target.program(tmp_path / "b.elf")
        assert third.sectors_erased == 0
        assert first.chip_uid == third.chip_uid
        target.reset_and_run()
        target.halt()
        assert target._session.target.read_core_register("pc") == board.flash.origin + 8
