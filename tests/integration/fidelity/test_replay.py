"""Replays of kernels, with a convolution of our own in the place of a CMSIS-NN release."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards import load_board
from harness.errors import ConfigError
from studies.fidelity import replay
from studies.fidelity.source import convolution_source
from support import needs

HEADER = """#pragma once
#include "arm_math_types.h"
typedef struct { int32_t n, h, w, c; } cmsis_nn_dims;
typedef struct { int32_t w, h; } cmsis_nn_tile;
typedef struct { void *buf; int32_t size; } cmsis_nn_context;
typedef struct { int32_t *multiplier, *shift; } cmsis_nn_per_channel_quant_params;
typedef struct { int32_t min, max; } cmsis_nn_activation;
typedef struct {
    int32_t input_offset, output_offset;
    cmsis_nn_tile stride, padding, dilation;
    cmsis_nn_activation activation;
} cmsis_nn_conv_params;
arm_status arm_convolve_wrapper_s8(const cmsis_nn_context *, const cmsis_nn_conv_params *,
    const cmsis_nn_per_channel_quant_params *, const cmsis_nn_dims *, const q7_t *,
    const cmsis_nn_dims *, const q7_t *, const cmsis_nn_dims *, const int32_t *,
    const cmsis_nn_dims *, q7_t *);
"""
KERNEL = """#include "arm_nnfunctions.h"
arm_status arm_convolve_wrapper_s8(const cmsis_nn_context *context,
    const cmsis_nn_conv_params *params, const cmsis_nn_per_channel_quant_params *quant,
    const cmsis_nn_dims *given, const q7_t *input, const cmsis_nn_dims *filter, const q7_t *weights,
    const cmsis_nn_dims *bias_dims, const int32_t *bias, const cmsis_nn_dims *result, q7_t *output)
{
    for (int at = 0; at < result->h * result->w; at++) {
        for (int out = 0; out < result->c; out++) {
            int32_t sum = bias[out];
            for (int in = 0; in < given->c; in++) {
                sum += input[at * given->c + in] * weights[out * given->c + in];
            }
            output[at * result->c + out] = (q7_t)(sum >> 8);
        }
    }
    return ARM_MATH_SUCCESS;
}
"""


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    (tmp_path / "nn/Include").mkdir(parents=True)
    (tmp_path / "nn/Source/ConvolutionFunctions").mkdir(parents=True)
    (tmp_path / "nn/Include/arm_nnfunctions.h").write_text(HEADER)
    file = tmp_path / "nn/Source/ConvolutionFunctions/arm_convolve_wrapper_s8.c"
    file.write_text(KERNEL)
    return tmp_path / "nn"


@needs.emulator
@needs.compiler
@pytest.mark.parametrize("board_id", ["nucleo_f746zg", "nucleo_f446re", "nucleo_l4r5zi"])
def test_the_second_pass_is_counted_and_always_the_same(
    board_id: str, kernels: Path, tmp_path: Path
) -> None:
    board = load_board(board_id)
    source = convolution_source(12, 8, 5, 5)
    elf = replay.build(source, board, kernels, optimization="-O2", folder=tmp_path / "b")
    one, two = (replay.run(elf, board, timing="pipeline", layers=1) for _ in range(2))
    assert (one.cycles, one.layers) == (two.cycles, two.layers)
    macs = 5 * 5 * 12 * 8
    assert macs < one.layers[0] <= one.cycles < 20 * macs
    plain = replay.run(elf, board, timing="issue", layers=1)
    assert plain.cycles != one.cycles
    assert plain.timing != one.timing


@needs.emulator
@needs.compiler
def test_a_folder_that_is_no_cmsis_nn(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no CMSIS-NN"):
        replay.build(
            "", load_board("nucleo_f746zg"), tmp_path, optimization="-O2", folder=tmp_path / "b"
        )
