"""Shared fixtures: a cache of our own, the command line, small models, published ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from support import needs


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep tests away from the user's cache and bench; one cache for all, so kernels build once.

    Processes that share the tests have a cache each, because of its locks, but compile once.
    """
    folder = tmp_path_factory.mktemp("cache")
    if "PYTEST_XDIST_WORKER" in os.environ:
        _share_objects(folder, tmp_path_factory.getbasetemp().parent / "objects")
    names = ("HARNESS_CACHE", "HARNESS_BENCH", "HARNESS_LOCKS")
    saved = {name: os.environ.get(name) for name in names}
    os.environ["HARNESS_CACHE"] = str(folder)
    os.environ["HARNESS_LOCKS"] = str(folder / "locks")
    os.environ.pop("HARNESS_BENCH", None)
    yield folder
    for name, value in saved.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _share_objects(cache: Path, objects: Path) -> None:
    from harness.firmware.toolchain import platformio_core_dir

    objects.mkdir(exist_ok=True)
    place = platformio_core_dir(cache) / "objects"
    place.parent.mkdir(parents=True)
    place.symlink_to(objects, target_is_directory=True)


@pytest.fixture(scope="session")
def virtual_board() -> None:
    """Skip if the emulator or the compiler is missing."""
    if not needs.has_emulator:
        pytest.skip(needs.EMULATOR)
    if not needs.has_compiler:
        pytest.skip(needs.COMPILER)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the matplotlib figures that are written during the test, in order."""
    from matplotlib.figure import Figure

    written: list[Any] = []
    write = Figure.savefig

    def note(figure: Any, *args: Any, **options: Any) -> None:
        written.append(figure)
        write(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", note)
    return written


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
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest's workers may have one

    def run(*arguments: object) -> Answer:
        capfd.readouterr()
        from harness.cli import main

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
    import numpy as np

    from harness.testing import ModelWriter

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
