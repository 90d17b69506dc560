from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from harness.boards import all_boards, board_ids, load_board, read_manifest
from harness.boards.stm32 import stm32_facts
from harness.errors import EXIT_USAGE, BoardError
from harness.paths import data_dir
from harness.strict import to_json


def manifest() -> dict[str, Any]:
    return json.loads((data_dir("boards") / "nucleo_f746zg.json").read_text())


def write(folder: Path, data: dict[str, Any]) -> Path:
    path = folder / "my_board.json"
    path.write_text(json.dumps(data))
    return path


def test_every_shipped_board_loads() -> None:
    nucleos = {f"nucleo_{name}" for name in ("f746zg", "f767zi", "f446re", "l4r5zi", "h743zi")}
    assert {*nucleos, "nrf52840_dk"} <= set(board_ids())
    assert len(all_boards()) == len(board_ids())


def test_facts_of_the_f746zg() -> None:
    board = load_board("nucleo_f746zg")
    assert board.clock_hz == 216_000_000
    assert (board.flash.bytes, board.ram_bytes) == (1 << 20, 320 << 10)
    assert [size >> 10 for _, size in board.sectors()] == [32, 32, 32, 32, 128, 256, 256, 256]
    assert stm32_facts(board).clock.apb1_hz == 54_000_000


def test_facts_of_the_l4r5zi() -> None:
    board = load_board("nucleo_l4r5zi")
    assert board.clock_hz == 120_000_000
    assert (board.flash.bytes, board.ram_bytes) == (2 << 20, 640 << 10)
    assert {size for _, size in board.sectors()} == {4096}
    clock = stm32_facts(board).clock
    assert (clock.reference, clock.reference_hz) == ("lse", 48_000_000)
    assert board.facts.chip.device_id == 0x470


def test_facts_of_the_h743zi() -> None:
    board = load_board("nucleo_h743zi")
    assert board.clock_hz == 480_000_000 and board.facts.least_revision == 0x2000
    assert (board.flash.bytes, board.ram_bytes) == (2 << 20, 640 << 10)
    assert [region.name for region in board.arena_ram] == ["AXI_SRAM"]
    assert [region.name for region in board.data_ram] == ["DTCM"]
    assert (stm32_facts(board).clock.apb1_hz, board.facts.timer_hz) == (120_000_000, 240_000_000)
    assert board.facts.chip.id_address == 0x5C00_1000


def test_facts_of_the_nrf52840_dk() -> None:
    board = load_board("nrf52840_dk")
    assert (board.clock_hz, board.facts.clock.reference) == (64_000_000, "hfxo")
    assert (board.flash.origin, board.flash.bytes, board.ram_bytes) == (0, 1 << 20, 256 << 10)
    assert {size for _, size in board.sectors()} == {4096}
    assert (board.facts.baud(115_200), board.facts.baud(100_000)) == (115_108, None)


def test_unknown_board_suggests_the_near_miss() -> None:
    with pytest.raises(BoardError, match="did you mean 'nucleo_f746zg'") as caught:
        load_board("nucleo_f746zq")
    assert caught.value.exit_code == EXIT_USAGE


def test_a_name_never_becomes_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boards = tmp_path / "boards"
    boards.mkdir()
    (tmp_path / "secret.json").write_text(json.dumps(manifest()))
    monkeypatch.setenv("HARNESS_BOARDS", str(boards))
    with pytest.raises(BoardError, match="unknown board"):
        load_board("../secret")


def test_own_folder_of_boards_is_searched_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = manifest()
    data["name"] = "Mine"
    (tmp_path / "nucleo_f746zg.json").write_text(json.dumps(data))
    monkeypatch.setenv("HARNESS_BOARDS", str(tmp_path))
    assert load_board("nucleo_f746zg").name == "Mine"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("harness", "clok"), 1, r"unknown key 'clok' \(did you mean 'clock'\?\)"),
        (("harness", "clock", "sysclock_hz"), 1, "did you mean 'sysclk_hz'"),
        (("harness", "memory", 0, "orgin"), 1, "did you mean 'origin'"),
        (("harness", "memory", 0, "origin"), "zero", "expected an address"),
        (("harness", "clock", "sysclk_hz"), 200_000_000, "216000000 Hz"),
        (("harness", "flash_sectors", 0, "count"), 5, "add up to"),
        (("harness", "caches", "icache_bytes"), "4 KB", "icache_bytes"),
        (("harness", "memory", 4, "bytes"), 300_000, "overlap"),
        (("build", "cpu"), "cortex-m4", "build.cpu is 'cortex-m4'"),
        (("upload", "maximum_size"), 5, "upload.maximum_size is 5"),
        (("harnes",), {}, "did you mean 'harness'"),
        (
            ("harness", "family"),
            "stm32f8",
            r"unknown family 'stm32f8' \(did you mean 'stm32f7'\?\)",
        ),
        (("harness", "clock", "pll", "n"), 1, "pll.n"),
    ],
)
def test_a_wrong_manifest_is_refused_with_key_and_hint(
    tmp_path: Path, path: tuple[Any, ...], value: Any, message: str
) -> None:
    data = copy.deepcopy(manifest())
    inner: Any = data
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    with pytest.raises(BoardError, match=message) as caught:
        read_manifest(write(tmp_path, data))
    assert "my_board.json" in str(caught.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    data = manifest()
    data["harness"]["clok"] = 1
    del data["harness"]["core"]
    with pytest.raises(BoardError, match="2 problems") as caught:
        read_manifest(write(tmp_path, data))
    assert "clok" in str(caught.value) and "core" in str(caught.value)


def test_what_a_family_adds_is_part_of_a_boards_json() -> None:
    written = to_json(load_board("nucleo_f746zg"))
    assert written["facts"]["clock"]["pll"]["n"] == 216


def test_not_json(tmp_path: Path) -> None:
    path = tmp_path / "my_board.json"
    path.write_text("{")
    with pytest.raises(BoardError, match="not valid JSON"):
        read_manifest(path)


def test_platformio_reads_the_same_file(monkeypatch: pytest.MonkeyPatch) -> None:
    from platformio.platform.board import PlatformBoardConfig

    config = PlatformBoardConfig(str(data_dir("boards") / "nucleo_f746zg.json"))
    assert config.get("build.mcu") == "stm32f746zgt6"
    assert config.get_brief_data()["rom"] == load_board("nucleo_f746zg").flash.bytes
