"""Compile generated models for the host and compare them with TFLM's wheel."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.models.graph import TFLiteModel
from harness.runtimes import GeneratedSources

# CMSIS-NN's headers have a branch for compilers that are not for Arm; this macro selects it.
_HOST_FLAGS = ("-std=gnu11", "-O1", "-fPIC", "-w", "-D__GNUC_PYTHON__", "-D__RESTRICT=__restrict")


class HostRunner:
    """Builds one shared library per model around kernel objects that are compiled once."""

    def __init__(self, compiler: str, folder: Path) -> None:
        self._compiler = compiler
        self._folder = folder
        self._objects: dict[str, list[Path]] = {}
        self._count = 0

    def run(self, sources: GeneratedSources, inputs: list[np.ndarray]) -> list[bytes]:
        """Run two inferences and return the outputs of the second."""
        library = ctypes.CDLL(str(self._link(sources)))
        library.model_input.restype = ctypes.c_void_p
        library.model_output.restype = ctypes.c_void_p
        assert library.model_setup() == 0
        for _ in range(2):
            for i, value in enumerate(inputs):
                assert library.model_input_bytes(i) == value.nbytes
                ctypes.memmove(library.model_input(i), value.tobytes(), value.nbytes)
            assert library.model_invoke() == 0
        return [
            ctypes.string_at(library.model_output(i), library.model_output_bytes(i))
            for i in range(library.model_output_count())
        ]

    def _link(self, sources: GeneratedSources) -> Path:
        self._count += 1
        folder = self._folder / f"model{self._count}"
        for name, content in sources.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        own = [folder / name for name in sources.files]
        target = folder / "model.so"
        includes = [f"-I{path}" for path in sources.include_dirs]
        objects = self._kernels(sources, includes)
        self._call(*_HOST_FLAGS, "-shared", *includes, *own, *objects, "-o", target)
        return target

    def _kernels(self, sources: GeneratedSources, includes: list[str]) -> list[Path]:
        if sources.kernels not in self._objects:
            folder = self._folder / sources.kernels
            folder.mkdir()
            clock = folder / "clock.c"
            clock.write_text(
                "#include <stdint.h>\nuint64_t bench_cycles(void)"
                "{ static uint64_t now; return now += 7; }\n"
            )
            objects = []
            for path in (*sources.library_sources, clock):
                objects.append(folder / f"{path.stem}.o")
                self._call(*_HOST_FLAGS, *includes, "-c", path, "-o", objects[-1])
            self._objects[sources.kernels] = objects
        return self._objects[sources.kernels]

    def _call(self, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._compiler, *map(str, arguments)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> HostRunner:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no host C compiler; install gcc to run the generated code on this machine")
    return HostRunner(compiler, tmp_path_factory.mktemp("host"))


@pytest.fixture(scope="session")
def wheel() -> Callable[[TFLiteModel, list[np.ndarray]], list[bytes]]:
    package = pytest.importorskip(
        "tflite_micro", reason="install the extra 'reference' (PyPI: tflite-micro)"
    )
    runtime = package.runtime

    def run(model: TFLiteModel, inputs: list[np.ndarray]) -> list[bytes]:
        interpreter = runtime.Interpreter.from_bytes(model.content)
        for index, value in enumerate(inputs):
            interpreter.set_input(value, index)
        interpreter.invoke()
        return [
            np.asarray(interpreter.get_output(i)).tobytes() for i in range(len(model.graph.outputs))
        ]

    return run
