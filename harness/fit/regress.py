"""Fit op throughput, arena and flash from measured rows, held out by architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from harness import __version__
from harness.errors import FitError
from harness.fit.model import (
    SCHEMA_VERSION,
    Fingerprint,
    Fit,
    LayerModel,
    LinearModel,
    Metrics,
    Predictor,
)
from harness.fit.score import LEVEL, NO_METRICS, Array, Split, folds_of, score
from harness.fit.select import (
    HOLDOUT_SHARE,
    architecture_id,
    common_fingerprint,
    group_rows,
    held_out,
    select_rows,
)
from harness.results.record import Measurement

MIN_ROWS = 10

_Model = TypeVar("_Model", LinearModel, LayerModel)


@dataclass(frozen=True, slots=True)
class FitFailure:
    """Say why one configuration among several could not be fitted."""

    fingerprint: Fingerprint
    rows: int
    error: FitError


def fit_all(
    rows: Iterable[Measurement],
    *,
    degraded: bool = False,
    min_rows: int = MIN_ROWS,
    predictor: Predictor = "ops",
) -> tuple[list[Fit], list[FitFailure]]:
    """Fit every configuration among `rows` by itself; say which could not be, and why."""
    fits: list[Fit] = []
    failures: list[FitFailure] = []
    for fingerprint, members in group_rows(rows, degraded=degraded).items():
        try:
            fit = fit_rows(members, degraded=degraded, min_rows=min_rows, predictor=predictor)
            fits.append(fit)
        except FitError as error:
            failures.append(FitFailure(fingerprint, len(members), error))
    return sorted(fits, key=_order), sorted(failures, key=_order)


def _order(item: Fit | FitFailure) -> str:
    return str(item.fingerprint)


def fit_rows(
    rows: Iterable[Measurement],
    *,
    degraded: bool = False,
    pooled: bool = False,
    min_rows: int = MIN_ROWS,
    holdout_share: float = HOLDOUT_SHARE,
    predictor: Predictor = "ops",
) -> Fit:
    """Fit latency, arena and flash for one configuration.

    latency_us = intercept + ops / throughput, by ordinary least squares (Banbury et al., MicroNets,
    MLSys 2021, §3). About `holdout_share` of the architectures are never fitted on; the rest are
    also cross-validated in folds that keep an architecture together.

    Args:
        rows: Measurements; what is not ``valid`` is left out.
        degraded: Take ``degraded`` rows as well.
        pooled: Let backbones mix, to compare with the fit per backbone; good for nothing else.
        min_rows: Fewest distinct architectures to fit on (three at the very least).
        holdout_share: Share of architectures to hold out, 0 for none.
        predictor: ``layers`` fits latency to what the layers are as well (`harness.fit.layers`).

    Raises:
        FitError: No or too few rows, rows of several configurations, rows without ops or
            latency, or a latency that does not grow with ops.
    """
    used, statuses = select_rows(rows, degraded=degraded)
    if not used:
        wanted = " or ".join(statuses)
        raise FitError(
            "there are no rows to fit",
            expected=f"rows with status {wanted}",
            fix="measure some with `harness run`"
            + ("" if degraded else ", or take degraded rows as well with --degraded"),
        )
    fingerprint = common_fingerprint(used, pooled)
    ids = [architecture_id(row) for row in used]
    out = np.array([held_out(name, holdout_share) for name in ids])
    _require_enough(ids, out, max(3, min_rows), fingerprint)
    split = Split(ids, out)
    latency = _fit_linear(used, split, "latency_us", "ops", lambda row: row.latency_us)
    if latency.slope <= 0:
        raise FitError(
            f"latency does not grow with ops: {latency.slope * 1e6:.3g} µs per Mop",
            expected="a positive slope",
            fix="measure networks over a wider range of ops, and look at the plot for wrong rows",
        )
    notes: list[str] = []
    arena = _try(notes, "arena", lambda: _fit_arena(used, split))
    flash = _try(
        notes,
        "flash",
        lambda: _fit_linear(
            used, split, "flash_total_bytes", "parameters", lambda row: row.flash_total_bytes
        ),
    )
    layers = None
    if predictor == "layers":
        from harness.fit.layers import fit_layers

        layers = _try(notes, "layers", lambda: fit_layers(used, split))
    return Fit(
        schema_version=SCHEMA_VERSION,
        created_by=f"tinyml-harness {__version__}",
        fingerprint=fingerprint,
        backbones=tuple(sorted({row.backbone for row in used if row.backbone is not None})),
        statuses=statuses,
        latency=latency,
        arena=arena,
        flash=flash,
        notes=tuple(notes),
        keys=tuple(row.key for row, held in zip(used, out, strict=True) if not held),
        holdout_keys=tuple(row.key for row, held in zip(used, out, strict=True) if held),
        layers=layers,
    )


def _require_enough(
    ids: Sequence[str], out: npt.NDArray[np.bool_], needed: int, fingerprint: Fingerprint
) -> None:
    distinct = len({name for name, held in zip(ids, out, strict=True) if not held})
    if distinct < needed:
        raise FitError(
            f"too few rows to fit: {distinct} architectures, and {len(set(ids)) - distinct} "
            "held out to test on",
            where=f"{fingerprint.board}, {fingerprint.backbone or 'all backbones'}, "
            f"{fingerprint.runtime} {fingerprint.kernels}",
            expected=f"at least {needed} architectures to fit on",
            fix="measure more samples with `harness run`",
            architectures=distinct,
            needed=needed,
        )


def _fit_arena(rows: Sequence[Measurement], split: Split) -> LinearModel:
    # One kind of figure for all rows: a verified minimum and a planner's figure do not mix.
    getters: tuple[tuple[str, Callable[[Measurement], int | None]], ...] = (
        ("arena_min_bytes", lambda row: row.arena_min_bytes),
        ("arena_used_bytes", lambda row: row.arena_used_bytes),
        ("arena_planned_bytes", lambda row: row.arena_planned_bytes),
    )
    for target, getter in getters:
        if all(getter(row) is not None for row in rows):
            return _fit_linear(rows, split, target, "working_memory_bytes", getter)
    raise FitError("no arena figure that all rows have")


def _try(notes: list[str], name: str, make: Callable[[], _Model]) -> _Model | None:
    try:
        return make()
    except FitError as error:
        notes.append(f"no {name} model: {error.what}")
        return None


def _fit_linear(
    rows: Sequence[Measurement],
    split: Split,
    target: str,
    feature: str,
    value_of: Callable[[Measurement], float | None],
) -> LinearModel:
    features = [getattr(row, feature) for row in rows]
    targets = [value_of(row) for row in rows]
    lacking = [
        row.key[:12]
        for row, x, y in zip(rows, features, targets, strict=True)
        if x is None or y is None
    ]
    if lacking:
        raise FitError(
            f"{len(lacking)} of {len(rows)} rows lack {feature} or {target}",
            where=", ".join(lacking[:5]),
            expected="both in every row",
            fix="measure these again",
        )
    x: Array = np.array(features, dtype=np.float64)
    y: Array = np.array(targets, dtype=np.float64)
    fitted = ~split.out
    line = _line(x[fitted], y[fitted], target, feature)
    train = _metrics(line, x[fitted], y[fitted], split.groups[fitted])
    holdout = None
    if split.out.any():
        holdout = _metrics(line, x[split.out], y[split.out], split.groups[split.out])
    folds = _cross_validate(x[fitted], y[fitted], split.groups[fitted], target, feature)
    return replace(line, train=train, holdout=holdout, cross_validation=folds)


def _line(x: Array, y: Array, target: str, feature: str) -> LinearModel:
    from scipy.stats import t as student  # type: ignore[import-untyped]  # ships no types
    from sklearn.linear_model import LinearRegression

    if len(np.unique(x)) < 2 or len(x) < 3:
        raise FitError(
            f"{len(np.unique(x))} distinct values of {feature} in {len(x)} rows give no line",
            expected="at least two values in three rows",
            fix="measure networks of different sizes",
        )
    # Ops of 10^6 to 10^8 beside an intercept: scaled, so that no digits are lost.
    scale = float(x.max())
    regression = LinearRegression().fit((x / scale).reshape(-1, 1), y)
    slope = float(regression.coef_[0]) / scale
    intercept = float(regression.intercept_)
    residuals = y - (intercept + slope * x)
    freedom = len(x) - 2
    return LinearModel(
        target=target,
        feature=feature,
        intercept=intercept,
        slope=slope,
        residual_std=float(np.sqrt((residuals**2).sum() / freedom)),
        n=len(x),
        feature_min=float(x.min()),
        feature_max=float(x.max()),
        feature_mean=float(x.mean()),
        feature_sxx=float(((x - x.mean()) ** 2).sum()),
        level=LEVEL,
        t_quantile=float(student.ppf(0.5 + LEVEL / 2, freedom)),
        train=NO_METRICS,
        holdout=None,
        cross_validation=None,
    )


def _cross_validate(
    x: Array, y: Array, groups: npt.NDArray[Any], target: str, feature: str
) -> Metrics | None:
    predicted, half = np.empty_like(y), np.empty_like(y)
    for fit_on, test_on in folds_of(x, groups):
        if len(np.unique(x[fit_on])) < 2 or len(fit_on) < 3:
            return None
        line = _line(x[fit_on], y[fit_on], target, feature)
        predicted[test_on] = line.intercept + line.slope * x[test_on]
        half[test_on] = [line.half_width(float(value)) for value in x[test_on]]
    return score(predicted, half, y, groups)


def _metrics(line: LinearModel, x: Array, y: Array, groups: npt.NDArray[Any]) -> Metrics:
    half = np.array([line.half_width(float(value)) for value in x])
    return score(line.intercept + line.slope * x, half, y, groups)
