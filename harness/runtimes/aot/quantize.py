"""Quantised multipliers and ranges, computed as TensorFlow Lite Micro computes them at set-up.

Source: quantization_util.cc and kernel_util.cc of tensorflow/lite/kernels. Doubles and
single-precision products are rounded where TFLM rounds them: the outputs must agree to the bit.
"""

from __future__ import annotations

import math

import numpy as np

from harness.models.graph import Tensor

INT8_MIN, INT8_MAX = -128, 127
_MAX_SHIFT = 30  # kernels shift 32-bit values


class ScaleOutOfRange(ValueError):
    """A ratio of scales that 32-bit arithmetic cannot apply."""


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Return (multiplier, shift) with ``real ~ multiplier * 2 ** (shift - 31)``.

    The multiplier is in [2**30, 2**31), or 0 for values below 2**-32.

    Raises:
        ScaleOutOfRange: `real` is 2**30 or more.
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    fixed = _round_half_away(fraction * (1 << 31))
    if fixed == 1 << 31:
        fixed //= 2
        shift += 1
    if shift > _MAX_SHIFT:
        raise ScaleOutOfRange(f"the scales' ratio is {real:g}, not below 2**{_MAX_SHIFT}")
    if shift < -31:
        return 0, 0
    return fixed, shift


def channel_multipliers(
    source: Tensor, filters: Tensor, target: Tensor, channels: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the multiplier and the shift of each of `channels` output channels."""
    scales = filters.scales if len(filters.scales) > 1 else filters.scales * channels
    pairs = [quantize_multiplier(source.scale * scale / target.scale) for scale in scales]
    return tuple(m for m, _ in pairs), tuple(s for _, s in pairs)


def tensor_multiplier(first: Tensor, second: Tensor, target: Tensor) -> tuple[int, int]:
    """Return (multiplier, shift) of a product with one scale for all outputs."""
    product = np.float32(first.scale) * np.float32(second.scale)
    return quantize_multiplier(float(product) / target.scale)


def activation_range(name: str, target: Tensor) -> tuple[int, int]:
    """Return the int8 range that a fused activation leaves.

    Raises:
        KeyError: The activation is not a clamp.
    """
    low, high = {
        "NONE": (None, None),
        "RELU": (0.0, None),
        "RELU6": (0.0, 6.0),
        "RELU_N1_TO_1": (-1.0, 1.0),
    }[name]
    return (
        INT8_MIN if low is None else max(INT8_MIN, quantized_value(low, target)),
        INT8_MAX if high is None else min(INT8_MAX, quantized_value(high, target)),
    )


def softmax_scaling(beta: float, scale: float) -> tuple[int, int, int]:
    """Return (multiplier, left shift, smallest difference to the maximum that still counts)."""
    integer_bits = 5
    multiplier, shift = quantize_multiplier(beta * scale * (1 << (31 - integer_bits)))
    return multiplier, shift, -input_radius(integer_bits, shift)


def input_radius(integer_bits: int, left_shift: int) -> int:
    """Return the largest input whose scaled value fits Q(integer_bits)."""
    limit = ((1 << integer_bits) - 1) * (1 << (31 - integer_bits))
    return math.floor(limit / (1 << left_shift))


def mean_multiplier(source: Tensor, target: Tensor, reduced: int) -> tuple[int, int]:
    """Return (multiplier, shift) that divides a sum of `reduced` values, too."""
    multiplier, shift = quantize_multiplier(source.scale / target.scale)
    bits = min(reduced.bit_length() - 1, 32, 31 + shift)
    return (multiplier << bits) // reduced, shift - bits


def float32_ratio(numerator: float, denominator: float) -> float:
    """Return the single-precision quotient of two scales."""
    return float(np.float32(numerator) / np.float32(denominator))


def quantized_value(value: float, target: Tensor) -> int:
    """Return the unclamped quantised `value`."""
    return target.zero_point + _round_half_away(float32_ratio(value, target.scale))


def _round_half_away(value: float) -> int:
    return math.floor(value + 0.5) if value >= 0 else math.ceil(value - 0.5)
