"""The public Python API, used as a notebook uses it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).parents[2]
SNIPPET = """
import harness

row: harness.Measurement = harness.measure("model.tflite", board="nucleo_f446re")
latency: float | None = row.latency_us
slow: list[str] = [layer.name for layer in row.layers if (layer.cycles or 0) > 1000]
frame = harness.rows(backbone="ds_cnn_kws", status=["valid", "degraded"])
mean: float = float(frame["latency_us"].mean())
fit: harness.Fit = harness.load_fit("fit.json")
low: float = fit.predict(ops=2e6).low
result: harness.CampaignResult = harness.run_campaign("x.toml", samples=4)
valid: int = result.summary.statuses["valid"]
names: list[str] = [station.name for station in harness.list_stations()]
clocks: dict[str, int] = {board.id: board.clock_hz for board in harness.list_boards()}
"""


def test_mypy_knows_every_type_of_it(tmp_path: Path) -> None:
    notebook = tmp_path / "notebook.py"
    notebook.write_text(SNIPPET)
    # The project's own settings and folder, so that mypy's cache serves.
    asked = subprocess.run(
        [sys.executable, "-m", "mypy", str(notebook)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr


@pytest.mark.usefixtures("virtual_board")
def test_a_model_is_measured_once_and_read_as_a_frame(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_DB", str(tmp_path / "rows.sqlite"))
    row = harness.measure(tiny, board="nucleo_f446re", repeats=2)
    assert (row.status, row.source, row.bit_exact) == ("valid", "emulated", True)
    assert harness.measure(tiny, board="nucleo_f446re", repeats=2).created_at == row.created_at
    again = harness.measure(tiny, station="virtual-nucleo_f446re", repeats=2, again=True)
    assert again.cycles == row.cycles

    frame = harness.rows(board="nucleo_f446re", status="valid")
    assert list(frame["key"]) == [row.key, row.key]
    assert frame["latency_us"].iloc[0] == row.latency_us
    cycles = [layer.cycles for layer in row.layers]
    assert list(harness.rows(layers=True)["cycles"]) == [*cycles, *cycles]


@pytest.mark.usefixtures("virtual_board")
def test_a_campaign_runs_and_says_what_it_did(
    tmp_path: Path, pointwise: Callable[..., bytes]
) -> None:
    for index in range(2):
        (tmp_path / f"net{index}.tflite").write_bytes(pointwise((8, 8 + 4 * index), seed=index))
    file = tmp_path / "two.toml"
    file.write_text(
        'name = "two"\nboards = ["nucleo_f746zg"]\nmodels = ["net0.tflite", "net1.tflite"]\n'
    )
    for skipped in (0, 2):
        result = harness.run_campaign(file, db=tmp_path / "rows.sqlite", out=tmp_path / "out")
        assert (result.summary.planned, result.summary.skipped) == (2, skipped)
        assert sorted(row.model_name for row in result.outcome.rows) == ["net0", "net1"]
    assert result.outcome.files["summary"].is_file()
    assert not (tmp_path / "results").exists()
