"""Virtual stations are not scarce: every process has its own."""

from __future__ import annotations

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
