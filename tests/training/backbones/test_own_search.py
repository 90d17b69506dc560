"""The search on a package's backbone: supernet, derived network, training, all of it tiny."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backbones import Backbone, get_backbone, registry
from harness.fit import save_fit
from harness.search.cost.counts import counts_of
from harness.search.space.grid import full_grid, thinned
from harness.search.supernet.expected import expected_counts
from harness.search.supernet.network import Supernet
from support.fits import fit_for
from support.own_backbone import install


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backbone]:
    """Return the backbone of the installed example."""
    monkeypatch.syspath_prepend(str(install(tmp_path / "package")))
    registry.forget()
    yield get_backbone("own")
    monkeypatch.undo()
    registry.forget()
    sys.modules.pop("own_backbone", None)


def test_its_supernet_contains_its_networks(own: Backbone) -> None:
    grid = full_grid(own, (32, 32, 3))
    grid = thinned(grid, {key: widths[-1] for key, widths in grid.widths.items()}, 3)
    net = Supernet(grid, seed=1)
    for kept in (True, False):
        architecture = grid.network(grid.smallest().with_kept(1, kept))
        weights = net.one_hot(architecture)
        expected = expected_counts(grid, weights).numbers()
        assert expected[:3] == pytest.approx(counts_of(own, architecture)[:3])
        built = own.build(architecture)
        for layer in own.layers(architecture):
            source, sink = layer.input_shape[2], layer.output_shape[2]
            if layer.name == "classifier":
                kernel, bias = net.classifier.get_weights()
                built.get_layer("classifier").set_weights([kernel[:, :, :source], bias])
            elif layer.operator == "CONV_2D":
                (kernel,) = net.convs[layer.name].get_weights()
                built.get_layer(layer.name).set_weights([kernel[:, :, :source, :sink]])
                norm = [values[:sink] for values in net.norms[layer.name].get_weights()]
                built.get_layer(f"{layer.name}_bn").set_weights(norm)
        inputs = own.representative(0, 1, architecture)
        np.testing.assert_allclose(
            np.asarray(built(inputs)), np.asarray(net(inputs, weights)), rtol=1e-4, atol=1e-5
        )


def test_a_search_finds_a_network_within_the_budget(
    own: Backbone, harness: Callable[..., Any]
) -> None:
    labels = np.arange(24) % 2
    images = np.random.default_rng(0).uniform(0, 0.5, (24, 32, 32, 3)).astype(np.float32)
    images[labels == 1] += 0.5
    names = ("train", "validation", "test")
    # Split by index, so that no image is in two splits.
    rows = {name: np.arange(24) % 3 == place for place, name in enumerate(names)}
    np.savez(
        "two.npz",
        **{f"x_{name}": images[row] for name, row in rows.items()},
        **{f"y_{name}": labels[row] for name, row in rows.items()},
    )
    save_fit(fit_for("own"), Path("fit.json"))
    fingerprint = fit_for("own").fingerprint
    answer = harness(
        "search", "own", "--data", "two.npz", "--fit", "fit.json", "--no-verify",
        "--runtime", fingerprint.runtime, "--kernels", fingerprint.kernels,
        "--latency-ms", 30, "--epochs", 2, "--trial-epochs", 1, "--retrain-epochs", 1,
        "--batch", 8, "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    run = answer.json()
    assert run["backbone"] == run["architecture"]["backbone"] == "own"
    assert run["predicted"]["latency_bound_us"] <= 30_000
    own.with_classes(2).validate(own.from_json(run["architecture"]))
