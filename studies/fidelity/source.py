"""Write a program that runs a network's kernels one by one, for a given release of CMSIS-NN.

Published latencies were measured with the kernels of their time, which today's runtimes do not
take. The program calls the kernels as TFLM's glue did (`tensorflow/lite/micro/kernels/cmsis-nn`),
with the shapes, parameters and weights of the model, as the aot runtime lowers them. The
interpreter around them is left out (14 layers take it some thousand cycles), and so are operators
that CMSIS-NN did not have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from harness.runtimes.aot.lower import lower
from harness.runtimes.aot.program import Braces, Table

if TYPE_CHECKING:
    from harness.models import TFLiteModel

CYCLES_WORDS = 64
TOTAL = CYCLES_WORDS - 1  # the last word; the words before are the layers
_SCRATCH_BYTES = 8000
_SKIPPED = ("RESHAPE", "QUANTIZE", "DEQUANTIZE", "SOFTMAX")
_CALLS = {
    "conv": ("arm_convolve_wrapper_s8", "cmsis_nn_conv_params"),
    "depthwise": ("arm_depthwise_conv_wrapper_s8", "cmsis_nn_dw_conv_params"),
    "fully_connected": ("arm_fully_connected_s8", "cmsis_nn_fc_params"),
    "average_pool": ("arm_avgpool_s8", "cmsis_nn_pool_params"),
}

Fields = Mapping[str, Any]  # values of a lowered step's parameter block

_HEAD = """#include "arm_nnfunctions.h"
#include <stdint.h>
#define CYCLES (*(volatile uint32_t *)0xE0001004)
extern volatile uint32_t cycles[];
#define ARENA(n) __attribute__((aligned(32), section(".arena." #n)))
"""


def network_source(model: TFLiteModel) -> tuple[str, tuple[str, ...]]:
    """Return C of `void network(void)` for a model, and the operators it runs.

    Raises:
        RuntimeUnsupported: The aot runtime does not take the model.
        ValueError: An operator is none of those handled here.
    """
    tensors = model.graph.tensors
    steps = [s for s in lower(model, "cmsis_nn").steps if s.operator.name not in _SKIPPED]
    # Two buffers in turn, the one with the largest tensor first: as TFLM's planner places them.
    sizes = [0, math.prod(tensors[steps[0].operator.inputs[0]].shape)]
    parts, body = [], []
    for n, step in enumerate(steps):
        sizes[n % 2] = max(sizes[n % 2], math.prod(tensors[step.operator.outputs[0]].shape))
        if step.kernel not in _CALLS:
            raise ValueError(f"no replay of {step.operator.name}")
        if step.kernel != "average_pool":
            arrays = (tensors[t].data for t in step.operator.inputs[1:3])
            weights, bias = (a.reshape(-1).tolist() for a in arrays if a is not None)
            parts.append(_data(n, weights, bias, step.fields))
        body.append(_timed(n, _call(n, step.kernel, step.fields)))
    return _program(sizes, parts, body), tuple(step.operator.name for step in steps)


def convolution_source(inputs: int, outputs: int, height: int, width: int) -> str:
    """Return C of `void network(void)` for one 1x1 convolution; its weights are arbitrary."""
    weights = [(7 * n) % 251 - 125 for n in range(inputs * outputs)]
    fields = {
        "in": Braces((1, height, width, inputs)),
        "out": Braces((1, height, width, outputs)),
        "kernel": Braces((1, 1)),
        "stride": Braces((1, 1)),
        "pad": Braces((0, 0)),
        "multiplier": Table((1_200_000_000,) * outputs),
        "shift": Table((-8,) * outputs),
        "in_offset": 5,
        "out_offset": -3,
    }
    pixels = height * width
    data = _data(0, weights, [0] * outputs, fields)
    call = _timed(0, _call(0, "conv", fields))
    return _program([pixels * outputs, pixels * inputs], [data], [call])


def _program(sizes: list[int], data: Iterable[str], calls: Iterable[str]) -> str:
    return (
        f"{_HEAD}static int8_t even[{sizes[0]}] ARENA(1), odd[{sizes[1]}] ARENA(2);\n"
        f"static int8_t scratch[{_SCRATCH_BYTES}] ARENA(3);\n"
        "static const cmsis_nn_context context = {scratch, sizeof scratch};\n"
        f"{''.join(data)}void network(void) {{\nuint32_t began = CYCLES;\n{''.join(calls)}"
        f"cycles[{TOTAL}] = CYCLES - began;\n}}\n"
    )


def _timed(n: int, call: str) -> str:
    return f"{{\nuint32_t start = CYCLES;\n{call}\ncycles[{n}] = CYCLES - start;\n}}\n"


def _data(n: int, weights: Iterable[int], bias: Iterable[int], fields: Fields) -> str:
    """Return a layer's arrays; TFLM keeps a channel's multiplier and shift in RAM."""
    arrays: list[tuple[str, str, Iterable[Any]]]
    arrays = [("w", "const int8_t", weights), ("b", "const int32_t", bias)]
    if isinstance(fields["multiplier"], Table):
        arrays += [("m", "int32_t", fields["multiplier"].values)]
        arrays += [("s", "int32_t", fields["shift"].values)]
    return "".join(
        f"static {kind} {name}{n}[] __attribute__((aligned(32))) = {{{_joined(values)}}};\n"
        for name, kind, values in arrays
    )


def _joined(values: Iterable[Any]) -> str:
    return ",".join(map(str, values))


def _call(n: int, kernel: str, fields: Fields) -> str:
    """Return C that calls a kernel with the parameters of a lowered step."""
    function, kind = _CALLS[kernel]
    source, target = ("odd", "even") if n % 2 == 0 else ("even", "odd")
    pool, connected = kernel == "average_pool", kernel == "fully_connected"
    if connected:
        given, result = (1, 1, 1, fields["inputs"]), (1, 1, 1, fields["outputs"])
    else:
        given, result = fields["in"].values, fields["out"].values
    offsets = f"{fields.get('in_offset')}, {'0, ' if connected else ''}{fields.get('out_offset')}, "
    window = ""
    if not connected:
        (height, width), (down, right), (top, left) = (
            fields[name].values for name in ("kernel", "stride", "pad")
        )
        # stride and padding say the width first, and a convolution its dilation
        window = f"{{{right}, {down}}}, {{{left}, {top}}}, {'' if pool else '{1, 1}, '}"
    if pool:
        filters, offsets = (1, height, width, 1), ""
    elif connected:
        filters = (given[3], 1, 1, result[3])
    elif kernel == "conv":
        filters = (result[3], height, width, given[3])
    else:
        filters, offsets = (1, height, width, result[3]), f"{offsets}1, "
    dims = {"given": given, "result": result, "filter": filters, "bias": (1, 1, 1, result[3])}
    lines = [f"const cmsis_nn_dims {name} = {{{_joined(dims[name])}}};" for name in dims]
    if connected:
        quant = f"{fields['multiplier']}, {fields['shift']}"
        lines.append(f"const cmsis_nn_per_tensor_quant_params quant = {{{quant}}};")
    elif not pool:
        lines.append(f"cmsis_nn_per_channel_quant_params quant = {{m{n}, s{n}}};")
    lines.append(f"const {kind} params = {{{offsets}{window}{{-128, 127}}}};")
    weights = "" if pool else f"w{n}, &bias, b{n}, "
    lines.append(
        f"{function}(&context, &params, {'' if pool else '&quant, '}&given, {source}, &filter, "
        f"{weights}&result, {target});"
    )
    return "\n".join(lines)
