"""Fitting coefficients to counts, on layers whose cycles are known."""

from __future__ import annotations

import numpy as np
import pytest

from harness.prediction.work import Work
from tools.reference import _coefficients, _fit_path, _Layer


def test_a_path_is_fitted_to_its_counts() -> None:
    rng = np.random.default_rng(0)
    layers = []
    for network in range(30):
        counts = {"call": 1.0, "tap": float(rng.integers(10, 10_000)), "rest": float(network % 4)}
        cycles = 400 + 7.5 * counts["tap"] + 20 * counts["rest"]
        layers.append(_Layer(network, Work("pool", counts), cycles))
    fit, outside = _fit_path(layers)
    assert fit.coefficients == pytest.approx({"call": 400, "tap": 7.5, "rest": 20}, rel=1e-3)
    assert outside == pytest.approx([layer.cycles for layer in layers], rel=1e-3)
    assert fit.layers == 30 and fit.mape_pct < 0.1 and fit.largest["rest"] == 3
    work = Work("pool", {"call": 1.0, "tap": 1e6})
    assert fit.cycles(work) == pytest.approx(7.5e6, rel=1e-2)
    assert "tap is 1,000,000" in str(fit.outside(work))


def test_no_coefficient_is_negative_and_no_line_costs_more_than_a_miss() -> None:
    counts = np.array([[1.0, 5.0, 1.0], [2.0, 3.0, 2.0], [3.0, 1.0, 4.0], [4.0, 0.0, 3.0]])
    cycles = counts @ np.array([900.0, -50.0, 1000.0])
    found = _coefficients(["tap", "row", "input lines"], counts, cycles)
    assert found.min() >= 0 and found[2] <= 60
