"""A package with a backbone of its own, as installed: sample, predict, measure, fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.own_backbone import ROOT, install

Run = Callable[..., str]

CAMPAIGN = """
name = "own"
seed = 7
boards = ["nucleo_f746zg"]
[[backbones]]
name = "own"
samples = 12
max_working_memory_bytes = 26000
[measure]
repeats = 1
layers = false
[fit]
predictor = "layers"
"""
# The command line, where importing TensorFlow fails.
_MAIN = "import sys; sys.modules['tensorflow'] = None; from harness.cli import main; main()"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return the command line of a process that has the package installed."""
    folder = tmp_path_factory.mktemp("own")
    path = os.pathsep.join([str(ROOT), str(install(folder))])

    def command(*arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-c", _MAIN, *map(str, arguments)],
            cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    (folder / "own.toml").write_text(CAMPAIGN)
    return command


def predicted(run: Run, architecture: dict[str, Any]) -> Any:
    decisions = json.dumps(architecture["decisions"])
    network = ("--backbone", "own", "--decisions", decisions)
    return json.loads(run("predict", *network, "--board", "nucleo_f746zg", "--json"))[0]


def test_it_is_listed_sampled_and_written_without_tensorflow(run: Run) -> None:
    assert "residual networks" in run("sample")
    rows = json.loads(run("sample", "own", "-n", 2, "--out", "models", "--json"))
    assert [row["architecture"]["backbone"] for row in rows] == ["own", "own"]
    assert [Path(row["path"]).suffix for row in rows] == [".tflite"] * 2


def test_it_is_predicted(run: Run) -> None:
    row = json.loads(run("sample", "own", "-n", 1, "--json"))[0]
    found = predicted(run, row["architecture"])
    assert found["latency_us"] > 0
    assert sum(layer["macs"] for layer in found["layers"]) == row["macs"]


@pytest.mark.usefixtures("virtual_board")
def test_it_is_measured_and_fitted_by_a_campaign(run: Run) -> None:
    run("run", "own.toml")
    rows = json.loads(run("results", "--json"))
    assert [row["status"] for row in rows] == ["valid"] * 12
    assert all(row["bit_exact"] for row in rows)
    assert predicted(run, rows[0]["architecture"])["latency_us"] == pytest.approx(
        rows[0]["latency_us"], rel=0.2
    )
    assert '"own"' in run("fit", "--backbone", "own", "--out", "fits", "--json")
