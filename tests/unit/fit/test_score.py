"""What the fit computes itself, to save a second of imports, held to the libraries."""

from __future__ import annotations

import numpy as np
import pytest

from harness.fit.regress import LEVEL, fit_rows
from harness.fit.score import FOLDS, Array, Predict, Split
from harness.testing import fake_measurement


def test_folds_are_those_of_scikit_learn() -> None:
    from sklearn.model_selection import GroupKFold

    names = [f"network{group}" for group in range(12) for _ in range(group + 1)]
    generator = np.random.default_rng(0)
    generator.shuffle(names)
    x, seen = np.arange(float(len(names))), list[tuple[float, ...]]()

    def fit(train: Array, _: Array) -> Predict:
        seen.append(tuple(train))
        return lambda rows: (rows, rows)

    Split(names, np.zeros(len(names), bool)).out_of_fold(x, x, fit)
    expected = GroupKFold(FOLDS).split(x, groups=names)
    assert sorted(seen) == sorted(tuple(x[train]) for train, _ in expected)


def test_the_line_and_its_interval_are_those_of_scipy() -> None:
    from scipy import stats

    rows = [fake_measurement(index) for index in range(30)]
    fit = fit_rows(rows)
    used = [row for row in rows if row.key in set(fit.keys)]
    found = stats.linregress([row.ops for row in used], [row.latency_us for row in used])
    assert fit.latency.slope == pytest.approx(found.slope)
    assert fit.latency.intercept == pytest.approx(found.intercept)
    quantile = stats.t.ppf(0.5 + LEVEL / 2, len(used) - 2)
    assert fit.latency.t_quantile == pytest.approx(quantile)
