"""Write a program that runs a network's kernels one by one, for a given release of CMSIS-NN.

Published latencies were measured with the kernels of their time, which today's runtimes do not
take. The program calls the kernels as TFLM's glue did (`tensorflow/lite/micro/kernels/cmsis-nn`),
with the shapes, parameters and weights of the model. The interpreter around them is left out (14
layers take it some thousand cycles), and so are operators that CMSIS-NN did not have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.models import TFLiteModel

CYCLES_WORDS = 64
TOTAL = CYCLES_WORDS - 1  # the last word; the words before are the layers
_SCRATCH_BYTES = 8000
_SKIPPED = ("RESHAPE", "QUANTIZE", "DEQUANTIZE", "SOFTMAX")
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")

_HEAD = """#include "arm_nnfunctions.h"
#include <stdint.h>
#define CYCLES (*(volatile uint32_t *)0xE0001004)
extern volatile uint32_t cycles[];
#define ARENA(n) __attribute__((aligned(32), section(".arena." #n)))
"""


def network_source(model: TFLiteModel) -> tuple[str, tuple[str, ...]]:
    """Return C of `void network(void)` for a model, and the operators it runs.

    Raises:
        ValueError: An operator is none of those handled here.
    """
    tensors = model.graph.tensors
    operators = [o for o in model.graph.operators if o.name not in _SKIPPED]
    # Two buffers in turn, the one with the largest tensor first: as TFLM's planner places them.
    sizes = [0, math.prod(tensors[operators[0].inputs[0]].shape)]
    for n, operator in enumerate(operators):
        sizes[n % 2] = max(sizes[n % 2], math.prod(tensors[operator.outputs[0]].shape))
    parts = [_HEAD, _buffers(sizes)]
    body = []
    for n, operator in enumerate(operators):
        data, call = _layer(n, operator, tensors)
        parts.append(data)
        body.append(_timed(n, call))
    parts.append(_function(body))
    return "".join(parts), tuple(operator.name for operator in operators)


def convolution_source(inputs: int, outputs: int, height: int, width: int) -> str:
    """Return C of `void network(void)` for one 1x1 convolution; its weights are arbitrary."""
    weights = [(7 * n) % 251 - 125 for n in range(inputs * outputs)]
    pixels = height * width
    data = "".join((
        _array("w0", "const int8_t", weights),
        _array("b0", "const int32_t", [0] * outputs),
        _array("m0", "int32_t", [1_200_000_000] * outputs),
        _array("s0", "int32_t", [-8] * outputs),
    ))  # fmt: skip
    shapes = (1, height, width, inputs), (1, height, width, outputs), (outputs, 1, 1, inputs)
    call = _convolution("CONV_2D", 0, shapes, offsets=(5, -3), stride=(1, 1), padding=(0, 0))
    buffers = _buffers([pixels * outputs, pixels * inputs])
    return _HEAD + buffers + data + _function([_timed(0, call)])


def _buffers(sizes: list[int]) -> str:
    return (
        f"static int8_t even[{sizes[0]}] ARENA(1), odd[{sizes[1]}] ARENA(2);\n"
        f"static int8_t scratch[{_SCRATCH_BYTES}] ARENA(3);\n"
        "static const cmsis_nn_context context = {scratch, sizeof scratch};\n"
    )


def _function(body: Iterable[str]) -> str:
    total = f"cycles[{TOTAL}] = CYCLES - began;"
    return "void network(void) {\nuint32_t began = CYCLES;\n" + "".join(body) + total + "\n}\n"


def _timed(n: int, call: str) -> str:
    return f"{{\nuint32_t start = CYCLES;\n{call}\ncycles[{n}] = CYCLES - start;\n}}\n"


def _array(name: str, kind: str, values: Iterable[int]) -> str:
    listed = list(values)
    content = ",".join(map(str, listed))
    return f"static {kind} {name}[{len(listed)}] __attribute__((aligned(32))) = {{{content}}};\n"


def _layer(n: int, operator: Any, tensors: Any) -> tuple[str, str]:
    """Return a layer's data and its call."""
    source, result = tensors[operator.inputs[0]], tensors[operator.outputs[0]]
    options = operator.options
    if operator.name == "AVERAGE_POOL_2D":
        return "", _pool(n, source.shape, result.shape, options)
    if operator.name not in (*_CONVOLUTIONS, "FULLY_CONNECTED"):
        raise ValueError(f"no replay of {operator.name}")
    weights, bias = tensors[operator.inputs[1]], tensors[operator.inputs[2]]
    data = _array(f"w{n}", "const int8_t", weights.data.reshape(-1).tolist())
    data += _array(f"b{n}", "const int32_t", bias.data.reshape(-1).tolist())
    offsets = -source.zero_points[0], result.zero_points[0]
    scale = source.scales[0] / result.scales[0]
    if operator.name == "FULLY_CONNECTED":
        return data, _fully_connected(n, weights.shape, offsets, scale * weights.scales[0])
    channels = result.shape[3]
    scales = weights.scales if len(weights.scales) > 1 else weights.scales * channels
    pairs = [_multiplier(scale * one) for one in scales]
    data += _array(f"m{n}", "int32_t", [m for m, _ in pairs])
    data += _array(f"s{n}", "int32_t", [s for _, s in pairs])
    stride = options["stride_w"], options["stride_h"]
    padding = (0, 0)
    if options["padding"] == "SAME":
        padding = (
            _padding(source.shape[2], result.shape[2], weights.shape[2], stride[0]),
            _padding(source.shape[1], result.shape[1], weights.shape[1], stride[1]),
        )
    shapes = source.shape, result.shape, weights.shape
    call = _convolution(operator.name, n, shapes, offsets=offsets, stride=stride, padding=padding)
    return data, call


def _multiplier(scale: float) -> tuple[int, int]:
    """Return fraction and exponent as TFLM's `QuantizeMultiplier` does."""
    fraction, exponent = math.frexp(scale)
    fixed = round(fraction * (1 << 31))
    return (fixed // 2, exponent + 1) if fixed == 1 << 31 else (fixed, exponent)


def _padding(size: int, result: int, kernel: int, stride: int) -> int:
    return max(0, (result - 1) * stride + kernel - size) // 2


def _dims(name: str, shape: Iterable[int]) -> str:
    return f"const cmsis_nn_dims {name} = {{{','.join(map(str, shape))}}};\n"


def _ends(n: int) -> tuple[str, str]:
    return ("odd", "even") if n % 2 == 0 else ("even", "odd")


def _convolution(
    name: str,
    n: int,
    shapes: tuple[tuple[int, ...], ...],
    *,
    offsets: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> str:
    source, target = _ends(n)
    given, result, weights = shapes
    depthwise = name == "DEPTHWISE_CONV_2D"
    kind = "cmsis_nn_dw_conv_params" if depthwise else "cmsis_nn_conv_params"
    kernel = "arm_depthwise_conv_wrapper_s8" if depthwise else "arm_convolve_wrapper_s8"
    return (
        _dims("given", given)
        + _dims("result", result)
        + _dims("filter", weights)
        + _dims("bias", (1, 1, 1, result[3]))
        + f"cmsis_nn_per_channel_quant_params quant = {{m{n}, s{n}}};\n"
        + f"const {kind} params = {{{offsets[0]}, {offsets[1]}, {'1, ' if depthwise else ''}"
        + f"{{{stride[0]}, {stride[1]}}}, {{{padding[0]}, {padding[1]}}}, {{1, 1}}, "
        + "{-128, 127}};\n"
        + f"{kernel}(&context, &params, &quant, &given, {source}, &filter, w{n}, &bias, b{n}, "
        + f"&result, {target});"
    )


def _fully_connected(n: int, shape: tuple[int, ...], offsets: tuple[int, int], scale: float) -> str:
    source, target = _ends(n)
    outputs, inputs = shape
    multiplier, shift = _multiplier(scale)
    return (
        _dims("given", (1, 1, 1, inputs))
        + _dims("result", (1, 1, 1, outputs))
        + _dims("filter", (inputs, 1, 1, outputs))
        + _dims("bias", (1, 1, 1, outputs))
        + f"const cmsis_nn_per_tensor_quant_params quant = {{{multiplier}, {shift}}};\n"
        + f"const cmsis_nn_fc_params params = {{{offsets[0]}, 0, {offsets[1]}, {{-128, 127}}}};\n"
        + f"arm_fully_connected_s8(&context, &params, &quant, &given, {source}, &filter, w{n}, "
        + f"&bias, b{n}, &result, {target});"
    )


def _pool(n: int, given: tuple[int, ...], result: tuple[int, ...], options: Any) -> str:
    source, target = _ends(n)
    return (
        _dims("given", given)
        + _dims("result", result)
        + _dims("filter", (1, options["filter_height"], options["filter_width"], 1))
        + f"const cmsis_nn_pool_params params = {{{{{options['stride_w']}, "
        + f"{options['stride_h']}}}, {{0, 0}}, {{-128, 127}}}};\n"
        + f"arm_avgpool_s8(&context, &params, &given, {source}, &filter, &result, {target});"
    )
