"""Prices of layers are recovered from networks, kept in the file, and know multiples of four."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.backbones import get_backbone
from harness.errors import FitError
from harness.fit import Fit, load_fit, save_fit
from harness.fit.features import FEATURES, count_features, unaligned_share
from harness.fit.regress import fit_rows
from harness.results.record import Measurement
from harness.testing import fake_measurement

BACKBONE = get_backbone("mobilenet_v2_vww").with_resolution(96)
PRICES = {
    "conv_macs": 0.03, "pointwise_macs": 0.01, "depthwise_macs": 0.04, "layers": 20.0,
    "unaligned_input_macs": 0.005, "unaligned_output_macs": 0.002,
}  # fmt: skip
INTERCEPT = 500.0


def _row(index: int) -> Measurement:
    architecture = BACKBONE.sample(0, index, width_step=4 if index % 2 else 1)
    layers = BACKBONE.layers(architecture)
    counts = count_features(layers)
    latency = INTERCEPT + sum(PRICES.get(name, 0.0) * counts[name] for name in FEATURES)
    return replace(
        fake_measurement(index),
        backbone=BACKBONE.name,
        architecture=architecture.to_json(),
        ops=BACKBONE.cost(architecture).ops,
        latency_us=latency,
    )


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fit_rows([_row(index) for index in range(60)], predictor="layers")


def test_the_work_of_a_network_is_counted_by_kind() -> None:
    space = get_backbone("ds_cnn_kws")
    even = space.architecture(stem=[8], blocks=[16, 16, 16, 16, 0, 0, 0, 0])
    counts = count_features(space.layers(even))
    assert list(counts) == list(FEATURES)
    macs = counts["conv_macs"] + counts["pointwise_macs"] + counts["depthwise_macs"]
    assert macs == space.cost(even).macs
    assert counts["conv_macs"] == 49 * 10 * 40 * 8
    assert counts["layers"] == len(space.layers(even))
    assert not any(counts[name] for name in FEATURES if name.startswith("unaligned"))
    assert unaligned_share(space.layers(even)) == 0
    odd = space.architecture(stem=[8], blocks=[16, 15, 16, 16, 0, 0, 0, 0])
    some = count_features(space.layers(odd))
    # The block that has 15 outputs, and the one that has 15 inputs.
    assert some["unaligned_output_macs"] == 25 * 5 * 16 * 15
    assert some["unaligned_input_macs"] == 25 * 5 * 15 * 16
    assert some["unaligned_depthwise_macs"] == 25 * 5 * 9 * 15
    assert 0 < unaligned_share(space.layers(odd)) < 1


def test_prices_are_recovered_and_beat_ops_on_held_out_networks(fit: Fit) -> None:
    model = fit.layers
    assert model is not None and model.holdout is not None and fit.latency.holdout is not None
    found = dict(zip(model.features, model.coefficients, strict=True))
    assert found["pointwise_macs"] == pytest.approx(PRICES["pointwise_macs"], rel=0.02)
    assert min(model.coefficients) >= 0
    held, alone = model.holdout, fit.latency.holdout
    assert held.n == alone.n and held.mape_pct is not None and alone.mape_pct is not None
    assert held.mape_pct < 0.1 < alone.mape_pct
    assert held.share_within_10_pct == 1


def test_a_network_is_predicted_from_its_layers(fit: Fit) -> None:
    row = _row(1000)
    assert row.latency_us is not None and row.architecture is not None
    layers = BACKBONE.layers(BACKBONE.from_json(row.architecture))
    found = fit.predict_network(layers)
    assert found.value == pytest.approx(row.latency_us, rel=0.005)
    assert found.low <= found.value <= found.high
    assert fit.predict_network((*layers, *layers, *layers)).extrapolated
    with pytest.raises(ValueError, match="conv_macs"):
        assert fit.layers is not None
        fit.layers.predict({})


def test_ops_alone_make_no_layers_and_the_line_stays_the_same(fit: Fit) -> None:
    plain = fit_rows([_row(index) for index in range(60)])
    assert plain.layers is None and plain.latency == fit.latency
    with pytest.raises(FitError, match="--predictor layers"):
        plain.predict_network(())


def test_rows_without_a_known_architecture_are_a_note() -> None:
    fit = fit_rows([fake_measurement(index) for index in range(40)], predictor="layers")
    assert fit.layers is None
    assert any("no layers model" in note for note in fit.notes)


def test_the_order_of_rows_changes_no_bit(fit: Fit) -> None:
    assert fit_rows([_row(index) for index in reversed(range(60))], predictor="layers") == fit


def test_the_file_keeps_layers(fit: Fit, tmp_path: Path) -> None:
    assert load_fit(save_fit(fit, tmp_path / "fit.json")) == fit


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("features", ["colour"]),
        ("coefficients", [1.0]),
        ("coefficients", [-1.0] * len(FEATURES)),
        ("coefficients", ["1"] * len(FEATURES)),
        ("relative_half_width", -0.1),
    ],
)
def test_wrong_prices_are_refused(fit: Fit, tmp_path: Path, name: str, value: object) -> None:
    file = save_fit(fit, tmp_path / "fit.json")
    data = json.loads(file.read_text())
    data["layers"][name] = value
    file.write_text(json.dumps(data))
    with pytest.raises(FitError, match=r"layers\."):
        load_fit(file)
