from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.backbones import backbone_names, get_backbone
from harness.backbones.skeleton import width_name
from harness.fit.features import FEATURES
from harness.search.cost.counts import Counts, counts_of
from harness.search.space.grid import Grid, Point, full_grid
from harness.search.supernet.expected import expected_counts
from harness.search.supernet.network import Supernet

SHAPES = {
    "ds_cnn_kws": (49, 10, 1),
    "ds_cnn_ad": (32, 32, 1),
    "ds_cnn_ad_3x3": (32, 32, 1),
    "ds_cnn_ic": (32, 32, 3),
    "mobilenet_v2_vww": (50, 50, 1),
}
GRIDS = {name: full_grid(get_backbone(name), SHAPES[name]) for name in backbone_names()}


def one_hot(grid: Grid, point: Point) -> dict[str, np.ndarray]:
    weights = {
        width_name(key): np.eye(len(choices))[choices.index(point.widths[key])]
        for key, choices in grid.widths.items()
    }
    gates = {block.gate: np.eye(2)[int(point.kept[block.index])] for block in grid.optional}
    return {**weights, **gates}


def figures(counts: Counts) -> list[float]:
    *plain, features = counts.numbers()
    return [*plain, *features.values()]


@cache
def counter(name: str) -> Any:
    """Return the expected counts of a grid as one graph, which is much faster."""
    return tf.function(lambda weights: expected_counts(GRIDS[name], weights))


@pytest.mark.parametrize("name", backbone_names())
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_one_hot_decisions_cost_what_the_derived_architecture_costs(
    name: str, data: st.DataObject
) -> None:
    grid, backbone = GRIDS[name], get_backbone(name)
    # Any point: skipped blocks anywhere, widths of skipped blocks too. The derived architecture
    # moves the skipped ones behind the others.
    point = Point(
        {key: data.draw(st.sampled_from(choices)) for key, choices in grid.widths.items()},
        {block.index: data.draw(st.booleans()) for block in grid.optional},
    )
    architecture = grid.architecture(point)
    if architecture is None:  # too few blocks
        return
    expected = counter(name)(_tensors(one_hot(grid, point)))
    assert figures(expected) == figures(counts_of(backbone, architecture))


def _tensors(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: tf.constant(value) for name, value in weights.items()}


@pytest.mark.parametrize("name", backbone_names())
def test_sampled_architectures_are_on_the_grid_and_come_back(name: str) -> None:
    grid, backbone = GRIDS[name], get_backbone(name)
    for index in range(30):
        sampled = dict(backbone.sample(2, index).decisions)
        if "resolution" in sampled:
            sampled["resolution"] = (50,)
        architecture = backbone.architecture(**sampled)
        assert grid.architecture(grid.point(architecture)) == architecture


def test_expected_counts_are_the_mean_over_all_networks() -> None:
    """Enumerate a small grid: working memory is a bound of the mean, everything else the mean."""
    backbone = get_backbone("ds_cnn_kws")
    widths = {
        key: (8, 21) if key == ("blocks", 0) else (12,) for key in GRIDS[backbone.name].widths
    }
    grid = Grid(backbone, GRIDS[backbone.name].skeleton, widths)
    chance = {"blocks_0": [0.3, 0.7], "block0_gate": [0.2, 0.8], "block6_gate": [0.6, 0.4]}
    weights: dict[str, np.ndarray] = {}
    for name, value in one_hot(grid, grid.smallest().with_kept(7, False)).items():
        weights[name] = np.array(chance.get(name, value))
    total = np.zeros(3 + len(FEATURES))
    for width, first, late in product((0, 1), repeat=3):
        point = Point(
            {**dict.fromkeys(widths, 12), ("blocks", 0): (8, 21)[width]},
            {**dict.fromkeys(range(8), True), 0: bool(first), 6: bool(late), 7: False},
        )
        share = chance["blocks_0"][width] * chance["block0_gate"][first]
        share *= chance["block6_gate"][late]
        architecture = grid.architecture(point)
        assert architecture is not None
        total += share * np.array(figures(counts_of(backbone, architecture)))
    expected = np.array(figures(expected_counts(grid, weights)))
    memory = list(Counts._fields).index("working_memory_bytes")
    assert expected[memory] <= total[memory]
    means = np.delete(expected, memory), np.delete(total, memory)
    np.testing.assert_allclose(*means, rtol=1e-12)


@pytest.mark.parametrize("name", backbone_names())
def test_every_decision_has_a_gradient(name: str) -> None:
    grid = GRIDS[name]
    rng = np.random.default_rng(0)
    weights: Mapping[str, tf.Variable] = {
        item: tf.Variable(keras.ops.softmax(rng.normal(size=value.shape)))
        for item, value in one_hot(grid, grid.smallest()).items()
    }
    with tf.GradientTape() as tape:
        found = expected_counts(grid, weights)
        total = found.ops + found.parameters + found.working_memory_bytes
    gradients = tape.gradient(total, list(weights.values()))
    for item, gradient in zip(weights, gradients, strict=True):
        assert gradient is not None, item
        assert np.abs(gradient.numpy()).max() > 0, item


def test_memory_has_a_gradient_at_the_node_that_needs_most() -> None:
    grid = GRIDS["ds_cnn_kws"]
    net = Supernet(grid)
    with tf.GradientTape() as tape:
        memory = expected_counts(grid, net.relaxed(1.0)).working_memory_bytes
    gradient = tape.gradient(memory, net.choices["stem_0"].evidence.value)
    assert gradient.numpy()[-1] > 0
