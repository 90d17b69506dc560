"""Measurements and fits as tables of text, for a terminal (Rich) and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Generic, TypeVar

from harness.fit.model import Fit
from harness.report import text
from harness.results.record import Measurement

if TYPE_CHECKING:
    from rich.table import Table as RichTable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Table:
    """A title, column heads with units, and rows of text.

    Attributes:
        title: One line.
        columns: Heads.
        rows: Plain text, nothing escaped.
        text_columns: Indices of left-aligned columns; the others are right-aligned.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: frozenset[int] = frozenset()

    def markdown(self) -> str:
        """Return a Markdown table; names are escaped."""
        ruler = [":---" if i in self.text_columns else "---:" for i in range(len(self.columns))]
        lines = [[text.markdown(cell) for cell in line] for line in (self.columns, *self.rows)]
        lines.insert(1, ruler)
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def rich(self) -> RichTable:
        """Return a table for a Rich console; no markup is read from its cells."""
        from rich.table import Table as Rich
        from rich.text import Text

        table = Rich(title=Text(self.title), title_justify="left", header_style="bold")
        for index, head in enumerate(self.columns):
            table.add_column(Text(head), justify="left" if index in self.text_columns else "right")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        return table


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A head and the text below it for one record; `left` aligns it left."""

    head: str
    text: Callable[[T], str]
    left: bool = False


def table_of(
    title: str, records: Sequence[T], columns: Sequence[Column[T]], where: Sequence[Column[T]]
) -> Table:
    """Return one line per record.

    Args:
        title: Followed by the values of `where` that all records share.
        records: In order.
        columns: Always shown.
        where: Shown behind the first of `columns` only where the records differ.
    """
    shared: list[str] = []
    varying: list[Column[T]] = []
    for column in where:
        values = {column.text(record) for record in records}
        if len(values) == 1:
            shared += values - {text.UNKNOWN}
        elif values:
            varying.append(column)
    shown = [*columns[:1], *varying, *columns[1:]]
    return Table(
        title=f"{title} ({', '.join(shared)})" if shared else title,
        columns=tuple(column.head for column in shown),
        rows=tuple(tuple(column.text(record) for column in shown) for record in records),
        text_columns=frozenset(n for n, column in enumerate(shown) if column.left),
    )


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


def _outputs(row: Measurement) -> str:
    if row.bit_exact is None:
        return text.UNKNOWN
    if row.bit_exact:
        return "exact"
    differing = text.number(row.output_bytes_differing)
    largest = text.number(row.output_max_abs_diff)
    return f"{differing} of {text.number(row.output_bytes_total)} differ, by ≤ {largest}"


CONFIGURATION: tuple[Column[Measurement], ...] = (
    Column("source", lambda row: row.source.value, left=True),
    Column("board", lambda row: text.name(row.board), left=True),
    Column("runtime", lambda row: text.name(row.runtime), left=True),
    Column("kernels", lambda row: text.name(row.kernels), left=True),
    Column("flags", lambda row: text.name(row.optimization), left=True),
    Column("image", lambda row: text.image(row.one_firmware), left=True),
    Column("clock", lambda row: text.clock(row.clock_hz)),
)
"""What a row was measured on and with, versions aside."""

_STATION: Column[Measurement] = Column("station", lambda row: text.name(row.station), left=True)
_WHERE = (*CONFIGURATION[:2], _STATION, *CONFIGURATION[2:])
_MEASUREMENT: tuple[Column[Measurement], ...] = (
    Column("model", lambda row: text.name(row.model_name), left=True),
    Column("backbone", lambda row: text.name(row.backbone), left=True),
    Column("status", lambda row: row.status.value, left=True),
    Column("Mop", lambda row: text.number(row.ops, 2, per=1e6)),
    Column("latency ms", lambda row: text.number(row.latency_us, 3, per=1000)),
    Column("± ms", _interval),
    Column("cycles/MAC", cycles_per_mac),
    Column("layers − total", lambda row: text.percent_signed(row.additivity_gap)),
    Column("arena B", lambda row: text.number(row.arena_bytes)),
    Column("stack B", lambda row: text.number(row.stack_bytes)),
    Column("flash B", lambda row: text.number(row.flash_total_bytes)),
    Column("outputs", _outputs, left=True),
)
_ISSUES: Column[Measurement] = Column(
    "issues", lambda row: " ".join(row.issues) or text.UNKNOWN, left=True
)


def measurement_table(rows: Sequence[Measurement], *, title: str = "Measurements") -> Table:
    """Return one line per row; what all rows share is in the title."""
    issues = [_ISSUES] if any(row.issues for row in rows) else []
    return table_of(title, rows, [*_MEASUREMENT, *issues], _WHERE)


def _backbone(fit: Fit) -> str:
    return "all, pooled" if len(fit.backbones) > 1 else text.name(fit.fingerprint.backbone)


def _held(fit: Fit, name: str) -> float | None:
    test = fit.latency.holdout
    return None if test is None else getattr(test, name)


_FIT_WHERE: tuple[Column[Fit], ...] = (
    Column("source", lambda fit: fit.fingerprint.source, left=True),
    Column("board", lambda fit: text.name(fit.fingerprint.board), left=True),
    Column("clock", lambda fit: text.clock(fit.fingerprint.clock_hz)),
    Column("timing", lambda fit: text.name(fit.fingerprint.timing_model), left=True),
    Column("runtime", lambda fit: text.name(fit.fingerprint.runtime), left=True),
    Column("kernels", lambda fit: text.name(fit.fingerprint.kernels), left=True),
    Column("flags", lambda fit: text.name(fit.fingerprint.optimization), left=True),
    Column("toolchain", lambda fit: text.name(fit.fingerprint.toolchain), left=True),
)
_FIT: tuple[Column[Fit], ...] = (
    Column("backbone", _backbone, left=True),
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


def predictor_table(fits: Iterable[Fit], *, title: str = "Predictors") -> Table:
    """Return two lines per fit: ops alone and layers, on the same held-out architectures."""
    rows = []
    for fit in fits:
        for label, model in (("ops", fit.latency), ("layers", fit.layers)):
            if model is None or model.holdout is None:
                continue
            held = model.holdout
            rows.append(
                (
                    _backbone(fit),
                    label,
                    str(model.n),
                    str(held.n),
                    text.r_squared(held.r2),
                    text.percent(held.mape_pct),
                    text.percent(held.max_error_pct),
                    text.share(held.share_within_5_pct),
                    text.share(held.share_within_10_pct),
                    text.share(held.coverage),
                )
            )
    heads = (
        "backbone", "predictor", "fitted on", "held out", "r²", "MAPE", "largest error",
        "in ±5 %", "in ±10 %", "in interval",
    )  # fmt: skip
    return Table(title, heads, tuple(rows), frozenset({0, 1}))
