"""Turn layer specifications into a Keras model. Imports TensorFlow: import it late."""

from __future__ import annotations

from math import prod
from typing import Any

import keras

from harness.backbones.draw import Draw
from harness.backbones.layers import LayerSpec, Shape
from harness.backbones.normalisation import BatchNormalization
from harness.backbones.weights import BATCH_NORM_EPSILON, draw_weights


def build_model(
    name: str, input_shape: Shape, layers: tuple[LayerSpec, ...], draw: Draw
) -> keras.Model:
    """Build `layers` with a batch of one and weights from `draw`.

    Nothing depends on, or changes, TensorFlow's global seed.
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
        tensor = BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=f"{layer.name}_bn")(tensor)
    if layer.activation != "linear":
        limit = 6.0 if layer.activation == "relu6" else None
        tensor = make.ReLU(max_value=limit, name=f"{layer.name}_{layer.activation}")(tensor)
    return tensor


def _set_weights(model: keras.Model, layer: LayerSpec, draw: Draw) -> None:
    drawn = draw_weights(layer, draw)
    if drawn is None:
        return
    bias = [] if drawn.bias is None else [drawn.bias]
    model.get_layer(layer.name).set_weights([drawn.kernel, *bias])
    if drawn.statistics:
        model.get_layer(f"{layer.name}_bn").set_weights(list(drawn.statistics))
