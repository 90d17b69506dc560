"""Draw the weights of a layer; with TensorFlow and without, a network has the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from harness.backbones.draw import Draw
from harness.backbones.layers import LayerSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH_NORM_EPSILON = 1e-3
# Of gamma, beta, mean and variance: off their defaults, so that folding is exercised.
_STATISTICS = ((0.75, 1.25), (-0.25, 0.5), (-0.25, 0.25), (0.75, 1.25))


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """Float weights of a convolution.

    Attributes:
        kernel: Height, width, input channels, output channels; of a depthwise convolution height,
            width, channels, 1.
        bias: One per output channel; None where a batch normalisation follows.
        statistics: Gamma, beta, mean and variance of that batch normalisation, else empty.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    statistics: tuple[NDArray[np.float32], ...]

    def folded(self, *, depthwise: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return kernel and bias with the batch normalisation folded in."""
        if self.bias is not None:
            return self.kernel, self.bias
        gamma, beta, mean, variance = self.statistics
        factor = gamma / np.sqrt(variance + np.float32(BATCH_NORM_EPSILON))
        kernel = self.kernel * (factor[:, None] if depthwise else factor)
        return kernel, beta - mean * factor


def draw_weights(layer: LayerSpec, draw: Draw) -> LayerWeights | None:
    """Draw the weights of `layer`; None for an operator without weights.

    They keep activations at unit scale (He et al. 2015), so that no channel is dead and int8
    outputs fill their range.
    """
    if layer.operator not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return None
    channels = layer.output_shape[2]
    depthwise = layer.operator == "DEPTHWISE_CONV_2D"
    inputs = 1 if depthwise else layer.input_shape[2]
    shape = (*layer.kernel, channels, 1) if depthwise else (*layer.kernel, inputs, channels)
    gain = 2.0 if layer.activation != "linear" else 1.0
    bound = float(np.sqrt(3.0 * gain / (prod(layer.kernel) * inputs)))
    kernel = _uniform(draw, shape, -bound, bound)
    if not layer.normalized:
        return LayerWeights(kernel, _uniform(draw, (channels,), -0.5, 0.5), ())
    statistics = tuple(_uniform(draw, (channels,), low, high) for low, high in _STATISTICS)
    return LayerWeights(kernel, None, statistics)


def _uniform(draw: Draw, shape: tuple[int, ...], low: float, high: float) -> NDArray[np.float32]:
    unit = draw.uniform(prod(shape)).reshape(shape)
    return unit * np.float32(high - low) + np.float32(low)
