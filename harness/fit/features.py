"""Features of a network that latency is fitted to: work by operator, and unaligned work.

CMSIS-NN multiplies four int8 channels at a time (SXTB16 and SMLAD on pairs) and computes four
output channels side by side. Remaining channels are computed one by one, and rows of weights whose
length is no multiple of four bytes are read unaligned. So multiply-accumulates are counted by
operator, and again for layers that are not aligned.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from harness.backbones.layers import LayerSpec

ALIGNMENT = 4

FEATURES = (
    "conv_macs",  # CONV_2D with a kernel larger than 1×1
    "pointwise_macs",  # CONV_2D 1×1
    "depthwise_macs",
    "unaligned_input_macs",  # CONV_2D whose row of weights is no multiple of four long
    "unaligned_output_macs",  # CONV_2D with a number of output channels that is none
    "unaligned_depthwise_macs",
    "conv_outputs",  # elements: each is requantised
    "added_elements",  # ADD
    "pooled_elements",  # AVERAGE_POOL_2D, inputs
    "parameters",
    "layers",
)


def count_features(layers: Iterable[LayerSpec]) -> dict[str, float]:
    """Return the features of a network by name, in the order of `FEATURES`."""
    found = dict.fromkeys(FEATURES, 0.0)
    for layer in layers:
        found["layers"] += 1
        found["parameters"] += layer.parameters
        outputs = prod(layer.output_shape)
        if layer.operator == "CONV_2D":
            _count_convolution(layer, outputs, found)
        elif layer.operator == "DEPTHWISE_CONV_2D":
            found["depthwise_macs"] += layer.macs
            if layer.output_shape[2] % ALIGNMENT:
                found["unaligned_depthwise_macs"] += layer.macs
        elif layer.operator == "ADD":
            found["added_elements"] += outputs
        elif layer.operator == "AVERAGE_POOL_2D":
            found["pooled_elements"] += prod(layer.input_shape)
    return found


def unaligned_share(layers: Iterable[LayerSpec]) -> float:
    """Return the share of a network's MACs in layers that are not aligned, from 0 to 1.

    The first convolution does not count: its input has one channel whatever the widths are.
    """
    macs = unaligned = 0
    for layer in layers:
        macs += layer.macs
        channels = (layer.output_shape[2], layer.input_shape[2] if layer.input_shape[2] > 1 else 0)
        if any(number % ALIGNMENT for number in channels):
            unaligned += layer.macs
    return unaligned / macs if macs else 0.0


def _count_convolution(layer: LayerSpec, outputs: int, found: dict[str, float]) -> None:
    kind = "pointwise_macs" if prod(layer.kernel) == 1 else "conv_macs"
    found[kind] += layer.macs
    found["conv_outputs"] += outputs
    if prod(layer.kernel) * layer.input_shape[2] % ALIGNMENT:
        found["unaligned_input_macs"] += layer.macs
    if layer.output_shape[2] % ALIGNMENT:
        found["unaligned_output_macs"] += layer.macs
