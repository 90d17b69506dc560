"""The same models in several configurations, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.report import text
from harness.report.table import Column, Table, table_of
from harness.report.tables import CONFIGURATION, cycles_of, cycles_per_mac, outputs
from harness.results.record import Measurement, best_per_key

_MODEL: Column[Measurement] = Column("model", lambda row: text.name(row.model_name, 30))


def comparison_table(rows: Iterable[Measurement], *, title: str = "Comparison") -> Table:
    """Return one line per model and configuration, the models in order of size.

    *× best* is cycles against the model's best on the same board and source. *code* is flash
    without weights; *SRAM* is arena, other static RAM and stack. What all share is in the title.
    """
    listed = by_model(row for row in best_per_key(rows) if row.usable)
    best: dict[tuple[object, ...], float] = {}
    for row in listed:
        if cycles := cycles_of(row):
            best[_subject(row)] = min(cycles, best.get(_subject(row), cycles))
    columns: tuple[Column[Measurement], ...] = (
        _MODEL,
        Column("cycles", lambda row: text.number(cycles_of(row)), 4),
        Column("× best", lambda row: _ratio(row, best), 2),
        Column("ms", lambda row: text.number(row.latency_us, 3, per=1000)),
        Column("cycles/MAC", cycles_per_mac, 6),
        Column("flash B", lambda row: text.number(row.flash_total_bytes), 3),
        Column("code B", _code, 7),
        Column("arena used B", lambda row: text.number(row.arena_used_bytes), 5),
        Column("arena min B", lambda row: text.number(row.arena_min_bytes), 5),
        Column("SRAM B", lambda row: text.number(row.sram_bytes), 3),
        Column("layers − total", lambda row: text.percent_signed(row.additivity_gap), 8),
        Column("outputs", outputs, 6),
    )
    return table_of(title, listed, columns, CONFIGURATION)


def arena_table(rows: Iterable[Measurement], *, title: str = "Arena") -> Table:
    """Return one line per model and configuration: its arena as reported and as verified.

    *used* is what the runtime reports, *minimum* what was verified on the device, *÷ used* their
    ratio; *host* is what the tflite-micro wheel uses. *outputs* compares with the host's reference.
    """
    columns: tuple[Column[Measurement], ...] = (
        _MODEL,
        Column("working memory B", lambda row: text.number(row.working_memory_bytes), 3),
        Column("used B", lambda row: text.number(row.arena_used_bytes)),
        Column("minimum B", lambda row: text.number(row.arena_min_bytes)),
        Column("÷ used", _min_to_used),
        Column("host B", lambda row: text.number(row.arena_host_bytes), 2),
        Column("outputs", outputs, 4),
    )
    listed = by_model(row for row in best_per_key(rows) if row.usable)
    return table_of(title, listed, columns, CONFIGURATION)


def by_model(rows: Iterable[Measurement]) -> list[Measurement]:
    """Return the rows with models in order of size, each model's fastest configuration first."""
    return sorted(
        rows,
        key=lambda row: (
            row.ops or 0,
            row.model_sha256 or "",
            row.source.value,
            row.board,
            cycles_of(row) or 0,
        ),
    )


def fastest(rows: Iterable[Measurement]) -> list[Measurement]:
    """Return the row with the fewest cycles of each model on each board and source, by model."""
    best: dict[tuple[object, ...], Measurement] = {}
    for row in by_model(rows):
        best.setdefault(_subject(row), row)
    return list(best.values())


def has_several(rows: Sequence[Measurement]) -> bool:
    """Return whether a model was measured in more than one configuration."""
    seen: dict[str | None, set[tuple[str, ...]]] = {}
    for row in rows:
        if row.usable:
            mine = tuple(column.text(row) for column in CONFIGURATION)
            seen.setdefault(row.model_sha256, set()).add(mine)
    return any(len(found) > 1 for found in seen.values())


def _subject(row: Measurement) -> tuple[object, ...]:
    return row.model_sha256, row.source, row.board


def _ratio(row: Measurement, best: Mapping[tuple[object, ...], float]) -> str:
    cycles, least = cycles_of(row), best.get(_subject(row))
    return text.number(cycles / least, 2) if cycles and least else text.UNKNOWN


def _min_to_used(row: Measurement) -> str:
    least, used = row.arena_min_bytes, row.arena_used_bytes
    return text.number(least / used, 3) if least and used else text.UNKNOWN


def _code(row: Measurement) -> str:
    if row.flash_total_bytes is None or row.flash_weights_bytes is None:
        return text.UNKNOWN
    return text.number(row.flash_total_bytes - row.flash_weights_bytes)
