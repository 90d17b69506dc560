"""Lower everything that is neither a convolution nor a pool."""

from __future__ import annotations

import itertools
import math

from harness.models.graph import Operator, Tensor
from harness.runtimes.aot import quantize
from harness.runtimes.aot.program import Braces, Pointer, Scratch, Step, Table, Value
from harness.runtimes.aot.refusal import Context, Refused, between, clamp_range, require_int8


def _binary(context: Context, operator: Operator) -> Step:
    first, second = context.input(operator, 0), context.input(operator, 1)
    target = context.output(operator)
    require_int8(first, second, target)
    if first.elements < second.elements:
        first, second = second, first
    tail = tuple(itertools.dropwhile(lambda size: size == 1, second.shape))
    if first.shape != target.shape or first.shape[len(first.shape) - len(tail) :] != tail:
        raise Refused(f"shapes {first.shape} and {second.shape} broadcast in a way without kernel")
    low, high = clamp_range(operator, target)
    fields: dict[str, Value] = {
        "input1": Pointer(first.index),
        "input2": Pointer(second.index),
        "output": Pointer(target.index),
        "size": first.elements,
        "size2": second.elements,
        "offset1": -first.zero_point,
        "offset2": -second.zero_point,
        "out_offset": target.zero_point,
        "act_min": low,
        "act_max": high,
    }
    if operator.name == "MUL":
        multiplier, shift = quantize.tensor_multiplier(first, second, target)
        fields |= {"multiplier": multiplier, "shift": shift}
        return Step(operator, "mul", "binary", fields)
    twice = 2 * max(first.scale, second.scale)
    reals = (first.scale / twice, second.scale / twice, twice / ((1 << 20) * target.scale))
    for suffix, real in zip(("1", "2", ""), reals, strict=True):
        multiplier, shift = quantize.quantize_multiplier(real)
        if shift > 0:
            raise Refused("the output scale is too small for the inputs'")
        fields |= {f"multiplier{suffix}": multiplier, f"shift{suffix}": shift}
    return Step(operator, "add", "binary", fields)


def _softmax(context: Context, operator: Operator) -> Step:
    source, target = context.int8(operator)
    _check_unit_range(target)
    size = source.shape[-1] if source.shape else 1
    beta = operator.options.get("beta", 1.0)
    multiplier, shift, diff_min = quantize.softmax_scaling(beta, source.scale)
    if shift < 0:
        raise Refused(f"beta {beta} with input scale {source.scale} is out of range")
    rows = source.elements // size
    fields = between(
        source, target, rows=rows, size=size, multiplier=multiplier, shift=shift, diff_min=diff_min
    )
    return Step(operator, "softmax", "softmax", fields)


def _mean(context: Context, operator: Operator) -> Step:
    source, target = context.int8(operator)
    rank = len(source.shape)
    axes = {a % rank if rank else 0 for a in _constant_ints(context.input(operator, 1), "axes")}
    # Dimensions of 1 are neither: they may stand between reduced ones.
    kinds = [i in axes for i in range(rank) if source.shape[i] != 1]
    sizes = [n for n in source.shape if n != 1]
    begin = kinds.index(True) if True in kinds else len(kinds)
    end = begin + sum(kinds)
    if not all(kinds[begin:end]):
        raise Refused(f"axes {sorted(axes)} of shape {source.shape} are not neighbours")
    parts = sizes[:begin], sizes[begin:end], sizes[end:]
    outer, reduced, inner = map(math.prod, parts)
    multiplier, shift = quantize.mean_multiplier(source, target, reduced)
    fields = between(
        source, target, scratch=Scratch("int32_t"), outer=outer, reduced=reduced, inner=inner,
        in_zero=source.zero_point, out_zero=target.zero_point, multiplier=multiplier, shift=shift,
    )  # fmt: skip
    return Step(operator, "mean", "mean", fields, scratch_bytes=4 * inner)


def _relu(context: Context, operator: Operator) -> Step:
    source, target = context.int8(operator)
    low = max(quantize.INT8_MIN, target.zero_point)
    ratio = quantize.float32_ratio(source.scale, target.scale)
    return _rescale(operator, source, target, ratio, (low, quantize.INT8_MAX))


def _relu6(context: Context, operator: Operator) -> Step:
    source, target = context.int8(operator)
    # TFLM's RELU6 clamps in the input's quantisation and rescales nothing.
    high = min(quantize.INT8_MAX, quantize.quantized_value(6.0, source))
    step = _rescale(operator, source, target, 1.0, (source.zero_point, high))
    return Step(operator, "clamp", "rescale", step.fields)


def _quantize(context: Context, operator: Operator) -> Step:
    source, target = context.input(operator, 0), context.output(operator)
    require_int8(target)
    if source.dtype == "float32":
        return _affine(operator, "quantize", source, target, quantised=target)
    require_int8(source)
    full = (quantize.INT8_MIN, quantize.INT8_MAX)
    return _rescale(operator, source, target, source.scale / target.scale, full)


def _dequantize(context: Context, operator: Operator) -> Step:
    source, target = context.input(operator, 0), context.output(operator)
    require_int8(source)
    if target.dtype != "float32":
        raise Refused(f"the output is {target.dtype}, not float32")
    return _affine(operator, "dequantize", source, target, quantised=source)


def _logistic(context: Context, operator: Operator) -> Step:
    source, target = context.int8(operator)
    _check_unit_range(target)
    integer_bits = 4
    multiplier, shift = quantize.quantize_multiplier(source.scale * (1 << (31 - integer_bits)))
    if shift < 0:
        raise Refused(f"input scale {source.scale} is out of range")
    radius = quantize.input_radius(integer_bits, shift)
    fields = between(
        source, target, size=source.elements, in_zero=source.zero_point, radius=radius,
        multiplier=multiplier, shift=shift,
    )  # fmt: skip
    return Step(operator, "logistic", "logistic", fields)


def _pad(context: Context, operator: Operator) -> Step:
    source, target = context.int8(operator)
    rank = len(source.shape)
    if not 1 <= rank <= 4:
        raise Refused(f"rank {rank} is above 4")
    paddings = _constant_ints(context.input(operator, 1), "paddings")
    before, after = paddings[0::2], paddings[1::2]
    expected = tuple(b + n + a for b, n, a in zip(before, source.shape, after, strict=True))
    if target.shape != expected or min(paddings) < 0:
        raise Refused(f"output shape {target.shape}, where the paddings give {expected}")
    value = target.zero_point
    fill = context.optional(operator, 2)
    if fill is not None:
        value = int(_constant_ints(fill, "fill value")[0])
    shapes = {"in": _four(source.shape, 1), "before": _four(before, 0)}
    fields = between(source, target, **shapes, out=_four(target.shape, 1), value=value)
    return Step(operator, "pad", "pad", fields)


def _concat(context: Context, operator: Operator) -> Step:
    target = context.output(operator)
    sources = [context.input(operator, i) for i in range(len(operator.inputs))]
    require_int8(target, *sources)
    if operator.options.get("fused_activation", "NONE") != "NONE":
        raise Refused("a fused activation")
    for source in sources:
        if (source.scale, source.zero_point) != (target.scale, target.zero_point):
            raise Refused(f"input tensor {source.index} is quantised differently from the output")
    axis = operator.options["axis"] % max(len(target.shape), 1)
    fields: dict[str, Value] = {
        "inputs": Table(tuple(Pointer(source.index) for source in sources)),
        "bytes": Table(tuple(math.prod(source.shape[axis:]) for source in sources)),
        "output": Pointer(target.index),
        "count": len(sources),
        "outer": math.prod(target.shape[:axis]),
    }
    return Step(operator, "concat", "concat", fields)


def _reshape(context: Context, operator: Operator) -> Step:
    source, target = context.input(operator, 0), context.output(operator)
    if source.bytes != target.bytes or source.dtype != target.dtype:
        raise Refused(f"{source.dtype} {source.shape} does not reshape to {target.shape}")
    if not source.is_constant:
        return Step(operator, "alias", "", {})
    return Step(operator, "copy", "copy", between(source, target, bytes=source.bytes))


def _rescale(
    operator: Operator, source: Tensor, target: Tensor, ratio: float, limits: tuple[int, int]
) -> Step:
    multiplier, shift = quantize.quantize_multiplier(ratio)
    fields = between(
        source, target, size=source.elements, in_zero=source.zero_point,
        out_zero=target.zero_point, multiplier=multiplier, shift=shift,
        act_min=limits[0], act_max=limits[1],
    )  # fmt: skip
    return Step(operator, "rescale", "rescale", fields)


def _affine(
    operator: Operator, kernel: str, source: Tensor, target: Tensor, *, quantised: Tensor
) -> Step:
    fields: dict[str, Value] = {
        "input": Pointer(source.index, "void"),
        "output": Pointer(target.index, "void"),
        "size": source.elements,
        "zero": quantised.zero_point,
        "scale": quantised.scale,
    }
    return Step(operator, kernel, "affine", fields)


def _check_unit_range(target: Tensor) -> None:
    if target.zero_point != -128 or target.scale != 1 / 256:
        raise Refused("the output is not quantised by 1/256 with zero point -128")


def _constant_ints(tensor: Tensor, what: str) -> list[int]:
    if tensor.data is None or "int" not in tensor.dtype:
        raise Refused(f"the {what} are not constant integers")
    return [int(value) for value in tensor.data.reshape(-1)]


def _four(values: tuple[int, ...] | list[int], fill: int) -> Braces:
    return Braces((fill,) * (4 - len(values)) + tuple(values))


LOWERINGS = {
    "ADD": _binary,
    "CONCATENATION": _concat,
    "DEQUANTIZE": _dequantize,
    "EXPAND_DIMS": _reshape,
    "LOGISTIC": _logistic,
    "MEAN": _mean,
    "MUL": _binary,
    "PAD": _pad,
    "PADV2": _pad,
    "QUANTIZE": _quantize,
    "RELU": _relu,
    "RELU6": _relu6,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
    "SQUEEZE": _reshape,
}
