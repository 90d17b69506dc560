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
