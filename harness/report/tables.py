"""Lay out measurements and fits as rows of text, for Rich and for Markdown alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.fit.model import Fit
from harness.report import text
from harness.results.record import Measurement

if TYPE_CHECKING:
    from rich.table import Table as RichTable


@dataclass(frozen=True, slots=True)
class Table:
    """Hold a title, column heads (unit included) and rows of ready text.

    Attributes:
        title: One line.
        columns: Heads.
        rows: As many texts each as there are columns; plain, nothing escaped.
        text_columns: Indices of the columns that are set flush left; figures go right.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: frozenset[int] = frozenset()

    def markdown(self) -> str:
        """Return a Markdown table; names are escaped."""
        ruler = [":---" if i in self.text_columns else "---:" for i in range(len(self.columns))]
        lines = [self.columns, ruler, *self.rows]
        escaped = [
            [text.markdown(cell) for cell in line] if line is not ruler else line for line in lines
        ]
        return "".join(f"| {' | '.join(line)} |\n" for line in escaped)

    def rich(self) -> RichTable:
        """Return the same for a Rich console; names are taken literally."""
        from rich.table import Table as Rich
        from rich.text import Text

        table = Rich(title=Text(self.title), title_justify="left")
        for index, head in enumerate(self.columns):
            left = index in self.text_columns
            table.add_column(Text(head), justify="left" if left else "right", no_wrap=index == 0)
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        return table


_Column = tuple[str, bool, Callable[[Measurement], str]]


def _interval(row: Measurement) -> str:
    if row.latency_ci_low_us is None or row.latency_ci_high_us is None:
        return text.UNKNOWN
    half_us = (row.latency_ci_high_us - row.latency_ci_low_us) / 2
    return text.number(half_us / 1000, 3)


def _outputs(row: Measurement) -> str:
    if row.bit_exact is None:
        return text.UNKNOWN
    if row.bit_exact:
        return "exact"
    differing = text.number(row.output_bytes_differing)
    largest = text.number(row.output_max_abs_diff)
    return f"{differing} of {text.number(row.output_bytes_total)} differ, by ≤ {largest}"


def _per_mac(row: Measurement) -> str:
    if not row.macs or row.latency_us is None or row.clock_hz is None:
        return text.UNKNOWN
    return text.number(row.latency_us * row.clock_hz / 1e6 / row.macs, 2)


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value / by


_MEASUREMENT: tuple[_Column, ...] = (
    ("model", True, lambda row: text.name(row.model_name)),
    ("backbone", True, lambda row: text.name(row.backbone)),
    ("status", True, lambda row: row.status.value),
    ("Mop", False, lambda row: text.number(_scaled(row.ops, 1e6), 2)),
    ("latency ms", False, lambda row: text.number(_scaled(row.latency_us, 1000), 3)),
    ("± ms", False, _interval),
    ("cycles/MAC", False, _per_mac),
    ("layers − total", False, lambda row: text.percent_signed(row.additivity_gap)),
    ("arena B", False, lambda row: text.number(row.arena_bytes)),
    ("stack B", False, lambda row: text.number(row.stack_bytes)),
    ("flash B", False, lambda row: text.number(row.flash_total_bytes)),
    ("outputs", True, _outputs),
)
_WHERE: tuple[_Column, ...] = (
    ("source", True, lambda row: row.source.value),
    ("board", True, lambda row: text.name(row.board)),
    ("station", True, lambda row: text.name(row.station)),
    ("runtime", True, lambda row: text.name(row.runtime)),
    ("kernels", True, lambda row: text.name(row.kernels)),
    ("flags", True, lambda row: text.name(row.optimization)),
    ("image", True, lambda row: text.image(row.one_firmware)),
    ("clock", False, lambda row: text.clock(row.clock_hz)),
)


def measurement_table(rows: Sequence[Measurement], *, title: str = "Measurements") -> Table:
    """Return one line per row; what all rows share stands in the title, not in columns."""
    shared: list[str] = []
    varying: list[_Column] = []
    for column in _WHERE:
        values = {column[2](row) for row in rows}
        if len(values) == 1:
            value = values.pop()
            if value != text.UNKNOWN:
                shared.append(value)
        elif values:
            varying.append(column)
    columns = [_MEASUREMENT[0], *varying, *_MEASUREMENT[1:]]
    if any(row.issues for row in rows):
        columns.append(("issues", True, lambda row: " ".join(row.issues) or text.UNKNOWN))
    return Table(
        title=f"{title} ({', '.join(shared)})" if shared else title,
        columns=tuple(head for head, _, _ in columns),
        rows=tuple(tuple(get(row) for _, _, get in columns) for row in rows),
        text_columns=frozenset(index for index, (_, left, _) in enumerate(columns) if left),
    )


def fit_table(fits: Iterable[Fit], *, title: str = "Latency from ops") -> Table:
    """Return one line per fit: coefficients, and how well it predicts held-out architectures.

    What all fits share (board, clock, runtime, …) stands in the title.
    """
    listed = list(fits)
    shared: list[str] = []
    columns: list[tuple[str, bool, Callable[[Fit], str]]] = [_FIT[0]]
    for column in _FIT_WHERE:
        values = {column[2](fit) for fit in listed}
        if len(values) == 1:
            shared += values - {text.UNKNOWN}
        elif values:
            columns.append(column)
    columns += _FIT[1:]
    return Table(
        title=f"{title} ({', '.join(shared)})" if shared else title,
        columns=tuple(head for head, _, _ in columns),
        rows=tuple(tuple(get(fit) for _, _, get in columns) for fit in listed),
        text_columns=frozenset(index for index, (_, left, _) in enumerate(columns) if left),
    )


def predictor_table(fits: Iterable[Fit], *, title: str = "Predictors") -> Table:
    """Return two lines per fit: ops alone and layers, on the same held-out architectures."""
    rows = []
    for fit in fits:
        name = "all, pooled" if len(fit.backbones) > 1 else text.name(fit.fingerprint.backbone)
        for label, model in (("ops", fit.latency), ("layers", fit.layers)):
            if model is None or model.holdout is None:
                continue
            held = model.holdout
            rows.append(
                (
                    name,
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


def _held(fit: Fit, name: str) -> float | None:
    test = fit.latency.holdout
    return None if test is None else getattr(test, name)


_FIT_WHERE: tuple[tuple[str, bool, Callable[[Fit], str]], ...] = (
    ("source", True, lambda fit: fit.fingerprint.source),
    ("board", True, lambda fit: text.name(fit.fingerprint.board)),
    ("clock", False, lambda fit: text.clock(fit.fingerprint.clock_hz)),
    ("timing", True, lambda fit: text.name(fit.fingerprint.timing_model)),
    ("runtime", True, lambda fit: text.name(fit.fingerprint.runtime)),
    ("kernels", True, lambda fit: text.name(fit.fingerprint.kernels)),
    ("flags", True, lambda fit: text.name(fit.fingerprint.optimization)),
    ("toolchain", True, lambda fit: text.name(fit.fingerprint.toolchain)),
)
_FIT: tuple[tuple[str, bool, Callable[[Fit], str]], ...] = (
    (
        "backbone",
        True,
        lambda fit: (
            "all, pooled" if len(fit.backbones) > 1 else text.name(fit.fingerprint.backbone)
        ),
    ),
    ("intercept ms", False, lambda fit: text.number(fit.latency.intercept / 1000, 2)),
    ("ms/Mop", False, lambda fit: text.number(fit.latency.slope * 1000, 3)),
    ("Mop/s", False, lambda fit: text.significant(fit.throughput_ops_per_s / 1e6)),
    ("fitted on", False, lambda fit: str(fit.latency.n)),
    ("r² fitted", False, lambda fit: text.r_squared(fit.latency.train.r2)),
    ("held out", False, lambda fit: str(len(fit.holdout_keys))),
    ("r² held out", False, lambda fit: text.r_squared(_held(fit, "r2"))),
    ("MAPE", False, lambda fit: text.percent(_held(fit, "mape_pct"))),
    ("in ±5 %", False, lambda fit: text.share(_held(fit, "share_within_5_pct"))),
    ("in ±10 %", False, lambda fit: text.share(_held(fit, "share_within_10_pct"))),
    ("in interval", False, lambda fit: text.share(_held(fit, "coverage"))),
)
