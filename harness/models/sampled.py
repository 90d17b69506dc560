"""Write the int8 .tflite of a sampled architecture without TensorFlow.

The graph is the one that TensorFlow's converter makes of the same layers: operators, versions,
options, order of tensors, names, quantised dimensions. Weights are those that
`harness.models.convert.convert_architecture` gives the same seed; activation ranges come from a
float pass over the same calibration inputs, as the converter's do. A test compares both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.backbones import get_backbone
from harness.backbones.draw import Draw, key_of
from harness.backbones.layers import LayerSpec
from harness.backbones.weights import draw_weights
from harness.models.writer import ModelWriter

Floats = NDArray[np.float32]

SAMPLER_VERSION = "tflite writer 1"
CALIBRATION_SAMPLES = 8
"""Inputs that activation ranges are taken from; the ranges are all that they decide."""

CALIBRATION_SEED = 0
_DESCRIPTION = "TinyML Harness"
# Operator versions that TensorFlow writes for int8 with per-channel weights.
_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "ADD": 2, "AVERAGE_POOL_2D": 2, "RESHAPE": 1}
_ACTIVATIONS = {"linear": "NONE", "relu": "RELU", "relu6": "RELU6"}


@dataclass(frozen=True, slots=True)
class _Range:
    low: float
    high: float

    @classmethod
    def of(cls, values: Floats) -> _Range:
        return cls(min(0.0, float(values.min())), max(0.0, float(values.max())))

    def union(self, other: _Range) -> _Range:
        return _Range(min(self.low, other.low), max(self.high, other.high))

    @property
    def scale(self) -> float:
        return (self.high - self.low) / 255 or 1.0

    @property
    def zero_point(self) -> int:
        return int(np.clip(np.round(-128 - self.low / self.scale), -128, 127))


def write_architecture(
    backbone_name: str, architecture: str | Mapping[str, Any], seed: int = 0
) -> bytes:
    """Return the .tflite of one network of a backbone, with weights from `seed`.

    Args:
        backbone_name: Backbone that the architecture must be of.
        architecture: What `Architecture.dumps` or `.to_json` gave.
        seed: Of the weights.

    Raises:
        BackboneError: Backbone or architecture is unknown or outside the search space.
    """
    backbone = get_backbone(backbone_name)
    parsed = backbone.from_json(architecture)
    layers = backbone.layers(parsed)
    draw = Draw(seed, key_of(parsed.dumps()))
    weights = {layer.name: _folded(layer, draw) for layer in layers}
    inputs = backbone.representative(CALIBRATION_SEED, CALIBRATION_SAMPLES, parsed)
    return _write(layers, weights, _ranges(layers, weights, inputs))


def _folded(layer: LayerSpec, draw: Draw) -> tuple[Floats, Floats] | None:
    drawn = draw_weights(layer, draw)
    if drawn is None:
        return None
    return drawn.folded(depthwise=layer.operator == "DEPTHWISE_CONV_2D")


def _ranges(
    layers: tuple[LayerSpec, ...],
    weights: Mapping[str, tuple[Floats, Floats] | None],
    inputs: Floats,
) -> dict[str, _Range]:
    """Return the range of the input ("") and of each layer's output over the calibration inputs."""
    ranges = {"": _Range.of(inputs)}
    kept = {layer.adds for layer in layers if layer.adds}
    outputs: dict[str, Floats] = {}
    tensor, last = inputs, ""
    for layer in layers:
        tensor = _forward(layer, weights[layer.name], tensor, outputs)
        if layer.name in kept:
            outputs[layer.name] = tensor
        if layer.operator in ("AVERAGE_POOL_2D", "RESHAPE"):
            ranges[layer.name] = ranges[last]  # int8 pools and reshapes keep scale and zero point
        else:
            ranges[layer.name] = _Range.of(tensor)
        if layer.operator == "ADD":
            # The calibrator's interpreter adds in place: the sum lies where the newest input was.
            ranges[last] = ranges[last].union(ranges[layer.name])
        last = layer.name
    return ranges


def _forward(
    layer: LayerSpec,
    weights: tuple[Floats, Floats] | None,
    tensor: Floats,
    outputs: Mapping[str, Floats],
) -> Floats:
    """Compute one layer in float32, NHWC."""
    match layer.operator:
        case "ADD":
            return tensor + outputs[layer.adds or ""]
        case "RESHAPE":
            return tensor
        case "AVERAGE_POOL_2D":
            return _average(layer, tensor)
    assert weights is not None
    kernel, bias = weights
    if layer.operator == "DEPTHWISE_CONV_2D":
        tensor = _depthwise(layer, tensor, kernel[..., 0])
    else:
        tensor = _convolution(layer, tensor, kernel)
    tensor += bias
    if layer.activation != "linear":
        np.clip(tensor, 0, 6 if layer.activation == "relu6" else None, out=tensor)
    return tensor


def _padded(layer: LayerSpec, tensor: Floats) -> Floats:
    """Pad as TensorFlow's SAME does: the odd row or column goes to the end."""
    if layer.padding == "valid" or (layer.kernel == (1, 1) and layer.stride == 1):
        return tensor
    pads = []
    for axis in (0, 1):
        total = (layer.output_shape[axis] - 1) * layer.stride + layer.kernel[axis]
        missing = max(0, total - layer.input_shape[axis])
        pads.append((missing // 2, missing - missing // 2))
    return np.pad(tensor, ((0, 0), *pads, (0, 0)))


def _taps(layer: LayerSpec, tensor: Floats) -> list[Floats]:
    """Return the inputs of every output at each position of the kernel, row by row."""
    padded, step = _padded(layer, tensor), layer.stride
    rows, columns = ((size - 1) * step + 1 for size in layer.output_shape[:2])
    return [
        padded[:, y : y + rows : step, x : x + columns : step]
        for y in range(layer.kernel[0])
        for x in range(layer.kernel[1])
    ]


def _convolution(layer: LayerSpec, tensor: Floats, kernel: Floats) -> Floats:
    taps = _taps(layer, tensor)
    columns = np.concatenate(taps, axis=-1) if len(taps) > 1 else taps[0]
    return np.asarray(columns @ kernel.reshape(-1, kernel.shape[-1]))


def _depthwise(layer: LayerSpec, tensor: Floats, kernel: Floats) -> Floats:
    first, *others = zip(_taps(layer, tensor), kernel.reshape(-1, kernel.shape[-1]), strict=True)
    total = first[0] * first[1]
    for seen, weight in others:
        total += seen * weight
    return np.asarray(total)


def _average(layer: LayerSpec, tensor: Floats) -> Floats:
    if layer.kernel == layer.input_shape[:2]:
        return np.asarray(tensor.mean(axis=(1, 2), keepdims=True))
    ones = np.ones((1, *tensor.shape[1:3], 1), np.float32)
    seen, counts = (sum(_taps(layer, values)) for values in (tensor, ones))
    return np.asarray(seen / counts, np.float32)


def _write(
    layers: tuple[LayerSpec, ...],
    weights: Mapping[str, tuple[Floats, Floats] | None],
    ranges: Mapping[str, _Range],
) -> bytes:
    writer = ModelWriter(description=_DESCRIPTION)
    first = layers[0].input_shape
    source = writer.tensor(
        (1, *first), scale=ranges[""].scale, zero_point=ranges[""].zero_point, name="input"
    )
    classes = layers[-1].output_shape[2]
    shape = writer.tensor((2,), "int32", data=(1, classes), name="arith.constant")
    names = [layer.name for layer in layers]
    inputs_of = dict(zip(names, ["", *names[:-1]], strict=True))
    # TensorFlow lists constants from the last layer to the first, then activations.
    constants = {
        layer.name: _constants(writer, layer, *folded, ranges[inputs_of[layer.name]].scale)
        for layer in reversed(layers)
        if (folded := weights[layer.name]) is not None
    }
    tensors = {"": source}
    for layer in layers:
        dims = (classes,) if layer.operator == "RESHAPE" else layer.output_shape
        tensors[layer.name] = writer.tensor(
            (1, *dims),
            scale=ranges[layer.name].scale,
            zero_point=ranges[layer.name].zero_point,
            name=_activation_name(layer),
        )
    for layer in layers:
        inputs = [tensors[inputs_of[layer.name]], *constants.get(layer.name, ())]
        if layer.operator == "RESHAPE":
            inputs.append(shape)
        if layer.adds:
            inputs.append(tensors[layer.adds])
        writer.operator(
            layer.operator,
            inputs,
            [tensors[layer.name]],
            version=_VERSIONS[layer.operator],
            **_options(layer),
        )
    return writer.finish([source], [tensors[layers[-1].name]])


def _constants(
    writer: ModelWriter, layer: LayerSpec, kernel: Floats, bias: Floats, input_scale: float
) -> tuple[int, int]:
    """Write bias and weights, in this order as TensorFlow does; return weights and bias."""
    depthwise = layer.operator == "DEPTHWISE_CONV_2D"
    axis = 3 if depthwise else 0
    ordered = kernel.transpose(3, 0, 1, 2)  # OHWI; of a depthwise convolution 1HWC
    others = tuple(index for index in range(4) if index != axis)
    scales = (np.abs(ordered).max(axis=others) / np.float32(127)).astype(np.float32)
    scales[scales == 0] = 1
    shaped = scales.reshape([-1 if index == axis else 1 for index in range(4)])
    data = np.clip(_rounded(ordered / shaped), -127, 127).astype(np.int8)
    bias_scales = (scales * np.float32(input_scale)).astype(np.float32)
    bias_data = _rounded(bias / bias_scales).astype(np.int32)
    weights_name, bias_name = _names(layer)
    biases = writer.tensor(bias.shape, "int32", scale=bias_scales, data=bias_data, name=bias_name)
    weights = writer.tensor(data.shape, scale=scales, axis=axis, data=data, name=weights_name)
    return weights, biases


def _rounded(values: Floats) -> Floats:
    """Round halves away from zero."""
    return np.trunc(values + np.copysign(np.float32(0.5), values))


def _names(layer: LayerSpec) -> tuple[str, str]:
    """Return TensorFlow's names of weights and bias: the Keras operations they came from."""
    name = layer.name
    if not layer.normalized:
        made = f"{name}_1/BiasAdd;{name}_1/convolution;{name}_1/Squeeze"
        return f"{name}_1/convolution", made
    norm = f"{name}_bn_1/batchnorm"
    weights, product = f"{name}_1/convolution", f"{name}_1/convolution"
    if layer.operator == "DEPTHWISE_CONV_2D":
        weights = product = f"{norm}/mul_1;{name}_1/depthwise;{norm}/mul"
    function = layer.activation
    relu = "" if function == "linear" else f"{name}_{function}_1/{function.capitalize()};"
    return weights, f"{relu}{norm}/add_1;{product};{norm}/sub"


def _activation_name(layer: LayerSpec) -> str:
    match layer.operator:
        case "AVERAGE_POOL_2D":
            return f"{layer.name}_1/AvgPool"
        case "ADD":
            return f"{layer.name}_1/Add"
        case "RESHAPE":
            return "Identity"
    return f"{_names(layer)[1]}1"


def _options(layer: LayerSpec) -> dict[str, Any]:
    if layer.operator == "RESHAPE":
        return {}
    activation = {"fused_activation": _ACTIVATIONS[layer.activation]}
    if layer.operator == "ADD":
        return activation
    window = {"padding": layer.padding.upper(), "stride_w": layer.stride, "stride_h": layer.stride}
    if layer.operator == "AVERAGE_POOL_2D":
        height, width = layer.kernel
        if layer.padding == "valid":  # over the whole map: Keras strides by the size of the pool
            window |= {"stride_w": width, "stride_h": height}
        return {**activation, **window, "filter_width": width, "filter_height": height}
    if layer.operator == "DEPTHWISE_CONV_2D":
        return {**activation, **window, "depth_multiplier": 1}
    return {**activation, **window}
