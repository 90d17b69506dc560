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
    Column("source", lambda row: row.source.value),
    Column("board", lambda row: text.name(row.board)),
    Column("runtime", lambda row: text.name(row.runtime)),
    Column("kernels", lambda row: text.name(row.kernels)),
    Column("flags", lambda row: text.name(row.optimization)),
    Column("image", lambda row: text.image(row.one_firmware)),
    Column("clock", lambda row: text.clock(row.clock_hz)),
)
"""What a row was measured on and with, versions aside."""

TOOLCHAIN: Column[Measurement] = Column("toolchain", lambda row: text.name(row.toolchain, 40))
STATION: Column[Measurement] = Column("station", lambda row: text.name(row.station))
WHERE = (*CONFIGURATION[:2], STATION, *CONFIGURATION[2:])
"""The same and the station."""

MEASUREMENT: tuple[Column[Measurement], ...] = (
    Column("model", lambda row: text.name(row.model_name)),
    Column("backbone", lambda row: text.name(row.backbone)),
    Column("status", lambda row: row.status.value),
    Column("Mop", lambda row: text.number(row.ops, 2, per=1e6)),
    Column("latency ms", lambda row: text.number(row.latency_us, 3, per=1000)),
    Column("± ms", _interval),
    Column("cycles/MAC", cycles_per_mac),
    Column("layers − total", lambda row: text.percent_signed(row.additivity_gap)),
    Column("arena B", lambda row: text.number(row.arena_bytes)),
    Column("stack B", lambda row: text.number(row.stack_bytes)),
    Column("flash B", lambda row: text.number(row.flash_total_bytes)),
    Column("outputs", outputs),
)
"""What was measured, first the names of model and backbone."""

ISSUES: Column[Measurement] = Column("issues", lambda row: " ".join(row.issues) or text.UNKNOWN)


def measurement_table(rows: Sequence[Measurement], *, title: str = "Measurements") -> Table:
    """Return one line per row; what all rows share is in the title."""
    issues = [ISSUES] if any(row.issues for row in rows) else []
    return table_of(title, rows, [*MEASUREMENT, *issues], WHERE)


def _backbone(fit: Fit) -> str:
    return "all, pooled" if len(fit.backbones) > 1 else text.name(fit.fingerprint.backbone)


def _held(fit: Fit, name: str) -> float | None:
    return getattr(fit.latency.holdout, name, None)


_FIT_WHERE: tuple[Column[Fit], ...] = (
    Column("source", lambda fit: fit.fingerprint.source),
    Column("board", lambda fit: text.name(fit.fingerprint.board)),
    Column("clock", lambda fit: text.clock(fit.fingerprint.clock_hz)),
    Column("timing", lambda fit: text.name(fit.fingerprint.timing_model)),
    Column("runtime", lambda fit: text.name(fit.fingerprint.runtime)),
    Column("kernels", lambda fit: text.name(fit.fingerprint.kernels)),
    Column("flags", lambda fit: text.name(fit.fingerprint.optimization)),
    Column("toolchain", lambda fit: text.name(fit.fingerprint.toolchain)),
)
_FIT: tuple[Column[Fit], ...] = (
    Column("backbone", _backbone),
    Column("intercept ms", lambda fit: text.number(fit.latency.intercept / 1000, 2)),
    Column("ms/Mop", lambda fit: text.number(fit.latency.slope * 1000, 3)),
    Column("Mop/s", lambda fit: text.significant(fit.throughput_ops_per_s / 1e6)),
    Column("fitted on", lambda fit: str(fit.latency.n)),
    Column("r² fitted", lambda fit: text.r_squared(fit.latency.train.r2)),
    Column("held out", lambda fit: str(len(fit.holdout_keys))),
    Column("r² held out", lambda fit: text.r_squared(_held(fit, "r2"))),
    Column("MAPE", lambda fit: text.percent(_held(fit, "mape_pct"))),
    Column("in ±5 %", lambda fit: text.share(_held(fit, "share_within_5_pct"))),
    Column("in ±10 %", lambda fit: text.share(_held(fit, "share_within_10_pct"))),
    Column("in interval", lambda fit: text.share(_held(fit, "coverage"))),
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
    Column("fitted on", lambda row: str(row[2].n)),
    Column("held out", lambda row: str(row[3].n)),
    Column("r²", lambda row: text.r_squared(row[3].r2)),
    Column("MAPE", lambda row: text.percent(row[3].mape_pct)),
    Column("largest error", lambda row: text.percent(row[3].max_error_pct)),
    Column("in ±5 %", lambda row: text.share(row[3].share_within_5_pct)),
    Column("in ±10 %", lambda row: text.share(row[3].share_within_10_pct)),
    Column("in interval", lambda row: text.share(row[3].coverage)),
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
