"""Published models and sampled networks on TensorFlow Lite for Microcontrollers itself.

Instructions and smallest arenas were measured apart from this project, with TFLM of 2026-08,
CMSIS-NN V.19.1 and GCC 12.2 at -O2; another TFLM gives other figures, hence the tolerance.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from harness.backbones import Limits, backbone_names, get_backbone
from harness.bench import virtual_bench
from harness.boards import Board, load_board
from harness.campaign.prepare import prepare
from harness.campaign.specs import ModelSpec, file_spec
from harness.errors import ConfigError
from harness.firmware import build
from harness.firmware.shared import build_shared
from harness.models import read_model
from harness.runtimes import RuntimeOptions, get_runtime
from harness.runtimes.tflm.layout import KERNELS
from support.published import published

pytestmark = [
    pytest.mark.usefixtures("virtual_board"),
    pytest.mark.tflm,
]
# Instructions with CMSIS-NN, smallest arena.
PUBLISHED = {
    "mlperf_tiny/kws_ref_model.tflite": (7_645_000, 22_832),
    "mlperf_tiny/vww_96_int8.tflite": (24_030_000, 100_720),
    "mlperf_tiny/pretrainedResnet_quant.tflite": (30_020_000, 55_008),
    "mlperf_tiny/ad01_int8.tflite": (584_000, 3_024),
    "micronets/kws_micronet_m_int8.tflite": (35_740_000, 100_960),
}
OTHERS = ("heim2021/lenet_mnist_int8.tflite",)


def count_instructions(code: bytes, _address: int) -> int:
    """Price a block at one cycle per instruction (ARMv7-M ARM A5.1: 16 or 32 bits)."""
    count = at = 0
    while at < len(code):
        at += 4 if code[at + 1] >> 3 in (0b11101, 0b11110, 0b11111) else 2
        count += 1
    return count


def library(kernels: str) -> str:
    """Return the library of HARNESS_TFLM that has a kernel set, or skip."""
    for text in shlex.split(os.environ.get("HARNESS_TFLM", "")):
        name, mark, spec = text.partition("=")
        if mark and name in KERNELS:
            if name == kernels:
                return spec
            continue
        try:
            get_runtime("tflm").identity(RuntimeOptions("tflm", kernels, text))
        except ConfigError:
            continue
        return text
    pytest.skip(f"no TFLM library: set HARNESS_TFLM='{kernels}=<PlatformIO spec>'")


@pytest.fixture(scope="module")
def board(virtual_board: None) -> Iterator[Board]:
    """Power a virtual board on whose cycle counter counts instructions."""
    from harness.virtual.machine import VirtualMachine
    from harness.virtual.registry import adopt_machine, discard_machine

    found = load_board("nucleo_f746zg")
    discard_machine(found.id)
    adopt_machine(VirtualMachine(found, block_cycles=count_instructions))
    yield found
    discard_machine(found.id)


def measured(spec: ModelSpec, board: Board, kernels: str, *, shared: bool = False) -> Any:
    """Return the capture of a network, checked against the reference's outputs."""
    from harness.capture import CapturePlan
    from harness.capture.session import BoardSession

    options = RuntimeOptions("tflm", kernels, library(kernels))
    prepared = prepare(spec)
    model = read_model(prepared.content, name=spec.name)
    if shared:
        image = build_shared(board, options).image_for(model)
    else:
        image = build(board, model, get_runtime("tflm").generate(model, options, board))
    plan = CapturePlan(
        warmup=0,
        repeats=2,
        layers=True,
        inputs=prepared.inputs,
        output_bytes=tuple(len(item) for item in prepared.outputs),
        macs=model.graph.macs,
        verify_arena=not shared,
    )
    with BoardSession.open(virtual_bench().station(f"virtual-{board.id}")) as session:
        capture = session.run(image, plan)
    assert capture.outputs == prepared.outputs
    assert prepared.reference.startswith("tflite-micro")
    return capture


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_with_cmsis_nn(name: str, board: Board) -> None:
    capture = measured(file_spec(published(name), 0), board, "cmsis_nn")
    instructions, arena = PUBLISHED[name]
    print(  # noqa: T201
        f"{name}: {capture.cycles[0]:,} instructions, arena used {capture.memory.arena_used:,}, "
        f"smallest {capture.arena.min_bytes:,}"
    )
    assert capture.cycles[0] == pytest.approx(instructions, rel=0.05)
    assert capture.arena.min_bytes == pytest.approx(arena, rel=0.05)
    layers = sum(layer.cycles for layer in capture.layers)
    assert layers == pytest.approx(capture.layers_total_cycles, rel=0.01)


@pytest.mark.parametrize("name", [*PUBLISHED, *OTHERS])
def test_published_models_with_reference_kernels(name: str, board: Board) -> None:
    capture = measured(file_spec(published(name), 0), board, "reference")
    assert capture.arena.min_bytes > 0


@pytest.mark.parametrize("name", [*PUBLISHED, *OTHERS])
def test_one_firmware_counts_the_same(name: str, board: Board) -> None:
    spec = file_spec(published(name), 0)
    own = measured(spec, board, "cmsis_nn")
    shared = measured(spec, board, "cmsis_nn", shared=True)
    assert shared.cycles == own.cycles
    assert shared.memory.arena_used == own.memory.arena_used
    assert [layer.cycles for layer in shared.layers] == [layer.cycles for layer in own.layers]


@pytest.mark.parametrize("name", backbone_names())
def test_sampled_networks(name: str, board: Board) -> None:
    # Any sample of a backbone may be too large for a board.
    fits = Limits(max_working_memory_bytes=120_000, max_parameters=400_000)
    architecture = get_backbone(name).sample(0, 0, limits=fits)
    spec = ModelSpec(name=f"{name}-{architecture.id}", seed=0, architecture=architecture)
    own = measured(spec, board, "cmsis_nn")
    assert measured(spec, board, "cmsis_nn", shared=True).cycles == own.cycles
