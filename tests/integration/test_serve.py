"""Stock tools use a served virtual board from another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.bench.port import open_port

FINDS_A_BOARD = """
import sys
import serial
from serial.tools import list_ports
from ids import LINKS

(port,) = [port for port in list_ports.comports(True) if (port.vid, port.pid) in LINKS]
with serial.Serial(port.device, 115200, timeout=10) as wire:
    wire.write(b"%")  # ends what was sent at the wrong rate
    wire.read_until(b"m-ready\\r\\n")
    wire.write(b"name%")
    print(sys.argv[1:], LINKS[port.vid, port.pid], wire.readline().decode().strip())
"""
Harness = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("virtual_board")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Serve a board in a process of its own."""
    command = [sys.executable, "-m", "harness", "virtual", "serve", "--port", "0", "--json"]
    command += ["--flash", str(tmp_path / "flash.bin")]
    notes = (tmp_path / "notes").open("w")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=notes, text=True)
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line.startswith("}"):
            break
    yield json.loads(text)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.stdout.close()
    notes.close()


def test_stock_pyocd_programs_it_and_a_terminal_talks_to_it(
    served: dict[str, Any], harness: Harness, tiny: Path, tmp_path: Path
) -> None:
    import serial

    elf = tmp_path / "firmware.elf"
    assert harness("build", tiny, "-o", elf).code == 0
    with serial.Serial(served["console"], served["baud"], timeout=0.2) as terminal:
        probe = ("-u", served["probe"], "-t", served["target"])
        flashed = subprocess.run(
            [sys.executable, "-m", "pyocd", "flash", *probe, str(elf)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert flashed.returncode == 0, flashed.stderr
        _read_until(terminal, b"m-ready")
        terminal.write(b"name%")
        assert b"m-name-dut-[" in _read_until(terminal, b"m-ready")
        with closing(open_port(served["console_url"], served["baud"])) as far:
            far.timeout = 0.2
            far.write(b"name%")
            assert b"m-name-dut-[" in _read_until(far, b"m-ready")
            assert terminal.read(1) == b""  # silent meanwhile
    with serial.Serial(served["console"], 9600, timeout=0.2) as terminal:
        terminal.write(b"name%name%")
        assert b"m-" not in terminal.read(64)
    deadline = time.monotonic() + 20
    while "9600 baud, the firmware talks at 115" not in (tmp_path / "notes").read_text():
        assert time.monotonic() < deadline, (tmp_path / "notes").read_text()
        time.sleep(0.05)
    # A program that knows boards by their USB ids, as MLPerf Tiny's runner does.
    (tmp_path / "ids.py").write_text("LINKS = {(0x0483, 0x374B): 'ST-LINK'}\n")
    script = tmp_path / "finds.py"
    script.write_text(FINDS_A_BOARD)
    found = subprocess.run(
        [sys.executable, "-m", "harness", "virtual", "attach", served["console"], script, "--all"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == "['--all'] ST-LINK m-name-dut-[tinyml-harness]\n", found.stderr
    flash = Path(served["flash_file"]).read_bytes()
    assert len(flash) == 1 << 20 and flash[:4] != b"\xff" * 4


def test_pyocd_lists_the_virtual_boards(virtual_board: None) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "pyocd", "list", "--probes"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    for board in ("nucleo_f746zg", "nucleo_f767zi", "nucleo_f446re", "nucleo_l4r5zi"):
        assert f"virtual:{board}" in listed.stdout


def _read_until(terminal: Any, wanted: bytes, seconds: float = 20) -> bytes:
    seen = b""
    deadline = time.monotonic() + seconds
    while wanted not in seen and time.monotonic() < deadline:
        seen += terminal.read(64)
    assert wanted in seen, seen
    return seen
