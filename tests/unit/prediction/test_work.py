"""Counts of the loops of a kernel, and of lines that are missed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.boards import load_board
from harness.models import read_model
from harness.models.writer import ModelWriter
from harness.prediction.memory import Memory
from harness.prediction.work import Work, work_of
from harness.runtimes.aot import lower, planner
from tools.corpus import network

DTCM, SRAM1 = 0x2000_0000, 0x2001_0000


def conv(
    name: str,
    source: tuple[int, ...],
    filters: tuple[int, ...],
    *,
    kernels: str = "cmsis_nn",
    arena: int = DTCM,
    board: str = "nucleo_f746zg",
    **options: Any,
) -> Work:
    """Return the work of a convolution with SAME padding."""
    writer = ModelWriter()
    channels = filters[0] if name == "CONV_2D" else filters[3]
    stride = options.get("stride_h", 1)
    target = (1, -(-source[1] // stride), -(-source[2] // stride), channels)
    scales = [0.01] * channels
    inputs = writer.tensor(source, scale=0.5)
    axis = 0 if name == "CONV_2D" else 3
    data = np.ones(filters, np.int8)
    weights = writer.tensor(filters, scale=scales, axis=axis, data=data)
    zeros = np.zeros(channels, np.int32)
    bias = writer.tensor((channels,), "int32", scale=[0.005] * channels, data=zeros)
    output = writer.tensor(target, scale=0.5)
    options = {"stride_h": 1, "stride_w": 1, "padding": "SAME", **options}
    writer.operator(name, [inputs, weights, bias], [output], **options)
    model = read_model(writer.finish([inputs], [output]))
    program = lower.lower(model, kernels)
    plan = planner.plan(model.graph, program)
    return work_of(
        program.steps[0], kernels, Memory.of(load_board(board), model.graph, plan, arena)
    )


def test_a_pointwise_convolution_takes_pairs_of_channels_and_pixels() -> None:
    work = conv("CONV_2D", (1, 3, 3, 21), (5, 1, 1, 21))
    counts = work.counts
    assert work.path == "convolution 1x1"
    assert counts["pair"] == 2 and counts["block"] == 2 * 4 and counts["last"] == 2
    assert (counts["block 16"], counts["block 4"], counts["block 1"]) == (8, 8, 8)
    assert counts["odd"] == 9  # the fifth channel, pixel by pixel
    assert counts["block unaligned"] == 8 * 5 * 0.75


def test_a_convolution_makes_columns_and_knows_its_padding() -> None:
    work = conv("CONV_2D", (1, 4, 4, 8), (6, 3, 3, 8))
    assert work.path == "convolution"
    assert work.counts["tap"] == 100 and work.counts["padding"] == 16 * 9 - 100
    assert work.counts["block"] == 8 * 3 and work.counts["block 4"] == 24 * 18


@pytest.mark.parametrize(
    ("source", "filters", "times", "path"),
    [
        ((1, 6, 6, 8), (1, 3, 3, 8), 1, "depthwise 3x3"),
        ((1, 6, 6, 8), (1, 5, 5, 8), 1, "depthwise"),
        ((1, 6, 6, 1), (1, 3, 3, 8), 8, "depthwise by 4"),
        ((1, 6, 6, 2), (1, 3, 3, 6), 3, "depthwise generic"),
    ],
)
def test_depthwise_convolutions_take_the_paths_of_cmsis_nn(
    source: tuple[int, ...], filters: tuple[int, ...], times: int, path: str
) -> None:
    work = conv("DEPTHWISE_CONV_2D", source, filters, depth_multiplier=times)
    assert work.path == path and work.counts["pixel"] == 36


def test_portable_loops_multiply_every_tap_inside() -> None:
    work = conv("CONV_2D", (1, 4, 4, 8), (6, 3, 3, 8), kernels="portable")
    assert work.path == "conv" and work.counts["product"] == 100 * 6 * 8


def test_only_ram_behind_the_cache_is_missed() -> None:
    near = conv("CONV_2D", (1, 8, 8, 8), (8, 3, 3, 8)).counts
    far = conv("CONV_2D", (1, 8, 8, 8), (8, 3, 3, 8), arena=SRAM1).counts
    assert "input lines" not in near and "output lines" not in near
    assert far["output lines"] == 8 * 8 * 8 / 32 and far["input lines"] > 0
    cacheless = conv("CONV_2D", (1, 8, 8, 8), (8, 3, 3, 8), board="nucleo_f446re").counts
    assert "input lines" not in cacheless and cacheless["weights lines"] > near["weights lines"]


@pytest.mark.parametrize("kernels", ["cmsis_nn", "portable"])
def test_every_operator_of_the_runtime_has_counts(kernels: str) -> None:
    model = read_model(network(0))
    program = lower.lower(model, kernels)
    plan = planner.plan(model.graph, program)
    memory = Memory.of(load_board("nucleo_l4r5zi"), model.graph, plan, DTCM)
    works = [work_of(step, kernels, memory) for step in program.steps]
    assert {operator.name for operator in model.graph.operators} | {
        "EXPAND_DIMS", "PADV2", "RESHAPE", "SQUEEZE",
    } == set(lower.supported_operators())  # fmt: skip
    assert all(min(work.counts.values()) >= 0 and work.counts["call"] == 1 for work in works)
