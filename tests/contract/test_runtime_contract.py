"""What every runtime keeps: the generator's side on this machine, model.h's on the virtual board.

`tflm` runs on the fake library of tests/fake_tflm always, and on real ones where HARNESS_TFLM names
them.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.boards import load_board
from harness.errors import ConfigError, ModelError, RuntimeUnsupported
from harness.models import TFLiteModel, read_model
from harness.runtimes import RUNTIME_KERNELS, GeneratedSources, Runtime, RuntimeOptions, get_runtime
from harness.testing import ModelWriter

FAKE = Path(__file__).parents[1] / "fake_tflm"
BOARD = load_board("nucleo_f746zg")


def _cases() -> Iterator[Any]:
    for kernels in RUNTIME_KERNELS["aot"]:
        yield pytest.param(RuntimeOptions("aot", kernels), id=f"aot-{kernels}")
    fake = f"symlink://{FAKE}"
    yield pytest.param(RuntimeOptions("tflm", "reference", fake), id="tflm-fake")
    specs = shlex.split(os.environ.get("HARNESS_TFLM", ""))
    named = dict(text.split("=", 1) for text in specs if text.startswith(RUNTIME_KERNELS["tflm"]))
    plain = next((text for text in specs if not text.startswith(RUNTIME_KERNELS["tflm"])), None)
    for kernels in RUNTIME_KERNELS["tflm"]:
        options = RuntimeOptions("tflm", kernels, named.get(kernels, plain))
        yield pytest.param(options, id=f"tflm-{kernels}", marks=pytest.mark.tflm)


@pytest.fixture(scope="module", params=_cases())
def options(request: pytest.FixtureRequest) -> RuntimeOptions:
    found: RuntimeOptions = request.param
    if found.runtime == "tflm" and found.library is None:
        pytest.skip(f"no TFLM library: set HARNESS_TFLM='{found.kernels}=<PlatformIO spec>'")
    try:
        get_runtime(found.runtime).identity(found)
    except ConfigError as failure:
        pytest.skip(f"{failure.what}: set HARNESS_TFLM='{found.kernels}=<PlatformIO spec>'")
    return found


@pytest.fixture(scope="module")
def runtime(options: RuntimeOptions) -> Runtime:
    return get_runtime(options.runtime)


@cache
def network(size: int = 8, version: int = 3) -> TFLiteModel:
    """Return two poolings and a reshape, which all runtimes have."""
    writer = ModelWriter()
    half, quarter = size // 2, size // 4
    source = writer.tensor((1, size, size, 4), scale=0.5, name="input")
    first = writer.tensor((1, half, half, 4), scale=0.5, name="block 1/pool;ignored")
    second = writer.tensor((1, quarter, quarter, 4), scale=0.5, name="block 2/pool")
    shape = writer.tensor((2,), "int32", data=[1, quarter * quarter * 4])
    sink = writer.tensor((1, quarter * quarter * 4), scale=0.5, name="out")
    for index, target in ((source, first), (first, second)):
        writer.operator(
            "MAX_POOL_2D", [index], [target],
            padding="VALID", stride_w=2, stride_h=2, filter_width=2, filter_height=2,
        )  # fmt: skip
    writer.operator("RESHAPE", [second, shape], [sink])
    return read_model(writer.finish([source], [sink]), name=f"pools-{size}")


def stimulus(model: TFLiteModel) -> tuple[bytes, bytes]:
    """Return an input and what it must give."""
    shape = model.graph.input_tensors()[0].shape
    data = np.random.default_rng(1).integers(-128, 128, shape, dtype=np.int8)
    quarter = shape[1] // 4
    return data.tobytes(), data.reshape(quarter, 4, quarter, 4, 4).max(axis=(1, 3)).tobytes()


# --- the generator ---------------------------------------------------------------------------


def test_identity_is_what_generate_says(runtime: Runtime, options: RuntimeOptions) -> None:
    sources = runtime.generate(network(), options, BOARD)
    assert dict(runtime.identity(options)) == {
        "runtime": sources.runtime,
        "runtime_version": sources.runtime_version,
        "kernels": sources.kernels,
        "kernels_version": sources.kernels_version,
    }
    assert sources.runtime == options.runtime
    assert sources.kernels == options.kernels


def test_names_do_not_depend_on_the_model(runtime: Runtime, options: RuntimeOptions) -> None:
    small = runtime.generate(network(8), options, BOARD)
    large = runtime.generate(network(16), options, BOARD)
    assert small.files.keys() == large.files.keys()
    assert small.files != large.files
    for item in ("library_sources", "include_dirs", "defines", "library"):
        assert getattr(small, item) == getattr(large, item)


def test_generation_is_deterministic(runtime: Runtime, options: RuntimeOptions) -> None:
    first = runtime.generate(network(), options, BOARD)
    assert runtime.generate(network(), options, BOARD) == first


def test_layers_and_tensors_are_the_model_s(runtime: Runtime, options: RuntimeOptions) -> None:
    sources = runtime.generate(network(), options, BOARD)
    assert [layer.operator for layer in sources.layers] == ["MAX_POOL_2D"] * 2 + ["RESHAPE"]
    assert [layer.name for layer in sources.layers] == ["block_1/pool", "block_2/pool", "out"]
    assert (sources.input_bytes, sources.output_bytes) == ((256,), (16,))


def test_unknown_kernels_are_refused(runtime: Runtime, options: RuntimeOptions) -> None:
    with pytest.raises(ConfigError, match="no kernels 'fast'"):
        runtime.identity(replace(options, kernels="fast"))
    with pytest.raises(ConfigError, match="no kernels 'fast'"):
        runtime.generate(network(), replace(options, kernels="fast"), BOARD)


def test_an_operator_it_lacks_is_named(runtime: Runtime, options: RuntimeOptions) -> None:
    writer = ModelWriter()
    source, sink = writer.tensor((1, 4), scale=0.5), writer.tensor((1, 4), scale=0.5)
    writer.operator("RFFT2D", [source], [sink])
    with pytest.raises(RuntimeUnsupported, match="RFFT2D"):
        runtime.generate(read_model(writer.finish([source], [sink])), options, BOARD)


def test_a_float_model_is_refused(runtime: Runtime, options: RuntimeOptions) -> None:
    writer = ModelWriter()
    source, sink = writer.tensor((1, 4), "float32"), writer.tensor((4,), "float32")
    writer.operator("RESHAPE", [source], [sink])
    with pytest.raises(ModelError, match="float32"):
        runtime.generate(read_model(writer.finish([source], [sink])), options, BOARD)


# --- the device ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ran:
    """What a runtime did on the virtual board."""

    sources: GeneratedSources
    capture: Any
    image: Any
    expected: bytes


@pytest.fixture(scope="module")
def ran(runtime: Runtime, options: RuntimeOptions, virtual_board: None) -> Ran:
    from harness.bench import virtual_bench
    from harness.capture import CapturePlan
    from harness.capture.session import BoardSession
    from harness.firmware import build

    model = network()
    data, expected = stimulus(model)
    sources = runtime.generate(model, options, BOARD)
    image = build(BOARD, model, sources)
    plan = CapturePlan(
        warmup=1,
        repeats=3,
        layers=True,
        inputs=(data,),
        output_bytes=(len(expected),),
        macs=0,
        verify_arena=True,
    )
    with BoardSession.open(virtual_bench().station(f"virtual-{BOARD.id}")) as session:
        return Ran(sources, session.run(image, plan), image, expected)


def test_outputs_are_exact_after_several_inferences(ran: Ran) -> None:
    assert ran.capture.outputs == (ran.expected,)
    assert len(ran.capture.cycles) == 3


def test_the_device_names_the_layers_as_the_host(ran: Ran) -> None:
    seen = [(layer.i, layer.name, layer.op) for layer in ran.capture.layers]
    assert seen == [(layer.index, layer.name, layer.operator) for layer in ran.sources.layers]


def test_layers_add_up(ran: Ran) -> None:
    total = sum(layer.cycles for layer in ran.capture.layers)
    assert total <= ran.capture.layers_total_cycles
    assert ran.capture.layers_total_cycles - total < 250 * len(ran.capture.layers)


def test_the_arena_s_parts_and_minimum_are_consistent(ran: Ran) -> None:
    memory, arena = ran.capture.memory, ran.capture.arena
    parts = {part.kind: part for part in ran.capture.arena_parts}
    assert list(parts)[:2] == ["nonpersistent", "persistent"]
    assert parts["nonpersistent"].used + parts["persistent"].used == memory.arena_used
    assert 0 < arena.min_bytes <= memory.arena_capacity
    # The inputs and outputs are in it, whatever the runtime says it uses.
    assert arena.min_bytes >= 256
    if ran.sources.arena_planned_bytes is not None:
        assert arena.min_bytes == ran.sources.arena_planned_bytes
    # One step less is refused, with the runtime's own words.
    assert arena.below_message


def test_flash_and_ram_are_split(ran: Ran) -> None:
    sizes = ran.image.sizes
    parts = (sizes.weights, sizes.graph, sizes.kernels, sizes.runtime, sizes.port)
    assert sum(parts) == sizes.total
    assert min(parts[1:]) > 0
    if ran.sources.arena_planned_bytes is None:
        assert ran.image.ram.arena == 0
    else:
        assert ran.image.ram.arena >= ran.sources.arena_planned_bytes
