"""MLPerf Tiny's benchmarks: which one a model is for, and what its input files hold.

Sources, in mlcommons/tiny: benchmark/evaluation/datasets/README.md (file formats), `th_load_tensor`
and `th_results` of benchmark/reference_submissions (what becomes of them),
benchmark/api/internally_implemented.h (names).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from harness.errors import ConfigError
from harness.models.graph import TFLiteModel, printable

NONE = "none"
"""Named instead of a benchmark: input files hold the model's own int8 values."""


class InputFormat(IntEnum):
    """What the bytes of an input file are; `build_format_t` in the firmware."""

    INT8 = 0  # the model's input as it is
    UINT8 = 1  # pixels: the device subtracts 128
    FP32 = 2  # little endian: the device quantises, and answers one mean squared error


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One of MLPerf Tiny's benchmarks."""

    name: str  # as its runner and its data folders have it
    input_shape: tuple[int, ...]  # of the model, without the batch
    outputs: int  # values of the model's output
    format: InputFormat

    @property
    def file_bytes(self) -> int:
        """Bytes of one input as the runner sends it."""
        return math.prod(self.input_shape) * (4 if self.format is InputFormat.FP32 else 1)


BENCHMARKS = (
    Benchmark("kws01", (49, 10, 1), 12, InputFormat.INT8),
    Benchmark("vww01", (96, 96, 3), 2, InputFormat.UINT8),
    Benchmark("ic01", (32, 32, 3), 10, InputFormat.UINT8),
    Benchmark("ad01", (640,), 640, InputFormat.FP32),
)


def benchmark_for(model: TFLiteModel, name: str | None = None) -> Benchmark | None:
    """Return the benchmark that a model's firmware answers for; None for none of them.

    Args:
        model: An int8 network.
        name: A benchmark, or `NONE`; by default the one whose shapes the model has.

    Raises:
        ConfigError: There is no such benchmark, or the model has not its sizes.
    """
    sizes = _sizes(model)
    if name is None:
        return next((b for b in BENCHMARKS if _shapes(model) == (b.input_shape, b.outputs)), None)
    if name == NONE:
        return None
    found = next((b for b in BENCHMARKS if b.name == name), None)
    if found is None:
        known = ", ".join(b.name for b in BENCHMARKS)
        raise ConfigError(
            f"no benchmark of MLPerf Tiny is named '{name}'", expected=f"{known}, none"
        )
    wanted = (math.prod(found.input_shape), found.outputs)
    if sizes != wanted:
        raise ConfigError(
            f"model '{model.name}' is not for {name}: "
            f"{sizes[0]} input and {sizes[1]} output values",
            expected=f"{wanted[0]} and {wanted[1]}, of one input and one output",
            fix="name another benchmark, or none",
        )
    return found


def runner_name(model: TFLiteModel, benchmark: Benchmark | None, length: int = 48) -> str:
    """Return what the device answers to the runner's ``profile``, as it may print it."""
    return printable(benchmark.name if benchmark else model.name, length)


def _shapes(model: TFLiteModel) -> tuple[tuple[int, ...], int] | None:
    graph = model.graph
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return None
    source, sink = (graph.tensors[i] for i in (graph.inputs[0], graph.outputs[0]))
    if (source.dtype, sink.dtype) != ("int8", "int8"):
        return None
    return tuple(source.shape[1:]), math.prod(sink.shape)


def _sizes(model: TFLiteModel) -> tuple[int, int]:
    shapes = _shapes(model)
    return (0, 0) if shapes is None else (math.prod(shapes[0]), shapes[1])
