"""Measurements and fits as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from harness.fit.model import Fit, LayerModel, LinearModel, Metrics
from harness.report import text
from harness.report.table import Column, Table, table_of
from harness.results.record import Measurement


def cycles_of(row: Measurement) -> float | None:
    """Return the median of a row's cycles."""
    return median(row.cycles) if row.cycles else None


def cycles_per_mac(row: Measurement) -> str:
    """Return cycles per multiply-accumulate as text."""
    cycles = cycles_of(row)
    return text.number(cycles / row.macs, 2) if cycles and row.macs else text.UNKNOWN


def _interval(row: Measurement) -> str:
    if row.latency_ci_low_us is None or row.latency_ci_high_us is None:
        return text.UNKNOWN
    return text.number((row.latency_ci_high_us - row.latency_ci_low_us) / 2000, 3)


def outputs(row: Measurement) -> str:
    """Return how the outputs compare with the reference."""
    if row.bit_exact is None:
        return text.UNKNOWN
    if row.bit_exact:
        return "exact"
    differing = text.number(row.output_bytes_differing)
    largest = text.number(row.output_max_abs_diff)
    return f"{differing} of {text.number(row.output_bytes_total)} differ, by ≤ {largest}"


CONFIGURATION: tuple[Column[Measurement], ...] = (
    Column("source", lambda row: row.source.value, 1),
    Column("board", lambda row: text.name(row.board), 1),
    Column("runtime", lambda row: text.name(row.runtime), 1),
    Column("kernels", lambda row: text.name(row.kernels), 1),
    Column("flags", lambda row: text.name(row.optimization), 1),
    Column("image", lambda row: text.image(row.one_firmware), 6),
    Column("clock", lambda row: text.clock(row.clock_hz), 5),
)
"""What a row was measured on and with, versions aside."""

TOOLCHAIN: Column[Measurement] = Column("toolchain", lambda row: text.name(row.toolchain, 40))
STATION: Column[Measurement] = Column("station", lambda row: text.name(row.station), 2)
WHERE = (*CONFIGURATION[:2], STATION, *CONFIGURATION[2:])
"""The same and the station."""

MEASUREMENT: tuple[Column[Measurement], ...] = (
    Column("model", lambda row: text.name(row.model_name)),
    Column("backbone", lambda row: text.name(row.backbone), 5),
    Column("status", lambda row: row.status.value, 3),
    Column("Mop", lambda row: text.number(row.ops, 2, per=1e6), 4),
    Column("latency ms", lambda row: text.number(row.latency_us, 3, per=1000)),
    Column("± ms", _interval, 7),
    Column("cycles/MAC", cycles_per_mac, 6),
    Column("layers − total", lambda row: text.percent_signed(row.additivity_gap), 9),
    Column("arena B", lambda row: text.number(row.arena_bytes), 3),
    Column("stack B", lambda row: text.number(row.stack_bytes), 8),
    Column("flash B", lambda row: text.number(row.flash_total_bytes), 3),
    Column("outputs", outputs, 5),
)
"""What was measured, first the names of model and backbone."""

ISSUES: Column[Measurement] = Column("issues", lambda row: " ".join(row.issues) or text.UNKNOWN, 2)


_LISTED: tuple[Column[Measurement], ...] = (
    Column("key", lambda row: row.key[:10]),
    Column("network", lambda row: text.name(row.model_name, 32)),
    Column("Mop", lambda row: text.number(row.ops, 2, per=1e6), 4),
    Column("ms", lambda row: text.number(row.latency_us, 2, per=1000)),
    Column("arena B", lambda row: text.number(row.arena_bytes), 3),
    Column("flash B", lambda row: text.number(row.flash_total_bytes), 3),
)
_LISTED_WHERE: tuple[Column[Measurement], ...] = (
    *WHERE,
    Column("date", lambda row: f"{row.created_at:%Y-%m-%d}", 2),
    Column("status", lambda row: " ".join((row.status.value, *row.issues)), 1),
)


CLOCK_ERROR: Column[Measurement] = Column("clock ±", lambda row: text.share(row.expected_error), 4)
"""Expected error of a modelled latency."""


def listing_table(rows: Sequence[Measurement], *, title: str) -> Table:
    """Return one short line per row, to find rows by; what all share is in the title."""
    listed = list(_LISTED)
    if any(row.timing_model for row in rows):
        listed.insert(4, CLOCK_ERROR)
    return table_of(title, rows, listed, _LISTED_WHERE, lead=2)


def measurement_table(rows: Sequence[Measurement], *, title: str = "Measurements") -> Table:
    """Return one line per row; what all rows share is in the title."""
    issues = [ISSUES] if any(row.issues for row in rows) else []
    return table_of(title, rows, [*MEASUREMENT, *issues], WHERE)


def _backbone(fit: Fit) -> str:
    return "all, pooled" if len(fit.backbones) > 1 else text.name(fit.fingerprint.backbone)


def _held(fit: Fit, name: str) -> float | None:
    return getattr(fit.latency.holdout, name, None)


_FIT_WHERE: tuple[Column[Fit], ...] = (
    Column("source", lambda fit: fit.fingerprint.source, 1),
    Column("board", lambda fit: text.name(fit.fingerprint.board), 1),
    Column("clock", lambda fit: text.clock(fit.fingerprint.clock_hz), 2),
    Column("timing", lambda fit: text.name(fit.fingerprint.timing_model), 4),
    Column("runtime", lambda fit: text.name(fit.fingerprint.runtime), 1),
    Column("kernels", lambda fit: text.name(fit.fingerprint.kernels), 1),
    Column("flags", lambda fit: text.name(fit.fingerprint.optimization), 1),
    Column("toolchain", lambda fit: text.name(fit.fingerprint.toolchain), 3),
)
_FIT: tuple[Column[Fit], ...] = (
    Column("backbone", _backbone),
    Column("intercept ms", lambda fit: text.number(fit.latency.intercept / 1000, 2), 1),
    Column("ms/Mop", lambda fit: text.number(fit.latency.slope * 1000, 3), 1),
    Column("Mop/s", lambda fit: text.significant(fit.throughput_ops_per_s / 1e6)),
    Column("fitted on", lambda fit: str(fit.latency.n), 4),
    Column("r² fitted", lambda fit: text.r_squared(fit.latency.train.r2), 5),
    Column("held out", lambda fit: str(len(fit.holdout_keys)), 4),
    Column("r² held out", lambda fit: text.r_squared(_held(fit, "r2")), 1),
    Column("MAPE", lambda fit: text.percent(_held(fit, "mape_pct")), 2),
    Column("in ±5 %", lambda fit: text.share(_held(fit, "share_within_5_pct")), 6),
    Column("in ±10 %", lambda fit: text.share(_held(fit, "share_within_10_pct")), 3),
    Column("in interval", lambda fit: text.share(_held(fit, "coverage")), 5),
)


def fit_table(fits: Iterable[Fit], *, title: str = "Latency from ops") -> Table:
    """Return one line per fit: coefficients, and errors on held-out architectures.

    What all fits share (board, clock, runtime, …) is in the title.
    """
    return table_of(title, list(fits), _FIT, _FIT_WHERE)


_Row = tuple[Fit, str, LinearModel | LayerModel, Metrics]
_PREDICTOR: tuple[Column[_Row], ...] = (
    Column("backbone", lambda row: _backbone(row[0])),
    Column("predictor", lambda row: row[1]),
    Column("fitted on", lambda row: str(row[2].n), 4),
    Column("held out", lambda row: str(row[3].n), 4),
    Column("r²", lambda row: text.r_squared(row[3].r2), 1),
    Column("MAPE", lambda row: text.percent(row[3].mape_pct)),
    Column("largest error", lambda row: text.percent(row[3].max_error_pct), 2),
    Column("in ±5 %", lambda row: text.share(row[3].share_within_5_pct), 5),
    Column("in ±10 %", lambda row: text.share(row[3].share_within_10_pct), 3),
    Column("in interval", lambda row: text.share(row[3].coverage), 5),
)


def predictor_table(fits: Iterable[Fit], *, title: str = "Predictors") -> Table:
    """Return two lines per fit: ops alone and layers, on the same held-out architectures."""
    rows: list[_Row] = [
        (fit, name, model, model.holdout)
        for fit in fits
        for name, model in (("ops", fit.latency), ("layers", fit.layers))
        if model is not None and model.holdout is not None
    ]
    return table_of(title, rows, _PREDICTOR)
