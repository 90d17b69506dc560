"""Say how far latency is linear in ops within a backbone, and what knowing the layers adds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from harness.backbones import get_backbone
from harness.fit import fit_rows
from harness.fit.features import unaligned_share
from harness.fit.model import Fingerprint, Fit
from harness.fit.select import architecture_id, group_rows, held_out
from harness.report import text
from harness.report.tables import Table, predictor_table
from harness.results.record import Measurement

# The classifier's few MACs do not make a network unaligned, whatever the number of classes is.
_ALIGNED_BELOW = 0.01


@dataclass(frozen=True, slots=True)
class Point:
    """One network: what it takes, and what the predictors say.

    Attributes:
        ops: Operations.
        latency_us: As measured or modelled.
        ops_us: From the line of ops that the networks on the grid of four gave.
        layers_us: From the prices of layers that all networks gave.
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
        """Return what widths off the grid cost: mean excess over the grid's line, in percent."""
        over = [100 * (p.latency_us / p.ops_us - 1) for p in self.points if not p.aligned]
        return mean(over) if over else None


def study_rows(rows: Iterable[Measurement]) -> dict[Fingerprint, list[Study]]:
    """Return the studies of sampled networks by configuration (a fingerprint without backbone).

    Raises:
        FitError: A backbone has too few networks on the grid of four.
    """
    found: dict[Fingerprint, list[Study]] = defaultdict(list)
    sampled = [row for row in rows if row.backbone is not None and row.architecture is not None]
    for fingerprint, members in group_rows(sampled).items():
        found[replace(fingerprint, backbone=None)].append(_study(members))
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


def linearity_page(
    found: Mapping[str, Mapping[Fingerprint, Sequence[Study]]], *, command: str
) -> str:
    """Return the page: tables for each campaign and configuration that was studied.

    Raises:
        FitError: There are too few networks.
    """
    parts = [_HEAD.format(command=command)]
    for campaign, configurations in found.items():
        for where, studies in configurations.items():
            parts.append(_section(campaign, where, studies))
    parts.append(_NOTES)
    return "\n".join(parts)


def _section(campaign: str, where: Fingerprint, studies: Sequence[Study]) -> str:
    counted = (
        f"**Emulated:** cycles modelled by {where.timing_model}"
        if where.source == "emulated"
        else "Measured on hardware"
    )
    parts = [
        f"## {text.markdown(campaign)} on {where.board}\n",
        f"{counted}; {where.runtime} {where.kernels} {where.optimization} at "
        f"{text.clock(where.clock_hz)}, {where.toolchain}.\n",
        "Latency = intercept + ops / throughput, networks whose widths are all multiples of "
        "four:\n",
        _line_table(studies).markdown(),
    ]
    if any(study.off_grid_pct is not None for study in studies):
        parts += [
            "The same line and the networks with widths of any number:\n",
            _grid_table(studies).markdown(),
        ]
    for study in studies:
        table = _input_table(study, where.clock_hz or 0)
        if len(table.rows) > 1:
            parts += [
                f"The line's error by the size of the input, {study.backbone}:\n",
                table.markdown(),
            ]
    fits = [study.fit for study in studies]
    if len(studies) > 1:
        every = [row for study in studies for row in study.rows]
        fits.append(fit_rows(every, pooled=True, predictor="layers"))
    parts += [
        "Both predictors on all networks, judged on the same held-out architectures:\n",
        predictor_table(fits).markdown(),
        "Prices of the layers predictor, in cycles per unit:\n",
        _price_table(studies, where.clock_hz or 0).markdown(),
    ]
    return "\n".join(parts)


def _line_table(studies: Sequence[Study]) -> Table:
    fits = [study.aligned for study in studies]
    if len(studies) > 1:
        keys = {key for fit in fits for key in (*fit.keys, *fit.holdout_keys)}
        every = [row for study in studies for row in study.rows if row.key in keys]
        fits.append(fit_rows(every, pooled=True))
    rows = []
    for fit in fits:
        line, held = fit.latency, fit.latency.holdout
        rows.append(
            (
                "all, pooled" if fit.pooled else str(fit.fingerprint.backbone),
                str(len(fit.keys) + len(fit.holdout_keys)),
                text.number(line.intercept / 1000, 2),
                text.significant(fit.throughput_ops_per_s / 1e6),
                text.r_squared(line.train.r2),
                text.r_squared(held.r2 if held else None),
                text.percent(held.mape_pct if held else None),
                text.share(held.share_within_10_pct if held else None),
            )
        )
    heads = (
        "backbone", "networks", "intercept ms", "Mop/s", "r² fitted", "r² held out",
        "MAPE held out", "in ±10 %",
    )  # fmt: skip
    return Table("Latency from ops", heads, tuple(rows), frozenset({0}))


def _grid_table(studies: Sequence[Study]) -> Table:
    rows = []
    for study in studies:
        off = [point for point in study.points if not point.aligned]
        over = [100 * (point.latency_us / point.ops_us - 1) for point in off]
        own = [point.latency_us / point.layers_us - 1 for point in off]
        rows.append(
            (
                study.backbone,
                str(len(off)),
                f"{mean(over):+.1f} %" if over else text.UNKNOWN,
                f"{min(over):+.1f} to {max(over):+.1f} %" if over else text.UNKNOWN,
                f"{100 * mean(own):+.1f} %" if own else text.UNKNOWN,
            )
        )
    heads = (
        "backbone", "networks off the grid", "slower than the line by", "from, to",
        "than the layers predictor by",
    )  # fmt: skip
    return Table("Off the grid", heads, tuple(rows), frozenset({0}))


def _input_table(study: Study, clock_hz: int) -> Table:
    backbone = get_backbone(study.backbone)
    by_size: dict[tuple[int, ...], list[Point]] = defaultdict(list)
    for row, point in zip(study.rows, study.points, strict=True):
        if point.aligned:
            architecture = backbone.from_json(row.architecture or {})
            by_size[backbone.input_shape_of(architecture)].append(point)
    rows = []
    for (height, width, _), points in sorted(by_size.items()):
        over = mean(100 * (point.latency_us / point.ops_us - 1) for point in points)
        cycles = [point.latency_us * clock_hz / 1e6 / point.ops for point in points]
        rows.append(
            (f"{height}×{width}", str(len(points)), f"{over:+.1f} %", text.number(mean(cycles), 2))
        )
    heads = ("input", "networks", "slower than the line by", "cycles per op")
    return Table("By input", heads, tuple(rows), frozenset({0}))


def _price_table(studies: Sequence[Study], clock_hz: int) -> Table:
    models = [study.fit.layers for study in studies]
    per_us = clock_hz / 1e6
    names = next((model.features for model in models if model is not None), ())
    rows = [
        (
            name,
            *(text.significant(m.coefficients[i] * per_us) if m else text.UNKNOWN for m in models),
        )
        for i, name in enumerate(names)
    ]
    rows.append(
        ("intercept", *(text.number(m.intercept * per_us) if m else text.UNKNOWN for m in models))
    )
    heads = ("work", *(study.backbone for study in studies))
    return Table("Prices", heads, tuple(rows), frozenset({0}))


_HEAD = """# Latency from ops, and from layers

Generated by `{command}`; do not edit.

Within one backbone latency is linear in operations (Banbury et al., MicroNets, MLSys 2021, section
3). This page shows how far that holds here, what widths cost that are no multiples of four, and
what a second predictor adds that knows the layers. A fifth of the architectures, chosen by their
hash, is held out of every fit; r² is judged around the held-out networks' own mean.
"""

_NOTES = """## Method

**Ops.** Ordinary least squares of latency on op count, as the paper has it. A fit file has it in
`latency`; a search uses it where the file has no prices of layers.

**Layers.** `harness fit --predictor layers` (`predictor = "layers"` under `[fit]`) adds `layers` to
the fit file; `Fit.predict_network(backbone.layers(architecture))` predicts from it. Latency is a
sum of prices: multiply-accumulates of convolutions, of 1×1 convolutions and of depthwise
convolutions; the same once more where a layer is not aligned (a row of weights, or the output
channels, no multiple of four); outputs of convolutions, each of which is requantised; elements
added and pooled; parameters; layers; an intercept. The prices are non-negative least squares of
*relative* errors (scikit-learn's `LinearRegression(positive=True)`), so that small networks count
as much as large ones. The interval is the 95 % quantile of the relative errors out of fold. What no
layer of the fitted networks has costs nothing here, and a network that has more of anything than
any of them is marked as extrapolated: a fit of widths on the grid of four knows nothing of others.

Prices are sums that fit, not costs of single instructions: work that always comes together (3×3
depthwise MACs and their outputs; stem and its rows of 9 or 40 weights) shares one price in any
proportion.

## What it says

- On the grid of four the line holds within a backbone with r² above 0.97, held out as well, and
  pooled it does not: one line for three backbones is a quarter off on average. With widths of any
  number among the networks the line is worse in each backbone (held out 0.91 to 0.98). Small
  networks of the DS-CNNs lie below the line, as its intercept is that of least squares and not that
  of an empty network.
- Widths that are no multiples of four cost 12 to 18 % on average at equal ops, up to 44 %: the
  plots of the residuals (`results/linearity/`) show them as a band of their own below the others.
  CMSIS-NN multiplies four channels at a time and takes four outputs side by side; the rest goes one
  by one, and rows of weights that do not begin at a word are read unaligned. The fit puts it on the
  *inputs* of 1×1 convolutions (half a cycle more per MAC, on top of one) and on depthwise
  convolutions, not on outputs.
- Weighted by relative error as the layers are, ops alone are 6.8 to 9.5 % off on the same networks.
- Knowing the layers brings the error on held-out networks from 7 to 13 % down to 1 to 1.5 %, and
  all of them within ±10 %, with one set of prices per backbone for networks on and off the grid.
  Most of what ops leave unsaid of the DS-CNNs is small networks (the intercept) and widths; of
  MobileNetV2 it is how its MACs divide among operators.

## The size of the input

`mobilenet_v2_vww` has inputs from 50×50 to 160×160 in its search space. `linearity` holds it at
96×96; `linearity_inputs` has inputs of all sizes, and there one line of ops is no latency model: r²
0.94 on the networks it is fitted to and 0.81 on those held out, a fifth off on average, and the
error goes with the size of the input. At equal ops a larger input means narrower layers: more
outputs to requantise for each MAC, and more of the MACs in depthwise convolutions, whose MACs cost
several times as much as those of 1×1 convolutions. The layers predictor knows both and is 1.6 % off
on the same held-out networks. So the backbone of the paper is one at one input size, and a search
over the size needs more than ops.
"""
