from __future__ import annotations

import pytest

from harness.backbones import Architecture, backbone_names, get_backbone


def test_micronet_kws_m_costs_what_the_paper_says() -> None:
    backbone = get_backbone("ds_cnn_kws")
    cost = backbone.cost(backbone.architecture(stem=[140], blocks=[140] * 3 + [112, 196, 0, 0, 0]))
    assert round(cost.ops / 1e6, 1) == 31.1
    assert cost.ops == 2 * cost.macs
    assert cost.working_memory_bytes == 490 * 140 + 125 * 140


def _by_hand_ds_cnn(architecture: Architecture) -> tuple[int, int, int]:
    """Count a DS-CNN for keyword spotting a second time, from its definition."""
    width = architecture["stem"][0]
    macs, parameters = 490 * 40 * width, 41 * width
    memory = 490 + 490 * width
    points = 490
    for output in filter(None, architecture["blocks"]):
        memory = max(memory, (points + 125) * width, 125 * (width + output))
        points = 125
        macs += 125 * 9 * width + 125 * width * output
        parameters += 10 * width + (width + 1) * output
        width = output
    return macs + 12 * width, parameters + 12 * (width + 1), max(memory, 126 * width)


def test_counts_agree_with_a_second_count_over_many_networks() -> None:
    backbone = get_backbone("ds_cnn_kws")
    for index in range(200):
        architecture = backbone.sample(8, index, width_step=1 + index % 4)
        cost = backbone.cost(architecture)
        counted = (cost.macs, cost.parameters, cost.working_memory_bytes)
        assert counted == _by_hand_ds_cnn(architecture)


def test_full_mobilenet_is_mobilenet_v2() -> None:
    backbone = get_backbone("mobilenet_v2_vww")
    largest = {
        name: [slot.maximum for slot in slots] for name, slots in backbone.space.slots.items()
    }
    architecture = backbone.architecture(**largest)
    cost = backbone.cost(architecture)
    # 2,257,984 parameters without the classifier (Keras' MobileNetV2 without top), of which 34,112
    # are statistics and scales that folding takes away, and two colour channels less in the stem.
    assert cost.parameters == 2_257_984 - 3 * 17_056 - 2 * 288 + 2 * 1281
    assert sum(layer.operator == "ADD" for layer in cost.layers) == 10


@pytest.mark.parametrize("name", backbone_names())
def test_totals_are_sums_and_maxima_of_layers(name: str) -> None:
    backbone = get_backbone(name)
    for index in range(20):
        cost = backbone.cost(backbone.sample(0, index))
        assert cost.macs == sum(layer.macs for layer in cost.layers)
        assert cost.parameters == sum(layer.parameters for layer in cost.layers)
        assert cost.working_memory_bytes == max(layer.working_memory_bytes for layer in cost.layers)
        assert len({layer.name for layer in cost.layers}) == len(cost.layers)


def test_skipped_downsampling_block_becomes_an_average_pool() -> None:
    backbone = get_backbone("ds_cnn_kws")
    architecture = backbone.architecture(stem=[16], blocks=[0, 16, 16, 16, 16, 0, 0, 0])
    layers = backbone.layers(architecture)
    assert layers[1].operator == "AVERAGE_POOL_2D"
    assert layers[1].output_shape == (25, 5, 16)


def test_choices_are_the_grid_of_a_decision() -> None:
    slots = get_backbone("ds_cnn_kws").space.slots
    assert slots["stem"][0].choices(4) == tuple(range(4, 277, 4))
    assert slots["blocks"][3].choices(92) == (0, 92, 184, 276)
    assert str(slots["blocks"][0]) == "1..276 or 0 (skipped)"


@pytest.mark.parametrize("name", backbone_names())
def test_calibration_inputs_are_deterministic(name: str) -> None:
    backbone = get_backbone(name)
    sample = backbone.sample(0, 1)
    inputs = backbone.representative(4, 3, sample)
    assert inputs.shape == (3, *backbone.input_shape_of(sample))
    assert inputs.dtype == "float32"
    assert (inputs == backbone.representative(4, 3, sample)).all()
    assert not (inputs == backbone.representative(5, 3, sample)).all()
    assert (inputs.min() < 0) == backbone.signed_input
    assert len(backbone.input_shape) == 3
