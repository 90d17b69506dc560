from __future__ import annotations

import builtins
from pathlib import Path

import pytest

from harness.boards import load_board
from harness.errors import ResultsError
from harness.report import memory as parts
from harness.report.compare import arena_table, comparison_table, has_several
from harness.report.memory import split_memory
from harness.report.memory_plot import plot_memory, row_labels
from harness.testing import fake_failure, fake_measurement
from harness.testing.rows import key_of


def test_the_parts_add_up_to_what_the_board_has() -> None:
    board = load_board("nucleo_f746zg")
    for row in (
        fake_measurement(),
        fake_measurement(arena_min_bytes=17_000),
        fake_measurement(arena_min_bytes=16_000),
        fake_measurement(arena_parts=None),
        fake_measurement(arena_parts={}),
    ):
        split = split_memory(row)
        assert sum(split.sram.values()) == board.ram_bytes == split.sram_capacity
        assert sum(split.flash.values()) == board.flash.bytes == split.flash_capacity
        assert all(size > 0 for size in split.sram.values())


def test_the_verified_minimum_counts_and_its_excess_is_of_allocation() -> None:
    row = fake_measurement(arena_min_bytes=17_000)
    split = split_memory(row)
    assert split.sram[parts.INTERMEDIATE] == 15_000
    assert split.sram[parts.PERSISTENT] == 1_384
    assert split.sram[parts.TEMPORARY] == 616
    assert row.sram_bytes == 17_000 + 5_904 + 900


def test_an_arena_that_no_runtime_splits_is_one_part() -> None:
    split = split_memory(fake_measurement(arena_parts=None))
    assert split.sram[parts.ARENA] == 16_384
    assert parts.INTERMEDIATE not in split.sram


def test_nothing_is_filled_in() -> None:
    row = fake_measurement(ram_other_bytes=None, flash_port_bytes=None, board="unheard_of")
    split = split_memory(row)
    assert (dict(split.sram), dict(split.flash)) == ({}, {})
    assert (split.sram_capacity, split.flash_capacity, row.sram_bytes) == (None, None, None)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_plot_is_a_file_and_always_the_same(tmp_path: Path, suffix: str) -> None:
    rows = [fake_measurement(i, runtime=r) for i in range(2) for r in ("aot", "tflm")]
    first = plot_memory(rows, tmp_path / f"a{suffix}")
    assert first.read_bytes() == plot_memory(rows, tmp_path / f"b{suffix}").read_bytes()


def test_a_plot_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no row says how its memory"):
        plot_memory([fake_measurement(ram_other_bytes=None)], tmp_path / "a.png")
    with pytest.raises(ResultsError, match="41 rows"):
        plot_memory([fake_measurement(i) for i in range(41)], tmp_path / "a.png")
    with pytest.raises(ResultsError, match=r"'\.gif'"):
        plot_memory([fake_measurement()], tmp_path / "a.gif")


def test_labels_say_what_differs() -> None:
    rows = [fake_measurement(0), fake_measurement(0, runtime="tflm")]
    assert row_labels(rows) == ["kws-0\naot", "kws-0\ntflm"]
    assert row_labels(rows[:1]) == ["kws-0"]


def test_configurations_stand_side_by_side_by_model() -> None:
    rows = [
        fake_measurement(1, key=key_of("slow"), runtime="tflm", cycles=(9_000_000,) * 3),
        fake_measurement(0),
        fake_measurement(1, cycles=(3_000_000, 5_000_000, 4_500_000), arena_min_bytes=16_016),
        fake_failure(2),
    ]
    table = comparison_table(rows)
    assert table.title == "Comparison (emulated, nucleo_f746zg, cmsis_nn, -O2, 216 MHz)"
    lines = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(line["model"], line["runtime"], line["× best"]) for line in lines] == [
        ("kws-0", "aot", "1.00"),
        ("kws-1", "aot", "1.00"),
        ("kws-1", "tflm", "2.00"),
    ]
    assert lines[1]["cycles"] == "4,500,000"
    assert (lines[1]["arena min B"], lines[2]["arena min B"]) == ("16,016", "–")
    assert lines[0]["layers − total"] == "+0.000 %"
    assert has_several(rows) and not has_several(rows[1:3])


def test_arenas_stand_beside_what_was_verified_and_the_host_s() -> None:
    needed = {"arena_used_bytes": 2_580, "arena_min_bytes": 3_024, "arena_host_bytes": 3_984}
    table = arena_table([fake_measurement(1), fake_measurement(0, **needed), fake_failure(2)])
    lines = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [line["model"] for line in lines] == ["kws-0", "kws-1"]
    assert [lines[0][f"{name} B"] for name in ("used", "minimum", "host")] == [
        "2,580", "3,024", "3,984",
    ]  # fmt: skip
    assert (lines[0]["÷ used"], lines[0]["outputs"]) == ("1.172", "exact")
    assert (lines[1]["minimum B"], lines[1]["host B"]) == ("–", "–")


def test_sram_is_arena_and_overhead() -> None:
    row = fake_measurement(arena_min_bytes=3_024)
    assert row.sram_overhead_bytes == 5_904 + 900
    assert row.sram_bytes == 3_024 + 5_904 + 900
    assert fake_measurement(stack_bytes=None).sram_bytes is None


def test_the_package_loads_no_plotting(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: object) -> object:
        assert not name.startswith("matplotlib")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    comparison_table([fake_measurement()])
