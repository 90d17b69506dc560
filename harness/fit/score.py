"""Say how well predictions met measurements, and which rows they are judged on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.fit.model import Metrics

LEVEL = 0.95
FOLDS = 5

Array = npt.NDArray[np.float64]


class Split:
    """Remember which rows are one architecture and which are held out."""

    def __init__(self, ids: Sequence[str], out: npt.NDArray[np.bool_]) -> None:
        numbers = {name: number for number, name in enumerate(sorted(set(ids)))}
        self.groups = np.array([numbers[name] for name in ids])
        self.out = out


def folds_of(x: Array, groups: npt.NDArray[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield indices to fit on and to test on; an architecture stays in one fold."""
    from sklearn.model_selection import GroupKFold

    folds = min(FOLDS, len(np.unique(groups)))
    yield from GroupKFold(folds).split(x, groups=groups)


NO_METRICS = Metrics(
    n=0,
    architectures=0,
    r2=None,
    mape_pct=None,
    max_error_pct=None,
    share_within_5_pct=None,
    share_within_10_pct=None,
    coverage=None,
)


def score(predicted: Array, half: Array, y: Array, groups: npt.NDArray[Any]) -> Metrics:
    """Compare predictions, with half their intervals, to what was measured."""
    spread = float(((y - y.mean()) ** 2).sum())
    r2 = None
    if len(y) >= 3 and spread > 0:
        r2 = 1 - float(((y - predicted) ** 2).sum()) / spread
    error = np.abs(y - predicted)
    percent = 100 * error / y if (y > 0).all() else None
    return Metrics(
        n=len(y),
        architectures=len(np.unique(groups)),
        r2=r2,
        mape_pct=None if percent is None else float(percent.mean()),
        max_error_pct=None if percent is None else float(percent.max()),
        share_within_5_pct=None if percent is None else float((percent <= 5).mean()),
        share_within_10_pct=None if percent is None else float((percent <= 10).mean()),
        # A hair of slack: a perfect fit has an interval of no width.
        coverage=float((error <= half + 1e-9 * np.abs(y)).mean()),
    )
