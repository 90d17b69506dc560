"""What MLPerf Tiny's runner does on a port, its input files, and the results that they must have.

Sources, in mlcommons/tiny: benchmark/runner/device_under_test.py and script.py (the exchange),
benchmark/reference_submissions/*/submitter_implemented.cpp (results).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.models import TFLiteModel
from harness.models.mlperf import Benchmark, InputFormat
from harness.models.reference import run_reference

_CHUNK = 31  # bytes in one `db`


@dataclass(frozen=True)
class Inferences:
    """What `infer` answered."""

    results: list[str]
    elapsed_us: int


class Monitor:
    """The runner's end of a serial port."""

    def __init__(self, port: Any) -> None:
        self.port = port
        self.port.timeout = 0.1
        self._rest = b""

    def ask(self, command: str, seconds: float = 30.0) -> list[str]:
        """Send a command; return the lines before `m-ready`."""
        self.port.write(f"{command}%".encode())
        return self.lines(seconds)

    def lines(self, seconds: float = 30.0) -> list[str]:
        """Return the lines before the next `m-ready`; each must come within `seconds`."""
        lines: list[str] = []
        deadline = time.monotonic() + seconds
        while True:
            while b"\n" not in self._rest:
                assert time.monotonic() < deadline, (lines, self._rest)
                self._rest += self.port.read(max(1, self.port.in_waiting))
            line, self._rest = self._rest.split(b"\n", 1)
            deadline = time.monotonic() + seconds
            if line.strip() == b"m-ready":
                return lines
            lines.append(line.strip().decode())

    def load(self, data: bytes) -> None:
        assert self.ask(f"db load {len(data)}") == [f"m-[Expecting {len(data)} bytes]"]
        for start in range(0, len(data), _CHUNK):
            answer = self.ask(f"db {data[start : start + _CHUNK].hex()}")
        assert answer == ["m-load-done"]

    def infer(self, count: int = 1, warmups: int = 0) -> Inferences:
        *_, first, second, done, results = self.ask(f"infer {count} {warmups}")
        assert done == "m-infer-done"
        mark, head = "m-lap-us-", "m-results-["
        assert results.startswith(head) and results.endswith("]")
        elapsed = int(second.removeprefix(mark)) - int(first.removeprefix(mark))
        return Inferences(results[len(head) : -1].split(","), elapsed)


def input_files(benchmark: Benchmark, count: int, seed: int = 5) -> list[bytes]:
    """Return inputs in the benchmark's file format, from a seed: smooth pictures, noisy spectra."""
    rng = np.random.default_rng(seed)
    files = []
    for _ in range(count):
        if benchmark.format is InputFormat.UINT8:
            side = benchmark.input_shape[0]
            coarse = rng.integers(0, 256, (4, 4, 3)).astype(np.float64)
            picture = coarse.repeat(side // 4, 0).repeat(side // 4, 1)
            picture += rng.normal(0, 12, picture.shape)
            files.append(picture.clip(0, 255).astype(np.uint8).tobytes())
        elif benchmark.format is InputFormat.FP32:
            decibels = rng.normal(-20, 6, 640) + 10 * np.sin(np.arange(640) / 40)
            files.append(decibels.astype("<f4").tobytes())
        else:
            files.append(rng.normal(60, 25, 490).clip(-128, 127).astype(np.int8).tobytes())
    return files


def expected(model: TFLiteModel, benchmark: Benchmark, file: bytes) -> list[str]:
    """Return the results that the reference firmware prints for a file, with three decimals."""
    source, sink = model.graph.input_tensors()[0], model.graph.output_tensors()[0]
    if benchmark.format is InputFormat.INT8:
        data = file
    elif benchmark.format is InputFormat.UINT8:
        data = (np.frombuffer(file, np.uint8).astype(np.int16) - 128).astype(np.int8).tobytes()
    else:
        steps = (np.frombuffer(file, "<f4") / np.float32(source.scale)).astype(np.float64)
        rounded = np.trunc(steps + np.copysign(0.5, steps)) + source.zero_point
        data = rounded.clip(-128, 127).astype(np.int8).tobytes()
    output = np.frombuffer(run_reference(model, [data]).outputs[0], np.int8)
    real = (output.astype(np.int32) - sink.zero_point).astype(np.float32) * np.float32(sink.scale)
    if benchmark.format is not InputFormat.FP32:
        return [f"{value:.3f}" for value in real]
    total = np.float32(0)
    for difference in real - np.frombuffer(file, "<f4"):
        total += difference * difference
    return [f"{total / np.float32(real.size):.3f}"]
