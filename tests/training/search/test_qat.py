"""Quantisation-aware training: the .tflite rounds as the network did in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.backbones import Architecture, Backbone, get_backbone
from harness.data.dataset import Dataset
from harness.models import convert, read_model
from harness.models.graph import Graph
from harness.search.training.evaluate import evaluate, float_logits, int8_logits
from harness.search.training.options import TrainOptions
from harness.search.training.quantise import quantise
from harness.search.training.train import train

DS_CNN, MOBILENET = get_backbone("ds_cnn_ad"), get_backbone("mobilenet_v2_vww")


def operators(graph: Graph) -> list[tuple[Any, ...]]:
    """Return all that a kernel is told but scales and values."""
    found: list[tuple[Any, ...]] = []
    for operator in graph.operators:
        tensors = [graph.tensors[index] for index in (*operator.inputs, *operator.outputs)]
        kinds = [
            (one.shape, one.dtype, len(one.scales), one.quantized_dimension) for one in tensors
        ]
        found.append((operator.name, operator.version, dict(operator.options), kinds))
    return found


@pytest.mark.parametrize(
    ("backbone", "architecture"),
    [
        (DS_CNN, DS_CNN.architecture(stem=[12], blocks=[8, 0, 0, 0, 12, 0, 16, 0])),
        (MOBILENET, MOBILENET.sample(0, 3)),
    ],
    ids=["a pool for a block", "residuals"],
)
def test_the_tflite_has_the_scales_of_training_and_the_usual_graph(
    backbone: Backbone, architecture: Architecture
) -> None:
    convert.load_tensorflow()
    from harness.search.training.qat import FakeQuantisation, FoldedConvolution, fake_quantised

    model = backbone.build(architecture, 1)
    rounding = fake_quantised(model, backbone.layers(architecture))
    x = backbone.representative(0, 16, architecture)
    rounding(x, training=True)
    content = convert.to_int8_tflite(rounding, None)
    graph = read_model(content).graph
    assert operators(graph) == operators(read_model(convert.to_int8_tflite(model, x)).graph)

    layers = rounding.layers
    ranges = [one for one in layers if isinstance(one, FakeQuantisation)]
    outputs = [graph.tensors[operator.outputs[0]] for operator in graph.operators
               if operator.name not in ("AVERAGE_POOL_2D", "RESHAPE")]  # fmt: skip
    tensors = [*graph.input_tensors(), *outputs]
    assert len(ranges) == len(tensors)
    for levels, tensor in zip(ranges, tensors, strict=True):
        low, high = float(levels.low), float(levels.high)
        assert low <= 0 <= high and low < high
        assert tensor.scale == pytest.approx((high - low) / 255, rel=1e-5)
        assert tensor.zero_point == pytest.approx(-128 - low / tensor.scale, abs=0.51)

    folded = [one for one in layers if isinstance(one, FoldedConvolution)]
    convolutions = [operator for operator in graph.operators if "CONV" in operator.name]
    for layer, operator in zip(folded, convolutions, strict=True):
        weights = graph.tensors[operator.inputs[1]]
        kernel = np.asarray(layer.convolution.kernel)
        axis = (0, 1, 3) if operator.name.startswith("DEPTHWISE") else (0, 1, 2)
        largest = np.abs(kernel).max(axis)
        if layer.normalization is not None:
            norm = layer.normalization
            variance = np.asarray(norm.moving_variance) + norm.epsilon
            largest *= np.asarray(norm.gamma) / np.sqrt(variance)
        assert weights.scales == pytest.approx(largest / 127, rel=1e-5)

    unseen = backbone.representative(1, 16, architecture)
    levels_off = np.abs(int8_logits(content, unseen) - float_logits(rounding, unseen))
    # Untrained, so that many layers round in a row; how far depends on the processor's arithmetic.
    assert np.median(levels_off) < 8 * graph.output_tensors()[0].scale


def test_int8_is_as_accurate_as_the_network_that_rounds(digits: Dataset) -> None:
    backbone = get_backbone("ds_cnn_kws").with_classes(10)
    architecture = backbone.architecture(stem=[12], blocks=[12, 16, 16, 16, 0, 0, 0, 0])
    options = TrainOptions(epochs=4, qat_epochs=2, learning_rate=0.01, batch_size=32)
    trained = train(backbone, architecture, digits, options)
    content = quantise(trained.model, digits)
    found = evaluate(content, digits.train, digits.classes, trained.model)
    assert found.float_accuracy > 0.7
    assert found.accuracy == pytest.approx(found.float_accuracy, abs=0.005)
    assert found.agreement > 0.98  # of 1,424; trained on the processor at hand
