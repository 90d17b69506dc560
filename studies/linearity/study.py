"""Fit the networks of each backbone from ops and from layers, on and off the grid of four."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from harness.backbones import get_backbone
from harness.fit.features import unaligned_share
from harness.fit.model import Fingerprint, Fit
from harness.fit.regress import fit_rows
from harness.fit.select import architecture_id, group_rows, held_out
from harness.results.record import Measurement, best_per_key

# The classifier's few MACs do not make a network unaligned, whatever the number of classes is.
_ALIGNED_BELOW = 0.01


@dataclass(frozen=True, slots=True)
class Point:
    """Latency of one network and what the predictors say.

    Attributes:
        ops: Operations.
        latency_us: As measured or modelled.
        ops_us: Predicted from ops, by the line through the networks on the grid of four.
        layers_us: Predicted from layers, by the coefficients fitted to all networks.
        aligned: All its widths are multiples of four.
        held: Held out of all fits.
    """

    ops: int
    latency_us: float
    ops_us: float
    layers_us: float
    aligned: bool
    held: bool


@dataclass(frozen=True, slots=True)
class Study:
    """The networks of one backbone in one configuration.

    Attributes:
        backbone: Its name.
        aligned: Fit of the networks on the grid of four.
        fit: Fit of all of them, with layers.
        points: The networks.
        rows: Their measurements, in the same order.
    """

    backbone: str
    aligned: Fit
    fit: Fit
    points: tuple[Point, ...]
    rows: tuple[Measurement, ...]

    @property
    def off_grid_pct(self) -> float | None:
        """Mean latency of networks off the grid above the grid's line, in percent."""
        over = [100 * (p.latency_us / p.ops_us - 1) for p in self.points if not p.aligned]
        return mean(over) if over else None


def study_rows(rows: Iterable[Measurement]) -> dict[Fingerprint, list[Study]]:
    """Return the studies of sampled networks by configuration (a fingerprint without backbone).

    Raises:
        FitError: A backbone has too few networks on the grid of four.
    """
    found: dict[Fingerprint, list[Study]] = defaultdict(list)
    sampled = {
        row.key: row
        for row in best_per_key(rows)
        if row.backbone is not None and row.architecture is not None
    }
    for fingerprint, members in group_rows(sampled.values()).items():
        study = _study([sampled[key] for key in members["key"]])
        found[replace(fingerprint, backbone=None)].append(study)
    return {key: sorted(found[key], key=lambda s: s.backbone) for key in sorted(found, key=str)}


def _study(rows: Sequence[Measurement]) -> Study:
    name = rows[0].backbone or ""
    backbone = get_backbone(name)
    layers = [backbone.layers(backbone.from_json(row.architecture or {})) for row in rows]
    on_grid = [unaligned_share(specs) < _ALIGNED_BELOW for specs in layers]
    aligned = fit_rows([row for row, on in zip(rows, on_grid, strict=True) if on])
    fit = fit_rows(rows, predictor="layers")
    points = tuple(
        Point(
            row.ops or 0,
            row.latency_us or 0.0,
            aligned.predict(row.ops or 0).value,
            fit.predict_network(specs).value,
            on,
            held_out(architecture_id(row)),
        )
        for row, specs, on in zip(rows, layers, on_grid, strict=True)
    )
    return Study(name, aligned, fit, points, tuple(rows))
