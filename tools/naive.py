"""What a script without the harness's campaign would do: build, flash, read the port, in a loop.

One PlatformIO project that is written anew for each network, so that its kernels are compiled once;
`pio run`, `pyocd flash` and pyserial as anyone would call them, on a served virtual board.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import serial

from harness.backbones import get_backbone
from harness.boards import load_board
from harness.firmware import export_project
from harness.firmware.toolchain import ensure_toolchain, platformio_environment, prepare_core
from harness.models import read_model
from harness.runtimes import RuntimeOptions, get_runtime

_WAIT_S = 300


def seconds_per_network(
    board_id: str,
    backbone: str,
    *,
    networks: int,
    seed: int,
    repeats: int,
    warmup: int,
    folder: Path,
) -> list[float]:
    """Return the wall-clock seconds of each network; the first also compiles the kernels."""
    from harness.models.convert import convert_architecture

    found = []
    with _served(board_id) as board:
        for index in range(networks):
            start = time.perf_counter()
            architecture = get_backbone(backbone).sample(seed, index)
            content = convert_architecture(backbone, architecture.dumps(), seed)
            elf = _build(board_id, content, folder)
            command = ("-m", "pyocd", "flash", "-u", board["probe"], "-t", board["target"])
            _run(*command, str(elf))
            _infer(board["console"], repeats, warmup)
            found.append(time.perf_counter() - start)
    return found


@contextmanager
def _served(board_id: str) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "harness", "virtual", "serve", board_id, "--port", "0"]
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line.startswith("}"):
                break
        try:
            yield json.loads(text)
        finally:
            process.terminate()


def _build(board_id: str, content: bytes, folder: Path) -> Path:
    board, model = load_board(board_id), read_model(content, name="network")
    sources = get_runtime("aot").generate(model, RuntimeOptions(), board)
    export_project(board, model, sources, folder)
    environment = platformio_environment(prepare_core(None), ensure_toolchain())
    _run("-m", "platformio", "run", "-d", str(folder), environment=environment)
    return folder / ".pio" / "build" / board_id / "firmware.elf"


def _run(*arguments: str, environment: dict[str, str] | None = None) -> None:
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        env=environment or dict(os.environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=_WAIT_S,
    )


def _infer(console: str, repeats: int, warmup: int) -> None:
    """Run inferences by MLPerf Tiny's command."""
    with serial.Serial(console, 115200, timeout=_WAIT_S) as port:
        port.write(f"infer {repeats} {warmup}%".encode())
        while b"m-results" not in (line := port.readline()):
            if not line or line.startswith(b"e-"):
                raise RuntimeError(f"the board answers {line!r}")
