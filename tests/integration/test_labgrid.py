"""A station that is a place of labgrid, against labgrid's own coordinator and exporter."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import serial

from harness.bench import load_bench, station_lock
from harness.bench.port import open_port
from harness.bench.serve import serve_console
from harness.errors import BenchError, StationLocked

Harness = Callable[..., Any]
Client = Callable[..., subprocess.CompletedProcess[str]]
_START_S = 30


@pytest.fixture
def labgrid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Run a coordinator and an exporter of a console that echoes; return labgrid's client."""
    tools = [f"labgrid-{name}" for name in ("client", "coordinator", "exporter")]
    if not all(map(shutil.which, tools)):
        pytest.skip("labgrid is not on the PATH (enable with `pipx install labgrid`)")
    with closing(socket.create_server(("localhost", 0))) as free:
        place = f"localhost:{free.getsockname()[1]}"
    monkeypatch.setenv("LG_COORDINATOR", place)

    def client(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["labgrid-client", "-p", "desk", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with ExitStack() as stack:
        port = stack.enter_context(
            serve_console(lambda: closing(serial.serial_for_url("loop://")), "localhost", 0)
        )
        exported = tmp_path / "exporter.yaml"
        exported.write_text(f"g:\n  NetworkSerialPort: {{host: localhost, port: {port}}}\n")
        for command in (
            ["labgrid-coordinator", "-l", place],
            ["labgrid-exporter", "-c", place, "-n", "lab", "--hostname", "localhost", exported],
        ):
            log = stack.enter_context((tmp_path / f"{command[0]}.log").open("w"))
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            _until(lambda: client("places").returncode == 0)
        _until(lambda: client("create").returncode == 0 or "exists" in client("create").stderr)
        client("set-tags", "board=nucleo_f446re", "probe=remote:localhost:5555")
        client("add-match", "lab/g/NetworkSerialPort")
        _until(lambda: "Matching resource" in client("show").stdout)
        yield client


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_place_is_imported_acquired_used_and_released(
    labgrid: Client, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = harness("bench", "import", "labgrid")
    assert answer.code == 0, answer.err
    (station,) = load_bench().stations
    assert (station.board, station.serial) == ("nucleo_f446re", "labgrid://desk")

    with pytest.raises(BenchError, match="not acquired"):
        open_port(station.serial)
    with station_lock(station), closing(open_port(station.serial)) as port:
        assert "acquired: None" not in labgrid("show").stdout
        port.timeout = 5
        port.write(b"hello")
        assert port.read(5) == b"hello"
    assert "acquired: None" in labgrid("show").stdout

    # What its user has acquired by hand stays so.
    labgrid("acquire")
    with station_lock(station):
        pass
    assert "acquired: None" not in labgrid("show").stdout
    monkeypatch.setenv("LG_USERNAME", "ann")
    with pytest.raises(StationLocked, match="acquired by"), station_lock(station):
        raise AssertionError("it was not refused")
    assert harness("bench", "check").code == 3
