"""Lower convolutions, fully connected layers and pools."""

from __future__ import annotations

from harness.models.graph import Operator, Tensor
from harness.runtimes.aot import quantize
from harness.runtimes.aot.program import Braces, Pointer, Scratch, Step, Table, Value
from harness.runtimes.aot.refusal import Context, Refused, between, clamp_range, require_int8


def _conv(context: Context, operator: Operator) -> Step:
    source, filters = context.input(operator, 0), context.input(operator, 1)
    target = context.output(operator)
    _check_filters(filters, channel_axis=0)
    out_c, kernel_h, kernel_w, in_c = filters.shape
    if in_c != source.shape[3]:
        groups = source.shape[3] / in_c
        raise Refused(f"a grouped convolution ({groups:g} groups) has no kernel")
    fields = _window(operator, source, target, kernel_h, kernel_w, out_c)
    fields |= _weights(context, operator, source, filters, target, out_c)
    scratch, one = 0, Braces((1, 1))
    # CMSIS-NN's 1 x 1 path needs no columns.
    pointwise = fields["kernel"] == fields["dilation"] == one and fields["pad"] == Braces((0, 0))
    if context.kernels == "cmsis_nn" and not pointwise:
        column = in_c * kernel_w * kernel_h
        scratch = 2 * (column + -column % 4) * 2  # two of int16; CMSIS-NN 5 and later align them
    return Step(operator, "conv", "conv", fields, scratch, checks_scratch=True)


def _depthwise(context: Context, operator: Operator) -> Step:
    source, filters = context.input(operator, 0), context.input(operator, 1)
    target = context.output(operator)
    _check_filters(filters, channel_axis=3)
    one, kernel_h, kernel_w, out_c = filters.shape
    in_c = source.shape[3]
    if one != 1 or out_c % in_c:
        raise Refused(f"filter shape {filters.shape} does not fit {in_c} input channels")
    fields = _window(operator, source, target, kernel_h, kernel_w, out_c)
    fields |= _weights(context, operator, source, filters, target, out_c)
    fields["depth_multiplier"] = out_c // in_c
    scratch = 0
    undilated = fields["dilation"] == Braces((1, 1))
    if context.kernels == "cmsis_nn" and in_c == out_c and source.shape[0] == 1 and undilated:
        scratch = in_c * kernel_w * kernel_h * 2  # one column of int16
    return Step(operator, "depthwise", "conv", fields, scratch, checks_scratch=True)


def _fully_connected(context: Context, operator: Operator) -> Step:
    source, filters = context.input(operator, 0), context.input(operator, 1)
    target = context.output(operator)
    if operator.options.get("weights_format", "DEFAULT") != "DEFAULT":
        raise Refused(f"weights format {operator.options['weights_format']}")
    _check_filters(filters, channel_axis=0)
    require_int8(source, target)
    outputs, inputs = filters.shape
    rows, rest = divmod(source.elements, inputs)
    if rest or target.elements != rows * outputs:
        raise Refused(f"shapes {source.shape} x {filters.shape} -> {target.shape} do not fit")
    if len(filters.scales) > 1:
        fields: dict[str, Value] = {
            "in": Braces((rows, 1, 1, inputs)),
            "out": Braces((rows, 1, 1, outputs)),
            **dict.fromkeys(("kernel", "stride", "dilation"), Braces((1, 1))),
            "pad": Braces((0, 0)),
            "depth_multiplier": 0,
        }
        fields |= _weights(context, operator, source, filters, target, outputs)
        return Step(operator, "fully_connected_channels", "conv", fields)
    multiplier, shift = quantize.tensor_multiplier(source, filters, target)
    low, high = clamp_range(operator, target)
    fields = between(
        source, target, filter=Pointer(filters.index), bias=_bias(context, operator, outputs),
        rows=rows, inputs=inputs, outputs=outputs, multiplier=multiplier, shift=shift,
        in_offset=-source.zero_point, out_offset=target.zero_point, act_min=low, act_max=high,
    )  # fmt: skip
    return Step(operator, "fully_connected", "fully_connected", fields)


def _pool(context: Context, operator: Operator) -> Step:
    source, target = context.input(operator, 0), context.output(operator)
    options = operator.options
    if source.shape[0] != 1:
        raise Refused(f"a batch of {source.shape[0]}")
    fields = _window(
        operator, source, target, options["filter_height"], options["filter_width"], source.shape[3]
    )
    del fields["dilation"]
    low, high = clamp_range(operator, target)
    fields |= between(source, target, act_min=low, act_max=high)
    if operator.name == "MAX_POOL_2D":
        return Step(operator, "max_pool", "pool", fields)
    scratch = 4 * source.shape[3] if context.kernels == "cmsis_nn" else 0  # sums of int32
    fields["scratch"] = Scratch()
    return Step(operator, "average_pool", "pool", fields, scratch, checks_scratch=True)


def _window(
    operator: Operator, source: Tensor, target: Tensor, kernel_h: int, kernel_w: int, channels: int
) -> dict[str, Value]:
    """Return shapes, strides and top and left padding; the output size must be what they give."""
    require_int8(source, target)
    options = operator.options
    same = options["padding"] == "SAME"
    strides = (options["stride_h"], options["stride_w"])
    dilation = (options.get("dilation_h_factor", 1), options.get("dilation_w_factor", 1))
    if not all(0 < d <= 1024 for d in dilation):
        raise Refused(f"dilation {dilation}")
    sizes, pads = [], []
    for size, kernel, stride, step in zip(
        source.shape[1:3], (kernel_h, kernel_w), strides, dilation, strict=True
    ):
        extent = (kernel - 1) * step + 1
        out = -(-size // stride) if same else (size - extent + stride) // stride
        sizes.append(out)
        pads.append(max((out - 1) * stride + extent - size, 0) // 2 if same else 0)
    expected = (source.shape[0], *sizes, channels)
    if target.shape != expected or min(sizes) < 1:
        raise Refused(f"output shape {target.shape}, where the operator gives {expected}")
    if max(*source.shape, *target.shape, kernel_h, kernel_w) > 0x7FFF:
        raise Refused(f"a dimension above {0x7FFF}")
    return {
        "in": Braces(source.shape),
        "out": Braces(target.shape),
        "kernel": Braces((kernel_h, kernel_w)),
        "stride": Braces(strides),
        "pad": Braces(tuple(pads)),
        "dilation": Braces(dilation),
    }


def _weights(
    context: Context,
    operator: Operator,
    source: Tensor,
    filters: Tensor,
    target: Tensor,
    channels: int,
) -> dict[str, Value]:
    multipliers, shifts = quantize.channel_multipliers(source, filters, target, channels)
    low, high = clamp_range(operator, target)
    return between(
        source, target, filter=Pointer(filters.index), bias=_bias(context, operator, channels),
        multiplier=Table(multipliers), shift=Table(shifts), scratch=Scratch(), depth_multiplier=1,
        in_offset=-source.zero_point, out_offset=target.zero_point, act_min=low, act_max=high,
    )  # fmt: skip


def _check_filters(filters: Tensor, channel_axis: int) -> None:
    if filters.dtype != "int8" or not filters.is_constant:
        kind = "a constant" if filters.is_constant else "computed"
        raise Refused(f"the weights are {filters.dtype}, {kind}; not constant int8")
    if not filters.scales or any(filters.zero_points):
        raise Refused("the weights are not quantised symmetrically")
    if len(filters.scales) > 1 and filters.quantized_dimension != channel_axis:
        raise Refused(f"the weights have scales along axis {filters.quantized_dimension}")


def _bias(context: Context, operator: Operator, channels: int) -> Pointer:
    bias = context.optional(operator, 2)
    if bias is None:
        return Pointer(-1, "int32_t")
    if bias.dtype != "int32" or not bias.is_constant or bias.elements != channels:
        raise Refused(f"the bias is {bias.dtype} {bias.shape}, not {channels} constant int32")
    return Pointer(bias.index, "int32_t")


LOWERINGS = {
    "AVERAGE_POOL_2D": _pool,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _pool,
}
