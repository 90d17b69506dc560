"""The tables of docs/linearity.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean

from harness.backbones import get_backbone
from harness.fit.model import Fingerprint
from harness.fit.regress import fit_rows
from harness.report import text
from harness.report.table import Table
from harness.report.tables import predictor_table
from studies.linearity.study import Point, Study


def tables(found: Mapping[str, tuple[Fingerprint, Sequence[Study]]]) -> dict[str, str]:
    """Return the page's tables by name, ``CAMPAIGN-TABLE``, for each campaign's studies.

    Raises:
        FitError: There are too few networks.
    """
    made: dict[str, str] = {}
    for campaign, (where, studies) in found.items():
        clock_hz = where.clock_hz or 0
        fits = [study.fit for study in studies]
        if len(studies) > 1:
            every = [row for study in studies for row in study.rows]
            fits.append(fit_rows(every, pooled=True, predictor="layers"))
        made[f"{campaign}-line"] = f"{_conditions(where)}\n\n{_line_table(studies).markdown()}"
        made[f"{campaign}-predictors"] = predictor_table(fits).markdown()
        made[f"{campaign}-coefficients"] = _coefficient_table(studies, clock_hz).markdown()
        if any(study.off_grid_pct is not None for study in studies):
            made[f"{campaign}-grid"] = _grid_table(studies).markdown()
        for study in studies:
            table = _input_table(study, clock_hz)
            if len(table.rows) > 1:
                made[f"{campaign}-inputs-{study.backbone}"] = table.markdown()
    return made


def _conditions(where: Fingerprint) -> str:
    emulated = f"**Emulated:** cycles modelled by {where.timing_model}"
    counted = emulated if where.source == "emulated" else "Measured on hardware"
    return (
        f"{counted}; {where.board}, {where.runtime} {where.kernels} {where.optimization} at "
        f"{text.clock(where.clock_hz)}, {where.toolchain}."
    )


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
    return Table("Latency from ops", heads, tuple(rows))


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
    return Table("Off the grid", heads, tuple(rows))


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
    return Table("By input", heads, tuple(rows))


def _coefficient_table(studies: Sequence[Study], clock_hz: int) -> Table:
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
    return Table("Coefficients", heads, tuple(rows))
