"""The whole chain: proof of the bench, a measurement, a campaign, and resets in the middle."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.bench import Station
from harness.capture.session import BoardSession

Run = Callable[..., Any]


@pytest.fixture
def networks(tmp_path: Path, pointwise: Callable[..., bytes]) -> list[Path]:
    """Return two networks of some milliseconds, so that a reset falls into a run of many."""
    paths = [tmp_path / f"{name}.tflite" for name in ("one", "two")]
    for path, channels in zip(paths, ((8, 24, 8), (8, 16, 8)), strict=True):
        path.write_bytes(pointwise(channels, pixels=16))
    return paths


def rows(path: Path) -> list[Any]:
    from harness.results import open_store

    with open_store(path) as store:
        return [store.get(row.key) for row in store.query()]


def test_the_bench_is_proved(on_station: Run, station: Station, tmp_path: Path) -> None:
    answer = on_station("bench", "prove", station.name, "--out", "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert answer.code == 0, [step for step in report["steps"] if step["status"] == "failed"]
    text = json.dumps(report)
    for private in (station.name, station.probe, station.serial, str(tmp_path)):
        assert private not in text
    steps = {step["name"]: step["facts"] for step in report["steps"]}
    assert all(network["bit_exact"] for network in steps["networks"]["networks"])
    assert 115_200 in steps["console"]["clean"]
    compared = steps.get("virtual board") or {}
    assert all(layer["ratio"] for layer in compared.get("layers", []) if layer["virtual_cycles"])
    if station.source == "emulated":
        assert compared["ratio"] == pytest.approx(1, abs=0.001)


def test_a_measurement(
    on_station: Run, station: Station, networks: list[Path], tmp_path: Path
) -> None:
    store = tmp_path / "rows.sqlite"
    answer = on_station(
        "measure", networks[0], "-s", station.name, "--db", store, "--verify-arena", "--boots", 2
    )
    assert answer.code == 0, answer.err
    (row,) = rows(store)
    assert (row.status, row.source, row.bit_exact) == ("valid", station.source, True)
    assert len(row.cycles) == 6 and max(row.cycles) < 1.01 * min(row.cycles)
    assert row.arena_min_bytes <= row.arena_capacity_bytes
    assert {"flash.erase", "run.boot", "run.upload", "run.inference"} <= set(row.stage_seconds)


def test_a_campaign_goes_on_after_a_reset_that_somebody_pulled(
    on_station: Run,
    station: Station,
    networks: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, pulled = BoardSession._cycles, threading.Event()

    def with_reset(self: Any, console: Any, plan: Any) -> tuple[int, ...]:
        if not pulled.is_set():
            pulled.set()
            threading.Timer(0.1, self._target._session.probe.reset).start()
        return run(self, console, plan)

    monkeypatch.setattr(BoardSession, "_cycles", with_reset)
    # One network: several on virtual stations are measured in processes of their own.
    (tmp_path / "c.toml").write_text(
        f'name = "hw"\nstations = ["{station.name}"]\nmodels = ["{networks[0]}"]\n'
        "[measure]\nwarmup = 1000\nrepeats = 3\n"
    )
    store = tmp_path / "rows.sqlite"
    answer = on_station("run", "c.toml", "--db", store)
    assert answer.code == 0, answer.err
    (row,) = rows(store)
    assert (row.status, row.bit_exact) == ("valid", True)
    assert "(attempt 1, error[reset]: the device was reset in the middle" in row.raw_log


def test_a_campaign(
    on_station: Run, station: Station, networks: list[Path], tmp_path: Path
) -> None:
    listed = ", ".join(f'"{path}"' for path in networks)
    (tmp_path / "c.toml").write_text(
        f'name = "hw"\nstations = ["{station.name}"]\nmodels = [{listed}]\n'
    )
    store = tmp_path / "rows.sqlite"
    answer = on_station("run", "c.toml", "--db", store)
    assert answer.code == 0, answer.err
    assert [(row.status, row.bit_exact) for row in rows(store)] == [("valid", True)] * 2
