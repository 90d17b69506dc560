"""Score predictions against measurements, and choose the rows to score them on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.fit.model import Metrics

LEVEL = 0.95
FOLDS = 5

Array: TypeAlias = npt.NDArray[np.float64]
Predict: TypeAlias = Callable[[Array], tuple[Array, Array]]
"""From features to predictions and half their intervals."""


class Split:
    """Which rows are one architecture (`groups`) and which are held out (`out`)."""

    def __init__(self, ids: Sequence[str], out: npt.NDArray[np.bool_]) -> None:
        self.groups: npt.NDArray[Any] = np.unique(ids, return_inverse=True)[1]
        self.out = out

    def metrics(self, x: Array, y: Array, predict: Predict) -> tuple[Metrics, Metrics | None]:
        """Return the metrics on the fitted rows and on the held-out ones, if there are any."""
        scores = [
            score(*predict(x[rows]), y[rows], self.groups[rows]) if rows.any() else None
            for rows in (~self.out, self.out)
        ]
        assert scores[0] is not None  # a fit needs rows
        return scores[0], scores[1]

    def out_of_fold(
        self, x: Array, y: Array, fit: Callable[[Array, Array], Predict]
    ) -> tuple[Array, Array]:
        """Return predictions, with half their intervals, for each fitted row by a fit without it.

        An architecture stays in one fold.
        """
        x, y = x[~self.out], y[~self.out]
        predicted, half = np.empty_like(y), np.empty_like(y)
        for train, test in self._folds:
            predicted[test], half[test] = fit(x[train], y[train])(x[test])
        return predicted, half

    @cached_property
    def _folds(self) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        groups = self.groups[~self.out]
        _, members = np.unique(groups, return_inverse=True)
        sizes = np.bincount(members)
        fold_of, rows_in = np.zeros_like(sizes), np.zeros(min(FOLDS, len(sizes)), dtype=int)
        # The largest first, each into the fold that has fewest rows, as scikit-learn's GroupKFold,
        # which takes a second to load.
        for group in np.argsort(sizes, kind="stable")[::-1]:
            fold_of[group] = rows_in.argmin()
            rows_in[fold_of[group]] += sizes[group]
        fold = fold_of[members]
        return [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(len(rows_in))]


def score(predicted: Array, half: Array, y: Array, groups: npt.NDArray[Any]) -> Metrics:
    """Compare predictions, with half their intervals, to measurements."""
    spread = float(((y - y.mean()) ** 2).sum())
    error = np.abs(y - predicted)
    percent = 100 * error / y if (y > 0).all() else None
    return Metrics(
        n=len(y),
        architectures=len(set(groups.tolist())),
        r2=1 - float((error**2).sum()) / spread if len(y) >= 3 and spread > 0 else None,
        mape_pct=None if percent is None else float(percent.mean()),
        max_error_pct=None if percent is None else float(percent.max()),
        share_within_5_pct=None if percent is None else float((percent <= 5).mean()),
        share_within_10_pct=None if percent is None else float((percent <= 10).mean()),
        # A hair of slack: a perfect fit has an interval of no width.
        coverage=float((error <= half + 1e-9 * np.abs(y)).mean()),
    )
