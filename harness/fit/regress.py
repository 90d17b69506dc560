"""Fit op throughput, arena and flash from measured rows, held out by architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

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
from harness.fit.score import LEVEL, Array, Predict, Split, score
from harness.fit.select import (
    HOLDOUT_SHARE,
    architecture_ids,
    common_fingerprint,
    group_rows,
    held_out,
    select_rows,
)
from harness.results.record import Measurement
from harness.results.table import Table

MIN_ROWS = 10

_Model = TypeVar("_Model", LinearModel, LayerModel)


@dataclass(frozen=True, slots=True)
class FitFailure:
    """A configuration that could not be fitted, and why."""

    fingerprint: Fingerprint
    rows: int
    error: FitError


def fit_all(
    rows: Iterable[Measurement] | Table,
    *,
    degraded: bool = False,
    min_rows: int = MIN_ROWS,
    predictor: Predictor | str = Predictor.OPS,
) -> tuple[list[Fit], list[FitFailure]]:
    """Fit each configuration among `rows`; return the fits and the configurations that fail."""
    fits, failures = list[Fit](), list[FitFailure]()
    for fingerprint, members in group_rows(rows, degraded=degraded).items():
        try:
            fit = fit_rows(members, degraded=degraded, min_rows=min_rows, predictor=predictor)
            fits.append(fit)
        except FitError as error:
            failures.append(FitFailure(fingerprint, len(members), error))
    fits.sort(key=lambda fit: str(fit.fingerprint))
    return fits, sorted(failures, key=lambda failure: str(failure.fingerprint))


def fit_rows(
    rows: Iterable[Measurement] | Table,
    *,
    degraded: bool = False,
    pooled: bool = False,
    min_rows: int = MIN_ROWS,
    holdout_share: float = HOLDOUT_SHARE,
    predictor: Predictor | str = Predictor.OPS,
) -> Fit:
    """Fit latency, arena and flash for one configuration.

    latency_us = intercept + ops / throughput, by ordinary least squares (Banbury et al., MicroNets,
    MLSys 2021, §3). About `holdout_share` of the architectures are never fitted on; the rest are
    also cross-validated in folds that keep an architecture together.

    Args:
        rows: Measurements, or a table, see `harness.fit.select`; only ``valid`` ones are used.
        degraded: Use ``degraded`` rows as well.
        pooled: Mix backbones, only to compare with the fits per backbone.
        min_rows: Fewest distinct architectures to fit on (three at the very least).
        holdout_share: Share of architectures to hold out, 0 for none.
        predictor: ``layers`` fits latency to the layers as well (`harness.fit.layers`).

    Raises:
        FitError: No or too few rows, rows of several configurations, rows without ops or
            latency, or a latency that does not grow with ops.
    """
    used, statuses = select_rows(rows, degraded=degraded)
    if not len(used):
        wanted = " or ".join(statuses)
        raise FitError(
            "there are no rows to fit",
            expected=f"rows with status {wanted}",
            fix="measure some with `harness run`"
            + ("" if degraded else ", or take degraded rows as well with --degraded"),
        )
    fingerprint = common_fingerprint(used, pooled)
    ids = architecture_ids(used)
    holdout = {name: held_out(name, holdout_share) for name in dict.fromkeys(ids)}
    fitted_on = len(holdout) - sum(holdout.values())
    needed = max(3, min_rows)
    if fitted_on < needed:
        raise _too_few(fitted_on, len(holdout), needed, holdout_share, fingerprint)
    out = np.array([holdout[name] for name in ids])
    split = Split(ids, out)
    latency = _fit_linear(used, split, "latency_us", "ops")
    if latency.slope <= 0:
        raise FitError(
            f"latency does not grow with ops: {latency.slope * 1e6:.3g} µs per Mop",
            expected="a positive slope",
            fix="measure networks over a wider range of ops, and look at the plot for wrong rows",
        )
    notes: list[str] = []
    arena = _try(notes, "arena", lambda: _fit_arena(used, split))
    flash = _try(
        notes, "flash", lambda: _fit_linear(used, split, "flash_total_bytes", "parameters")
    )
    layers = None
    if Predictor(predictor) is Predictor.LAYERS:
        from harness.fit.layers import fit_layers

        layers = _try(notes, "layers", lambda: fit_layers(used, split))
    overhead = used.numbers("ram_other_bytes", "stack_bytes").sum(axis=1)
    return Fit(
        schema_version=SCHEMA_VERSION,
        created_by=f"tinyml-harness {__version__}",
        fingerprint=fingerprint,
        backbones=_backbones(used),
        statuses=statuses,
        latency=latency,
        arena=arena,
        flash=flash,
        notes=tuple(notes),
        keys=tuple(used["key"][~out]),
        holdout_keys=tuple(used["key"][out]),
        layers=layers,
        sram_overhead_bytes=None if np.isnan(overhead).all() else int(np.nanmax(overhead)),
    )


def _backbones(rows: Table) -> tuple[str, ...]:
    numbers = np.unique(rows["configuration"]).tolist()
    return tuple(sorted({rows.configurations[number]["backbone"] for number in numbers} - {None}))


def _too_few(
    fitted: int, architectures: int, needed: int, share: float, fingerprint: Fingerprint
) -> FitError:
    wanted = f"{needed} architectures to fit on"
    if share:
        wanted += f": about {np.ceil(needed / (1 - share)):.0f} in all, as {share:.0%} are held out"
    return FitError(
        f"too few rows to fit: {fitted} architectures to fit on, and {architectures - fitted} "
        f"held out to test on; {needed} to fit on are needed",
        where=f"{fingerprint.board}, {fingerprint.backbone or 'all backbones'}, "
        f"{fingerprint.runtime} {fingerprint.kernels}",
        expected=f"at least {wanted}",
        fix="measure more samples with `harness run`",
        architectures=fitted,
        needed=needed,
    )


def _fit_arena(rows: Table, split: Split) -> LinearModel:
    # One kind of figure for all rows: a verified minimum and a planner's figure do not mix.
    for target in ("arena_min_bytes", "arena_used_bytes", "arena_planned_bytes"):
        if None not in rows[target]:
            return _fit_linear(rows, split, target, "working_memory_bytes")
    raise FitError("no arena figure that all rows have")


def _try(notes: list[str], name: str, make: Callable[[], _Model]) -> _Model | None:
    try:
        return make()
    except FitError as error:
        notes.append(f"no {name} model: {error.what}")
        return None


def _fit_linear(rows: Table, split: Split, target: str, feature: str) -> LinearModel:
    x, y = rows.numbers(feature, target).T
    lacking = [key[:12] for key in rows["key"][np.isnan(x + y)]]
    if lacking:
        raise FitError(
            f"{len(lacking)} of {len(x)} rows lack {feature} or {target}",
            where=", ".join(lacking[:5]),
            expected="both in every row",
            fix="measure these again",
        )
    fitted = ~split.out
    line = partial(_line, target=target, feature=feature)
    model = line(x[fitted], y[fitted])
    train, holdout = split.metrics(x, y, _predictor(model))
    try:
        outside = split.out_of_fold(x, y, lambda x, y: _predictor(line(x, y)))
        folds = score(*outside, y[fitted], split.groups[fitted])
    except FitError:
        folds = None
    return replace(model, train=train, holdout=holdout, cross_validation=folds)


def _predictor(line: LinearModel) -> Predict:
    return lambda x: (line.intercept + line.slope * x, line.half_width(x))


def _line(x: Array, y: Array, target: str, feature: str) -> LinearModel:
    # As scipy.stats does, which takes a second to load.
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # ships no types

    sizes = len(np.unique(x))
    if sizes < 2 or len(x) < 3:
        raise FitError(
            f"{sizes} distinct values of {feature} in {len(x)} rows give no line",
            expected="at least two values in three rows",
            fix="measure networks of different sizes",
        )
    # Ops of 10^6 to 10^8 beside an intercept: scaled, so that no digits are lost.
    scale = float(x.max())
    x_mean, y_mean = (x / scale).mean(), y.mean()
    found = np.linalg.lstsq((x / scale - x_mean).reshape(-1, 1), y - y_mean)[0][0]
    slope, intercept = float(found) / scale, float(y_mean - x_mean * found)
    freedom = len(x) - 2
    return LinearModel(
        target=target,
        feature=feature,
        intercept=intercept,
        slope=slope,
        residual_std=float(np.sqrt(((y - intercept - slope * x) ** 2).sum() / freedom)),
        n=len(x),
        feature_min=float(x.min()),
        feature_max=float(x.max()),
        feature_mean=float(x.mean()),
        feature_sxx=float(((x - x.mean()) ** 2).sum()),
        level=LEVEL,
        t_quantile=float(stdtrit(freedom, 0.5 + LEVEL / 2)),
        train=Metrics(n=0, architectures=0),  # until it is scored
    )
