"""Stations are a pool; virtual ones are not scarce, as every process has its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Harness = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("virtual_board")


def test_two_processes_measure_on_one_virtual_station_at_once(
    harness: Harness, tiny: Path, tmp_path: Path
) -> None:
    from harness.results import open_store

    assert harness("build", tiny, "-o", tmp_path / "firmware.elf").code == 0
    stores = [tmp_path / f"{name}.sqlite" for name in ("one", "two")]
    command = [sys.executable, "-m", "harness", "measure", str(tiny), "-s", "virtual-nucleo_f746zg"]
    command += ["--no-layers", "--db"]
    processes = [
        subprocess.Popen([*command, str(store)], cwd=tmp_path, stderr=subprocess.PIPE)
        for store in stores
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    rows = []
    for path in stores:
        with open_store(path) as store:
            rows += store.query()
    assert [row.status for row in rows] == ["valid", "valid"]
    assert rows[0].cycles == rows[1].cycles


def virtual(name: str, board: str, number: int = 1, tags: str = "") -> str:
    return (
        f'[[station]]\nname = "{name}"\nboard = "{board}"\nprobe = "virtual:{board}#{number}"\n'
        f'serial = "virtual://{board}#{number}"\ntags = [{tags}]\n'
    )


def write_campaign(folder: Path, pointwise: Callable[..., bytes], count: int, text: str) -> Path:
    names = []
    for index in range(count):
        names.append(f"net{index}.tflite")
        (folder / names[-1]).write_bytes(pointwise((8, 8 + 4 * index, 4), seed=index))
    file = folder / "c.toml"
    file.write_text(f'name = "c"\nmodels = {names}\n{text}\n[measure]\nlayers = false\n')
    return file


def test_a_campaign_spreads_over_six_stations(
    harness: Harness, pointwise: Callable[..., bytes], tmp_path: Path
) -> None:
    from harness.results import open_store

    desks = ["desk1", "desk2", "desk3"]
    others = ["nucleo_f767zi", "nucleo_f446re", "nucleo_l4r5zi"]
    stations = [virtual(name, "nucleo_f746zg", number) for number, name in enumerate(desks, 1)]
    stations += [virtual(board[7:], board) for board in others]
    (tmp_path / "bench.toml").write_text("\n".join(stations))
    boards = f"boards = {['nucleo_f746zg', *others]}"
    file = write_campaign(tmp_path, pointwise, 3, boards)
    answer = harness("run", file, "--bench", "bench.toml", "--db", "rows.sqlite", "--json")
    assert (answer.code, answer.json()["valid"]) == (0, 12), answer.err
    assert set(answer.json()["stations"]) == {*desks, *(board[7:] for board in others)}
    with open_store(tmp_path / "rows.sqlite") as store:
        found = [row for row in store.query() if row.board == "nucleo_f746zg"]
    assert {row.station for row in found} == set(desks)
    # Three chips, and one result whichever of them measures: the jobs are the board's.
    assert len({row.chip_uid for row in found}) == 3
    (tmp_path / "bench.toml").write_text(virtual("another", "nucleo_f746zg", 7))
    file.write_text(file.read_text().replace(boards, 'boards = ["nucleo_f746zg"]'))
    again = harness("run", file, "--bench", "bench.toml", "--db", "rows.sqlite", "--json")
    assert (again.code, again.json()["measured_before"]) == (0, 3), again.err


def test_every_station_measures_everything_and_tags_choose_among_them(
    harness: Harness, pointwise: Callable[..., bytes], tmp_path: Path
) -> None:
    board = "nucleo_f746zg"
    stations = [virtual("a", board, 1, '"lab"'), virtual("b", board, 2, '"lab", "hot"')]
    (tmp_path / "bench.toml").write_text("\n".join([*stations, virtual("c", board, 3)]))
    file = write_campaign(tmp_path, pointwise, 2, f'boards = ["{board}"]\nevery_station = true')
    plan = ("run", file, "--bench", "bench.toml", "--dry-run", "--json")
    jobs = harness(*plan).json()
    assert [job["stations"] for job in jobs] == ["a", "b", "c"] * 2
    assert len({job["key"] for job in jobs}) == 6
    assert [job["stations"] for job in harness(*plan, "--tag", "lab").json()] == ["a", "b"] * 2
    shared = harness(*plan, "--tag", "lab", "--any-station").json()
    assert [job["stations"] for job in shared] == ["a, b"] * 2
    pinned = harness(*plan, "--any-station", "-s", "c", "-s", "a").json()
    assert [job["stations"] for job in pinned] == ["c, a"] * 2
    # A station that is named does not make another job.
    assert [job["key"] for job in pinned] == [job["key"] for job in shared]
    missing = harness(*plan, "--tag", "cold")
    assert missing.code == 3 and "and tag 'cold'" in missing.err


def test_two_processes_on_one_store_count_each_job_once(
    pointwise: Callable[..., bytes], tmp_path: Path
) -> None:
    """They do not know of each other: neither doubles a row, nor calls the other's its own."""
    from harness.results import open_store

    count = 6
    file = write_campaign(tmp_path, pointwise, count, 'boards = ["nucleo_f746zg"]')
    (tmp_path / "bench.toml").write_text(virtual("desk", "nucleo_f746zg"))
    with open_store(tmp_path / "rows.sqlite"):
        pass
    command = [sys.executable, "-m", "harness", "run", str(file), "--bench", "bench.toml"]
    processes = [
        subprocess.Popen(
            [*command, "--db", "rows.sqlite", "--out", name, "--json"],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    one, two = (json.loads(out) for out, _ in outputs)
    with open_store(tmp_path / "rows.sqlite") as store:
        assert len([row for row in store.query() if row.usable]) == count
    for mine, theirs in ((one, two), (two, one)):
        assert mine["valid"] + mine["measured_before"] + mine["measured_elsewhere"] == count
        assert mine["valid"] == theirs["measured_before"] + theirs["measured_elsewhere"]


@pytest.mark.parametrize(("faults", "agreed"), [("", True), ("?faults=rate:460800", False)])
def test_a_faster_console_is_agreed_upon_or_given_up(
    harness: Harness, tiny: Path, tmp_path: Path, faults: str, agreed: bool
) -> None:
    from harness.results import open_store

    (tmp_path / "bench.toml").write_text(
        '[[station]]\nname = "desk"\nboard = "nucleo_f446re"\nprobe = "virtual:nucleo_f446re"\n'
        f'serial = "virtual://nucleo_f446re{faults}"\nbaud = 921600\n'
    )
    store = tmp_path / "rows.sqlite"
    arguments = ("--bench", "bench.toml", "--db", store, "--boots", 2, "--board", "nucleo_f446re")
    answer = harness("measure", tiny, "-s", "desk", *arguments)
    assert answer.code == 0, answer.err
    with open_store(store) as opened:
        (found,) = opened.query()
        row = opened.get(found.key)
    assert row.status == "valid"
    # A port on which it failed is not asked again.
    assert row.raw_log.count("> hil-baud 921600%") == (2 if agreed else 1)
    assert ("> (the old rate)" in row.raw_log) is not agreed
    within = {name.partition(".")[2] for name in row.stage_seconds if name.startswith("run.")}
    assert within == {"boot", "upload", "inference", "answers", "layers", "clock", "check"}
    parts = sum(seconds for name, seconds in row.stage_seconds.items() if name.startswith("run."))
    assert parts == pytest.approx(row.stage_seconds["run"], abs=0.01)
