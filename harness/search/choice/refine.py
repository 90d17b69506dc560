"""Choose networks to measure near the result of a search, and fit again with their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.backbones import Architecture
from harness.backbones.draw import Draw, key_of
from harness.errors import FitError, SearchError
from harness.fit import Fingerprint, Fit, LinearModel
from harness.fit.regress import fit_rows
from harness.fit.select import architecture_id, held_out
from harness.results.identity import network_id
from harness.results.record import Measurement, best_per_key
from harness.search.cost.cost_model import CostModel
from harness.search.space.grid import Grid, Point, full_grid

_CANDIDATES = 200
_SHOWN = 4
_NEAR = 0.3  # ops of a neighbour, relative to the centre's
_STRETCH = 25  # widths of a neighbour, in percent of the centre's


@dataclass(frozen=True, slots=True)
class LocalError:
    """Error of predicted latency on networks that the fit has not seen."""

    n: int  # number of rows
    mape_pct: float  # mean absolute error in percent of the measured latency
    max_error_pct: float  # the largest of them
    bias_pct: float  # mean error, positive where the prediction is too high
    inside: float  # share of rows inside their prediction interval, from 0 to 1
    half_width_pct: float  # mean half width of the interval, in percent of the measured latency


def choose(
    cost_model: CostModel, centre: Architecture, n: int, seed: int
) -> tuple[Architecture, ...]:
    """Return `n` networks near `centre` whose measurement would improve the fit most.

    Candidates have widths within 25 % of the centre's, maybe one block more or less, and ops
    within 30 %. One after another the least certain is taken: widest prediction intervals of
    latency, arena and flash relative to the prediction, as they would be after the ones before
    it were measured. The centre and networks of the fixed holdout are left out, because they
    would not change the fit.

    Raises:
        SearchError: There are fewer near the centre.
        BackboneError: The centre is of another backbone.
    """
    backbone = cost_model.backbone
    backbone.validate(centre)
    grid = full_grid(backbone, backbone.input_shape_of(centre))
    draw = Draw(seed, key_of(f"refine {backbone.name}"))
    around, ops = _on_grid(grid, centre), backbone.cost(centre).ops
    candidates: dict[Architecture, tuple[int, int, int]] = {}
    for _ in range(_CANDIDATES):
        architecture = grid.architecture(_neighbour(grid, around, draw))
        if architecture is None or architecture == centre:
            continue
        if held_out(network_id(backbone.name, architecture.to_json())):
            continue
        cost = backbone.cost(architecture)
        if abs(cost.ops / ops - 1) <= _NEAR:
            candidates[architecture] = (cost.ops, cost.working_memory_bytes, cost.parameters)
    if len(candidates) < n:
        raise SearchError(
            f"there are {len(candidates)} networks near the optimum to measure, not {n}",
            fix="lower --refine",
        )
    fit = cost_model.fit
    models = [fit.latency, fit.arena, fit.flash]
    chosen: list[Architecture] = []
    while len(chosen) < n:
        best = max(candidates, key=lambda item: _uncertainty(models, candidates[item]))
        counts = candidates.pop(best)
        models = [
            model and _with(model, count) for model, count in zip(models, counts, strict=True)
        ]
        chosen.append(best)
    return tuple(chosen)


def require_rows(fit: Fit, rows: Sequence[Measurement], where: str | None = None) -> None:
    """Check that all rows of a fit are at hand.

    Raises:
        FitError: Names those that are missing.
    """
    wanted = {*fit.keys, *fit.holdout_keys}
    if missing := sorted(wanted - {row.key for row in rows}):
        raise FitError(
            f"{len(missing)} of the fit's {len(wanted)} rows are not in the store",
            where=where,
            expected=", ".join(key[:12] for key in missing[:_SHOWN]),
            fix="name the store that the fit was made from with --db",
        )


def fit_again(
    fit: Fit, rows: Sequence[Measurement], measured: Sequence[Measurement]
) -> tuple[Fit, list[Measurement], list[Measurement]]:
    """Return a fit of `rows` and new measurements, the rows it uses, and those that are new.

    The held-out architectures stay what they were: a new one that its hash puts into the holdout
    is neither fitted nor tested on.

    Raises:
        FitError: Nothing can be fitted.
    """
    known = {*fit.keys, *fit.holdout_keys}
    new = [
        row
        for row in measured
        if row.key not in known
        and row.usable
        and Fingerprint.of(row) == fit.fingerprint
        and not held_out(architecture_id(row))
    ]
    everything = [*best_per_key(rows), *new]
    again = fit_rows(everything, degraded="degraded" in fit.statuses, predictor=fit.predictor)
    used = {*again.keys, *again.holdout_keys}
    fitted, added = ([row for row in some if row.key in used] for some in (everything, new))
    return again, fitted, added


def local_errors(
    before: Fit, rows: Sequence[Measurement], added: Sequence[Measurement]
) -> tuple[LocalError, LocalError]:
    """Return the fit's error on the networks that were added, before and after.

    Before: `before` on them. After: each of them predicted by a fit of all `rows` of the new fit
    but its own architecture's, so that no prediction has seen what it is compared with.

    Raises:
        SearchError: `added` is empty or in `before`, or a row has no latency.
        FitError: Too few rows to fit.
    """
    seen = set(before.keys)
    if any(row.key in seen for row in added):
        raise SearchError(
            "the fit was made of some of these rows",
            expected="rows that it has not seen, for an error that means something",
        )
    everything = {row.key: row for row in (*rows, *added)}.values()

    def without(row: Measurement) -> Fit:
        others = (item for item in everything if architecture_id(item) != architecture_id(row))
        return fit_rows(others, degraded="degraded" in before.statuses, predictor=before.predictor)

    return _error([(before, row) for row in added]), _error([(without(row), row) for row in added])


def _error(pairs: Sequence[tuple[Fit, Measurement]]) -> LocalError:
    if not pairs:
        raise SearchError("there are no rows to compare the fit with")
    errors, halves, inside = [], [], 0
    for fit, row in pairs:
        if row.ops is None or row.latency_us is None:
            raise SearchError(
                f"row {row.key[:12]} has no ops or latency", expected="rows that were measured"
            )
        if fit.layers is None:
            prediction = fit.predict(row.ops)
        else:
            from harness.fit.layers import row_features

            prediction = fit.layers.predict(row_features(row))
        errors.append(100 * (prediction.value - row.latency_us) / row.latency_us)
        halves.append(100 * (prediction.high - prediction.value) / row.latency_us)
        inside += prediction.low <= row.latency_us <= prediction.high
    count = len(pairs)
    return LocalError(
        n=count,
        mape_pct=sum(map(abs, errors)) / count,
        max_error_pct=max(map(abs, errors)),
        bias_pct=sum(errors) / count,
        inside=inside / count,
        half_width_pct=sum(halves) / count,
    )


def _on_grid(grid: Grid, architecture: Architecture) -> Point:
    """Return the nearest point; skipped blocks take the width before them."""
    widths = {}
    last: dict[str, int] = {}
    for key, choices in grid.widths.items():
        width = architecture[key[0]][key[1]] or last.get(key[0], choices[0])
        last[key[0]] = width
        widths[key] = _nearest(choices, width)
    return Point(widths, grid.kept(architecture))


def _neighbour(grid: Grid, point: Point, draw: Draw) -> Point:
    widths = {
        key: _nearest(
            choices, point.widths[key] * draw.between(100 - _STRETCH, 100 + _STRETCH) / 100
        )
        for key, choices in grid.widths.items()
    }
    moved = Point(widths, point.kept)
    if grid.optional and draw.below(2):
        index = draw.choice(grid.optional).index
        moved = moved.with_kept(index, not point.kept[index])
    return moved


def _nearest(choices: Sequence[int], width: float) -> int:
    return min(choices, key=lambda choice: abs(choice - width))


def _uncertainty(models: Sequence[LinearModel | None], counts: tuple[int, int, int]) -> float:
    return sum(
        float(model.half_width(count)) / max(1.0, model.predict(count).value)
        for model, count in zip(models, counts, strict=True)
        if model is not None
    )


def _with(model: LinearModel, count: int) -> LinearModel:
    """Return the model as certain as it would be with one more row at `count`."""
    n = model.n + 1
    shift = count - model.feature_mean
    return replace(
        model,
        n=n,
        feature_mean=model.feature_mean + shift / n,
        feature_sxx=model.feature_sxx + shift**2 * (n - 1) / n,
    )
