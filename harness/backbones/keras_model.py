"""Turn layer specifications into a Keras model. Imports TensorFlow: import it late."""

from __future__ import annotations

from math import prod
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from harness.backbones.draw import Draw
from harness.backbones.layers import LayerSpec, Shape

_BATCH_NORM_EPSILON = 1e-3


def build_model(
    name: str, input_shape: Shape, layers: tuple[LayerSpec, ...], draw: Draw
) -> keras.Model:
    """Build `layers` with a batch of one and weights from `draw`.

    The weights keep activations at unit scale (He et al. 2015) and the batch normalisations are
    off their defaults, so that no channel is dead, int8 outputs fill their range and folding is
    exercised. Nothing depends on, or changes, TensorFlow's global seed.
    """
    inputs = keras.layers.Input(input_shape, batch_size=1, name="input")
    outputs = {"": inputs}
    tensor = inputs
    for layer in layers:
        tensor = _apply(layer, tensor, outputs)
        outputs[layer.name] = tensor
    model = keras.Model(inputs, tensor, name=name)
    for layer in layers:
        _set_weights(model, layer, draw)
    return model


def _apply(layer: LayerSpec, tensor: Any, outputs: dict[str, Any]) -> Any:
    make = keras.layers
    # Weights are set afterwards: zeros are the cheapest to start from.
    zeros: dict[str, Any] = {"use_bias": not layer.normalized, "name": layer.name}
    match layer.operator:
        case "CONV_2D":
            tensor = make.Conv2D(
                layer.output_shape[2], layer.kernel, layer.stride, layer.padding,
                kernel_initializer="zeros", **zeros,
            )(tensor)  # fmt: skip
        case "DEPTHWISE_CONV_2D":
            tensor = make.DepthwiseConv2D(
                layer.kernel, layer.stride, layer.padding,
                depthwise_initializer="zeros", **zeros,
            )(tensor)  # fmt: skip
        case "AVERAGE_POOL_2D":
            stride = layer.stride if layer.padding == "same" else None
            tensor = make.AveragePooling2D(layer.kernel, stride, layer.padding, name=layer.name)(
                tensor
            )
        case "ADD":
            tensor = make.Add(name=layer.name)([tensor, outputs[layer.adds or ""]])
        case "RESHAPE":
            tensor = make.Reshape((prod(layer.output_shape),), name=layer.name)(tensor)
    if layer.normalized:
        tensor = make.BatchNormalization(epsilon=_BATCH_NORM_EPSILON, name=f"{layer.name}_bn")(
            tensor
        )
    if layer.activation != "linear":
        limit = 6.0 if layer.activation == "relu6" else None
        tensor = make.ReLU(max_value=limit, name=f"{layer.name}_{layer.activation}")(tensor)
    return tensor


def _set_weights(model: keras.Model, layer: LayerSpec, draw: Draw) -> None:
    if layer.operator not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return
    channels = layer.output_shape[2]
    depthwise = layer.operator == "DEPTHWISE_CONV_2D"
    fan_in = prod(layer.kernel) * (1 if depthwise else layer.input_shape[2])
    gain = 2.0 if layer.activation != "linear" else 1.0
    shape = (*layer.kernel, channels, 1) if depthwise else (
        *layer.kernel, layer.input_shape[2], channels
    )  # fmt: skip
    bound = float(np.sqrt(3.0 * gain / fan_in))
    weights = [_uniform(draw, shape, -bound, bound)]
    if not layer.normalized:
        weights.append(_uniform(draw, (channels,), -0.5, 0.5))
    model.get_layer(layer.name).set_weights(weights)
    if layer.normalized:
        ranges = ((0.75, 1.25), (-0.25, 0.5), (-0.25, 0.25), (0.75, 1.25))
        statistics = [_uniform(draw, (channels,), low, high) for low, high in ranges]
        model.get_layer(f"{layer.name}_bn").set_weights(statistics)


def _uniform(draw: Draw, shape: tuple[int, ...], low: float, high: float) -> NDArray[np.float32]:
    unit = draw.uniform(prod(shape)).reshape(shape)
    return unit * np.float32(high - low) + np.float32(low)
