"""Quantisation-aware training: a network that rounds in training as its int8 .tflite will.

Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic
inference", as TensorFlow Lite has it: symmetric weights with a scale for each output channel,
asymmetric activations with a scale for each tensor. Imports TensorFlow: import it late.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from keras.quantizers import fake_quant_with_min_max_vars

from harness.backbones.layers import LayerSpec

_MOMENTUM = 0.99  # of activation ranges, from batch to batch


def fake_quantised(model: keras.Model, layers: tuple[LayerSpec, ...]) -> keras.Model:
    """Return a network that shares the variables of `model` and rounds as its int8 .tflite does.

    Gradients pass the rounding unchanged. Batch normalisations are folded with their moving
    statistics, which no longer move. Activation ranges are variables of the new network; training
    moves them towards those of each batch.

    Args:
        model: Trained; what `Backbone.build` made of `layers`.
    """
    inputs = keras.layers.Input(batch_shape=model.inputs[0].shape, name="input")
    quantise = FakeQuantisation(name="input_range")
    tensor = quantise(inputs)
    outputs: dict[str, Any] = {}
    for layer in layers:
        if layer.parameters:
            norm = model.get_layer(f"{layer.name}_bn") if layer.normalized else None
            folded = FoldedConvolution(model.get_layer(layer.name), norm, f"{layer.name}_folded")
            tensor = folded(tensor)
            if layer.activation != "linear":
                tensor = model.get_layer(f"{layer.name}_{layer.activation}")(tensor)
        else:
            others = [outputs[layer.adds]] if layer.adds else []
            tensor = model.get_layer(layer.name)([tensor, *others] if others else tensor)
        if layer.parameters or layer.adds:
            quantise = FakeQuantisation(name=f"{layer.name}_range")
            tensor = quantise(tensor)
        else:  # outputs of pools and reshapes have the scale of their inputs
            tensor = quantise(tensor, follow=False)
        outputs[layer.name] = tensor
    return keras.Model(inputs, tensor, name=model.name)


def is_fake_quantised(model: keras.Model) -> bool:
    """Return whether `fake_quantised` made the model, so that it has its activation ranges."""
    return any(isinstance(layer, FakeQuantisation) for layer in model.layers)


class FakeQuantisation(keras.layers.Layer):
    """Round activations to the 256 levels of a range that includes 0."""

    def build(self, _: Any) -> None:
        """Start with an empty range, which the first batch replaces."""
        self.low = self.add_weight(name="low", shape=(), initializer="zeros", trainable=False)
        self.high = self.add_weight(name="high", shape=(), initializer="zeros", trainable=False)

    def call(self, inputs: Any, follow: bool = True, training: bool = False) -> Any:
        """Round `inputs`; in training the range moves first, if it is to `follow` them."""
        if training and follow:
            kept = ops.where(self.high > self.low, _MOMENTUM, 0.0)
            self.low.assign(kept * self.low + (1 - kept) * ops.minimum(ops.min(inputs), 0.0))
            self.high.assign(kept * self.high + (1 - kept) * ops.maximum(ops.max(inputs), 0.0))
        return fake_quant_with_min_max_vars(inputs, self.low, self.high)


class FoldedConvolution(keras.layers.Layer):
    """A convolution with its batch normalisation folded in and its weights rounded."""

    def __init__(self, convolution: Any, normalization: Any | None, name: str) -> None:
        super().__init__(name=name)
        self.convolution, self.normalization = convolution, normalization

    def call(self, inputs: Any) -> Any:
        """Convolve."""
        layer, norm = self.convolution, self.normalization
        kernel, bias = layer.kernel, layer.bias
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        if norm is not None:
            factor = norm.gamma * ops.rsqrt(norm.moving_variance + norm.epsilon)
            kernel = kernel * (factor[:, None] if depthwise else factor)
            bias = norm.beta - norm.moving_mean * factor
        channel = 2 if depthwise else 3
        others = [axis for axis in range(4) if axis != channel]
        bound = ops.max(ops.abs(kernel), others)
        kernel = fake_quant_with_min_max_vars(
            kernel, -bound, bound, narrow_range=True, axis=channel
        )
        convolve = ops.depthwise_conv if depthwise else ops.conv
        return convolve(inputs, kernel, layer.strides, layer.padding) + bias
