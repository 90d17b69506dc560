"""Small networks for tests."""

from __future__ import annotations

import numpy as np

from harness.models.writer import ModelWriter


def tiny_network(seed: int, pixels: int = 4) -> bytes:
    """Return the .tflite of a 1×1 convolution with random weights, which takes next to no time.

    Args:
        seed: Of the weights.
        pixels: Side of its input, which has 8 channels; its output has 4.
    """
    rng = np.random.default_rng(seed)
    writer = ModelWriter()
    inputs = writer.tensor((1, pixels, pixels, 8), scale=0.5, name="input")
    weights = rng.integers(-127, 128, (4, 1, 1, 8)).astype(np.int8)
    kernel = writer.tensor((4, 1, 1, 8), scale=[0.01] * 4, data=weights)
    zeros = np.zeros(4, dtype=np.int32)
    bias = writer.tensor((4,), "int32", scale=[0.005] * 4, data=zeros)
    output = writer.tensor((1, pixels, pixels, 4), scale=0.5, name="output")
    writer.operator("CONV_2D", [inputs, kernel, bias], [output], stride_w=1, stride_h=1)
    return writer.finish([inputs], [output])
