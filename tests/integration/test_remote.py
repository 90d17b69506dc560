"""Measure on a board that another process serves, as on one of another host."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.results import open_store

Harness = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("virtual_board")
BOARD = "nucleo_f746zg"
STATION = f'[[station]]\nname = "desk"\nboard = "{BOARD}"\nprobe = "virtual:{BOARD}"\n'


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Serve a virtual board in a process of its own; return it and the lines for bench.toml."""
    bench = tmp_path / "served.toml"
    bench.write_text(STATION + f'serial = "virtual://{BOARD}?timing=issue"\n')
    command = [sys.executable, "-m", "harness", "bench", "serve", "desk", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--bench", str(bench)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    text = ""
    while not text.endswith('emulated = "issue"\n'):
        line = process.stdout.readline()
        assert line, text
        text += line
    yield process, text
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, -signal.SIGKILL)
    process.stdout.close()


def test_a_served_board_is_found_checked_and_measured_as_emulated(
    host: tuple[subprocess.Popen[str], str], harness: Harness, tiny: Path, tmp_path: Path
) -> None:
    from harness.bench import load_bench

    (tmp_path / "bench.toml").write_text(host[1])
    station = load_bench(tmp_path / "bench.toml").station("desk")
    found = harness("bench", "discover", "--remote", station.probe, "--out", "found.toml")
    assert found.code == 0, found.err
    assert load_bench(tmp_path / "found.toml").stations == (station,)
    checked = harness("bench", "check", "--json")
    assert checked.code == 0, checked.out
    assert "an emulated stm32f746zgt6" in checked.out

    # Whoever forgets the key gets no row that says hardware.
    (tmp_path / "wrong.toml").write_text(host[1].replace('emulated = "issue"\n', ""))
    store = tmp_path / "rows.sqlite"
    arguments = ("measure", tiny, "-s", "desk", "--no-layers", "--db", store)
    refused = harness(*arguments, "--bench", "wrong.toml")
    assert refused.code == 1
    assert "counts as hardware, but its chip is emulated" in refused.err
    assert harness("bench", "check", "--bench", "wrong.toml").code == 3

    assert harness(*arguments).code == 0
    local = tmp_path / "local.toml"
    local.write_text(STATION + f'serial = "virtual://{BOARD}?timing=issue"\n')
    assert harness(*arguments, "--bench", local, "--db", tmp_path / "local.sqlite").code == 0
    rows = []
    for path in (store, tmp_path / "local.sqlite"):
        with open_store(path) as opened:
            rows += [row for row in opened.query() if row.usable]
    far, near = rows
    assert (far.source, far.timing_model) == ("emulated", near.timing_model)
    assert far.cycles == near.cycles


def test_a_host_that_is_killed_costs_a_campaign_its_station_and_nothing_else(
    host: tuple[subprocess.Popen[str], str], tmp_path: Path, pointwise: Callable[..., bytes]
) -> None:
    process, text = host
    (tmp_path / "bench.toml").write_text(text)
    for index in range(3):
        (tmp_path / f"net{index}.tflite").write_bytes(pointwise((8, 8 + 4 * index), seed=index))
    names = ", ".join(f'"net{index}.tflite"' for index in range(3))
    (tmp_path / "campaign.toml").write_text(
        'name = "far"\nseed = 1\nstations = ["desk", "virtual-nucleo_f746zg"]\n'
        f"models = [{names}]\n[measure]\nrepeats = 1\nlayers = false\n"
    )
    database = tmp_path / "rows.sqlite"

    def rows(station: str) -> list[Any]:
        if not database.is_file():
            return []
        with open_store(database) as store:
            return [row for row in store.query() if row.station == station and row.usable]

    command = [sys.executable, "-m", "harness", "run", "campaign.toml", "--db", str(database)]
    run = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while run.poll() is None and not rows("desk"):
        time.sleep(0.05)
    process.kill()
    _, told = run.communicate(timeout=100)
    assert run.returncode == 3, told
    assert "station desk failed" in told
    assert len(rows("virtual-nucleo_f746zg")) == 3
    assert 1 <= len(rows("desk")) < 3
