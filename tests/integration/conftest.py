"""What the tests on the virtual board need: its packages, a compiler, small models."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli import main
from harness.models.synthetic import ModelWriter


@pytest.fixture(scope="session")
def virtual_board() -> None:
    """Skip where the emulator or the compiler is missing."""
    for name in ("unicorn", "numba", "capstone"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"no {name}: pip install 'tinyml-harness[virtual]'")
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc on PATH: python3 bootstrap.py setup")


@dataclass
class Answer:
    """What a command line gave."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def harness(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    """Run the command line in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Answer:
        capfd.readouterr()
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as done:
            code = int(done.code or 0)
        captured = capfd.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture(name="pointwise")
def pointwise_fixture() -> Callable[..., bytes]:
    """Return the function that makes chains of pointwise convolutions."""
    return pointwise


def pointwise(channels: Sequence[int], pixels: int = 4, seed: int = 1) -> bytes:
    """Return a chain of 1×1 convolutions with the given channel counts."""
    rng = np.random.default_rng(seed)
    writer = ModelWriter()
    inputs = writer.tensor((1, pixels, pixels, channels[0]), scale=0.5, name="input")
    current = inputs
    for index, (source, sink) in enumerate(pairwise(channels)):
        weights = writer.tensor(
            (sink, 1, 1, source),
            scale=[0.01] * sink,
            data=rng.integers(-127, 128, (sink, 1, 1, source)).astype(np.int8),
        )
        bias = writer.tensor(
            (sink,), "int32", scale=[0.005] * sink, data=np.zeros(sink, dtype=np.int32)
        )
        output = writer.tensor((1, pixels, pixels, sink), scale=0.5, name=f"conv{index}")
        writer.operator("CONV_2D", [current, weights, bias], [output], stride_w=1, stride_h=1)
        current = output
    return writer.finish([inputs], [current])


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Return a network of two pointwise convolutions that takes no time."""
    path = tmp_path / "tiny.tflite"
    path.write_bytes(pointwise((8, 12, 4)))
    return path
