"""Networks of the backbones as .tflite, without TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest

from harness.backbones import backbone_names, get_backbone
from harness.errors import BackboneError
from harness.models import read_model, require_int8
from harness.models.sampled import write_architecture


@pytest.mark.parametrize("name", backbone_names())
def test_costs_are_those_of_the_backbone(name: str) -> None:
    backbone = get_backbone(name)
    architecture = backbone.sample(6, 1)
    model = read_model(write_architecture(name, architecture.dumps(), 1))
    require_int8(model)
    cost = backbone.cost(architecture)
    assert model.graph.macs == cost.macs
    assert model.graph.parameters == cost.parameters
    assert model.graph.working_memory_bytes == cost.working_memory_bytes


def test_the_seed_decides_the_weights_and_nothing_else() -> None:
    text = get_backbone("ds_cnn_kws").sample(0, 2).to_json()
    first, again, other = (write_architecture("ds_cnn_kws", text, seed) for seed in (3, 3, 4))
    assert first == again
    one, two = read_model(first).graph, read_model(other).graph
    assert list(one.operators) == list(two.operators)
    filters = one.operators[0].inputs[1]
    assert np.mean(one.tensors[filters].data != two.tensors[filters].data) > 0.9


def test_int8_outputs_fill_their_range() -> None:
    graph = read_model(
        write_architecture("ds_cnn_ad", get_backbone("ds_cnn_ad").sample(1, 3).dumps())
    ).graph
    for tensor in graph.tensors:
        if tensor.dtype == "int8" and tensor.data is not None:
            assert np.abs(tensor.data.astype(int)).max() == 127
    relus = [o.outputs[0] for o in graph.operators if o.options.get("fused_activation") == "RELU"]
    assert all(graph.tensors[index].zero_points == (-128,) for index in relus)


def test_an_architecture_of_another_backbone_is_refused() -> None:
    text = get_backbone("ds_cnn_ad").sample(0, 0).dumps()
    with pytest.raises(BackboneError, match="ds_cnn_ad"):
        write_architecture("ds_cnn_kws", text)
