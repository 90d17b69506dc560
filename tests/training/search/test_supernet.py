from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from harness.backbones import Architecture, backbone_names, get_backbone
from harness.search.space.grid import full_grid, thinned
from harness.search.supernet.decisions import Branch, Choice, Mask, Width
from harness.search.supernet.network import Supernet

SHAPES = {
    "ds_cnn_kws": (49, 10, 1),
    "ds_cnn_ad": (32, 32, 1),
    "ds_cnn_ad_3x3": (32, 32, 1),
    "ds_cnn_ic": (32, 32, 3),
    "mobilenet_v2_vww": (50, 50, 1),
}


@pytest.fixture(scope="module", params=backbone_names())
def net(request: pytest.FixtureRequest) -> Any:
    """Return a supernet whose normalisations are off their defaults, as after training."""
    backbone = get_backbone(request.param)
    grid = full_grid(backbone, SHAPES[request.param])
    made = Supernet(grid, seed=3)
    rng = np.random.default_rng(0)
    ranges = ((0.75, 1.25), (-0.25, 0.5), (-0.25, 0.25), (0.75, 1.25))
    for norm in made.norms.values():
        norm.set_weights(
            [rng.uniform(*bounds, size=values.shape)
             for bounds, values in zip(ranges, norm.get_weights(), strict=True)]
        )  # fmt: skip
    made.classifier.set_weights([rng.normal(size=w.shape) for w in made.classifier.get_weights()])
    return made


def sampled(name: str, index: int) -> Architecture:
    backbone = get_backbone(name)
    decisions = dict(backbone.sample(5, index).decisions)
    if "resolution" in decisions:
        decisions["resolution"] = (50,)
    return backbone.architecture(**decisions)


def copy_weights(net: Supernet, model: Any, architecture: Architecture) -> None:
    """Give a network that the backbone built the weights that it has in the supernet."""
    for layer in net.grid.backbone.layers(architecture):
        if not layer.operator.endswith("CONV_2D"):
            continue
        source, sink = layer.input_shape[2], layer.output_shape[2]
        if layer.name == "classifier":
            kernel, bias = net.classifier.get_weights()
            model.get_layer(layer.name).set_weights([kernel[:, :, :source], bias])
            continue
        (kernel,) = net.convs[layer.name].get_weights()
        outputs = 1 if layer.operator == "DEPTHWISE_CONV_2D" else sink
        model.get_layer(layer.name).set_weights([kernel[:, :, :source, :outputs]])
        statistics = [values[:sink] for values in net.norms[layer.name].get_weights()]
        model.get_layer(f"{layer.name}_bn").set_weights(statistics)


@pytest.mark.parametrize("index", range(4))
def test_one_hot_decisions_compute_what_the_derived_network_computes(net: Any, index: int) -> None:
    backbone = net.grid.backbone
    architecture = sampled(backbone.name, index)
    derived = backbone.build(architecture, seed=9)
    copy_weights(net, derived, architecture)
    inputs = backbone.representative(index, 2, architecture)
    together = np.asarray(net(inputs, net.one_hot(architecture)))
    for row, expected in zip(inputs, together, strict=True):
        np.testing.assert_allclose(
            np.asarray(derived(row[None]))[0], expected, rtol=1e-4, atol=1e-5
        )
    assert np.ptp(together) > 1e-2  # not all the same number


def test_a_residual_between_stages_is_added_where_widths_agree() -> None:
    backbone = get_backbone("mobilenet_v2_vww")
    grid = full_grid(backbone, (50, 50, 1))
    decisions = {
        name: [choices[0] for choices in (slot.choices(4) for slot in slots)]
        for name, slots in backbone.space.slots.items()
    }
    decisions["resolution"] = [50]
    outputs = decisions["outputs"]
    outputs[6], outputs[10] = 16, 16  # the only ones of stages 3 and 4, which is of stride 1
    architecture = backbone.architecture(**decisions)
    assert any(layer.operator == "ADD" for layer in backbone.layers(architecture))
    net, derived = Supernet(grid, seed=1), backbone.build(architecture)
    copy_weights(net, derived, architecture)
    inputs = backbone.representative(0, 1, architecture)
    np.testing.assert_allclose(
        np.asarray(derived(inputs)), np.asarray(net(inputs, net.one_hot(architecture))),
        rtol=1e-4, atol=1e-6,
    )  # fmt: skip


def test_what_is_beyond_a_width_does_not_matter(net: Any) -> None:
    architecture = sampled(net.grid.backbone.name, 0)
    inputs = net.grid.backbone.representative(1, 2, architecture)
    weights = net.one_hot(architecture)
    before = np.asarray(net(inputs, weights))
    width = architecture["stem"][0]
    conv, norm = net.convs["stem"], net.norms["stem"]
    saved = (conv.get_weights(), norm.get_weights())
    try:
        conv.set_weights([_spoilt(saved[0][0], width)])
        norm.set_weights([_spoilt(values, width) for values in saved[1]])
        np.testing.assert_array_equal(np.asarray(net(inputs, weights)), before)
    finally:
        conv.set_weights(saved[0])
        norm.set_weights(saved[1])


def _spoilt(values: np.ndarray, width: int) -> np.ndarray:
    changed = values.copy()
    changed[..., width:] += 3
    return changed


def test_initial_weights_come_from_the_seed_alone() -> None:
    backbone = get_backbone("ds_cnn_kws")
    grid = thinned(full_grid(backbone, (49, 10, 1)), dict.fromkeys(
        full_grid(backbone, (49, 10, 1)).widths, 16), 3)  # fmt: skip
    keras.utils.set_random_seed(1)
    first = Supernet(grid, 4).convs["block1_pw"].get_weights()[0]
    keras.utils.set_random_seed(2)
    second = Supernet(grid, 4).convs["block1_pw"].get_weights()[0]
    np.testing.assert_array_equal(first, second)
    assert not (first == Supernet(grid, 5).convs["block1_pw"].get_weights()[0]).all()


def test_a_choice_becomes_one_hot_as_it_cools() -> None:
    choice = Choice(3, initial=(0.0, 1.0, 0.5))
    warm, cold = np.asarray(choice(temperature=5.0)), np.asarray(choice(temperature=0.01))
    assert warm.sum() == pytest.approx(1)
    assert np.ptp(warm) < 0.1
    np.testing.assert_allclose(cold, [0, 1, 0], atol=1e-6)
    noisy = np.asarray(choice(temperature=0.01, noise=np.array([5.0, 0.0, 0.0], np.float32)))
    np.testing.assert_allclose(noisy, [1, 0, 0], atol=1e-6)


def test_neighbouring_widths_share_evidence() -> None:
    choice = Choice(5, initial=(0.0, 0.0, 0.0, 0.0, 1.0), spread=1.0)
    np.testing.assert_allclose(np.asarray(choice.logits), [0, 0, 0, 0, 1])
    choice.evidence.assign([0, 3, 0, 0, 0])
    logits = np.asarray(choice.logits)
    assert logits[1] > logits[0] > 0
    assert logits[1] > logits[2] > logits[3] > 0
    alone = Choice(2)
    alone.evidence.assign([0, 3])
    np.testing.assert_allclose(np.asarray(alone.logits), [0, 3])


def test_a_width_masks_what_is_beyond_it() -> None:
    width, mask = Width((2, 4), channels=5), Mask()
    tensor = np.ones((1, 1, 1, 5), np.float32)
    narrow = width(np.array([1.0, 0.0], np.float32))
    np.testing.assert_array_equal(np.asarray(mask(tensor, narrow))[0, 0, 0], [1, 1, 0, 0, 0])
    between = width(np.array([0.25, 0.75], np.float32))
    np.testing.assert_allclose(np.asarray(between), [0, 0, 0.25, 0, 0.75, 0])
    np.testing.assert_allclose(np.asarray(mask(tensor, between))[0, 0, 0], [1, 1, 0.75, 0.75, 0])


def test_a_branch_mixes_keep_and_skip() -> None:
    branch = Branch()
    kept, skipped = np.full((2, 3), 10.0), np.full((2, 3), 2.0)
    assert np.asarray(branch(kept, skipped, np.array([1.0, 0.0]))).max() == 2
    assert np.asarray(branch(kept, skipped, np.array([0.25, 0.75]))).max() == 8
