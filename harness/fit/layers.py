"""Fit latency to the layers of a network: one coefficient for each kind of work.

Least squares of relative errors, so that small networks count as much as large ones, with no
coefficient below zero, as work takes time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from harness.backbones import get_backbone
from harness.errors import BackboneError, FitError
from harness.fit.features import FEATURES, count_features
from harness.fit.model import LayerModel
from harness.fit.score import LEVEL, Array, Predict, Split, score
from harness.fit.select import LAYER_COLUMNS
from harness.results.record import Measurement
from harness.results.table import Table, table_of


def row_features(row: Measurement) -> Mapping[str, float]:
    """Return the features of a row's network, by name.

    Raises:
        FitError: The row has no architecture of a known backbone.
    """
    return dict(
        zip(FEATURES, map(float, _features(table_of([row], LAYER_COLUMNS))[0]), strict=True)
    )


def _features(table: Table) -> Array:
    """Return `FEATURES` of each row's network, shape (rows, features)."""
    networks = list(zip(table.facts("backbone"), table["architecture"], strict=True))
    counted: dict[tuple[str | None, str | None], list[float]] = {}
    for (name, text), key in zip(networks, table["key"], strict=True):
        if (name, text) in counted:
            continue
        if text is None or name is None:
            raise FitError(
                f"row {key[:12]} has no architecture", expected="rows of sampled networks"
            )
        try:
            backbone = get_backbone(name)
            found = count_features(backbone.layers(backbone.from_json(json.loads(text))))
        except BackboneError as failure:
            raise FitError(
                f"row {key[:12]}: {failure.what}", expected="an architecture of its backbone"
            ) from None
        counted[name, text] = [found[feature] for feature in FEATURES]
    return np.array([counted[network] for network in networks])


def fit_layers(rows: Table, split: Split) -> LayerModel:
    """Fit latency_us to `FEATURES`.

    Raises:
        FitError: A row has no architecture, or no latency above zero.
    """
    y = rows.numbers("latency_us")[:, 0]
    if not (y > 0).all():
        raise FitError("a row has no latency", expected="a latency above zero in every row")
    x = _features(rows)
    fitted = ~split.out
    groups = split.groups[fitted]
    intercept, coefficients = _coefficients(x[fitted], y[fitted])
    outside, _ = split.out_of_fold(x, y, lambda x, y: _predictor(*_coefficients(x, y), 0.0))
    half = half_width(outside, y[fitted])
    train, holdout = split.metrics(x, y, _predictor(intercept, coefficients, half))
    return LayerModel(
        target="latency_us",
        features=FEATURES,
        coefficients=tuple(map(float, coefficients)),
        feature_max=tuple(map(float, x[fitted].max(axis=0))),
        intercept=intercept,
        n=int(fitted.sum()),
        level=LEVEL,
        relative_half_width=half,
        train=train,
        holdout=holdout,
        cross_validation=score(outside, half * outside, y[fitted], groups),
    )


def _predictor(intercept: float, coefficients: Array, half: float) -> Predict:
    def predict(x: Array) -> tuple[Array, Array]:
        predicted = intercept + x @ coefficients
        return predicted, half * predicted

    return predict


def _coefficients(x: Array, y: Array) -> tuple[float, Array]:
    """Return the intercept and a coefficient for each column, none of them negative."""
    from scipy.optimize import nnls  # type: ignore[import-untyped]  # ships no types

    # The intercept is a column: it is not negative either.
    columns = np.column_stack([np.ones(len(y)), x])
    scale = columns.max(axis=0)
    scale[scale == 0] = 1
    weight = np.sqrt(1 / y**2)
    found = nnls(columns / scale * weight[:, None], y * weight)[0] / scale
    return float(found[0]), found[1:]


def half_width(predicted: Array, y: Array) -> float:
    """Return the relative error that the next network is below with probability `LEVEL`."""
    # The next error is below the ⌈(n+1)·level⌉-th smallest with probability `level` (conformal).
    errors = np.sort(np.abs(y - predicted) / predicted)
    rank = min(len(errors), int(np.ceil((len(errors) + 1) * LEVEL)))
    return float(errors[rank - 1])
