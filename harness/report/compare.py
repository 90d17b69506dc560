"""Lay the same models, measured in several configurations, out side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from harness.report import text
from harness.report.tables import Table
from harness.results.record import Measurement, best_per_key

_Column = tuple[str, bool, Callable[[Measurement], str]]

_CONFIGURATION: tuple[_Column, ...] = (
    ("source", True, lambda row: row.source.value),
    ("board", True, lambda row: text.name(row.board)),
    ("runtime", True, lambda row: text.name(row.runtime)),
    ("kernels", True, lambda row: text.name(row.kernels)),
    ("flags", True, lambda row: text.name(row.optimization)),
    ("image", True, lambda row: text.image(row.one_firmware)),
    ("clock", False, lambda row: text.clock(row.clock_hz)),
)


def comparison_table(rows: Iterable[Measurement], *, title: str = "Comparison") -> Table:
    """Return one line per model and configuration, the models in order of size.

    *× best* is cycles against the model's best on the same board and source. *code* is flash
    without weights; *SRAM* is arena, other static RAM and stack. What all share is in the title.
    """
    listed = by_model(row for row in best_per_key(rows) if row.usable)
    best = _best(listed)
    shared, columns = _shared_apart(listed)
    columns += [
        ("cycles", False, lambda row: text.number(_cycles(row))),
        ("× best", False, lambda row: _ratio(row, best)),
        ("ms", False, _ms),
        ("cycles/MAC", False, _per_mac),
        ("flash B", False, lambda row: text.number(row.flash_total_bytes)),
        ("code B", False, _code),
        ("arena used B", False, lambda row: text.number(row.arena_used_bytes)),
        ("arena min B", False, lambda row: text.number(row.arena_min_bytes)),
        ("SRAM B", False, lambda row: text.number(row.sram_bytes)),
        ("layers − total", False, lambda row: text.percent_signed(row.additivity_gap)),
        ("outputs", True, _outputs),
    ]
    return _table(f"{title} ({', '.join(shared)})" if shared else title, listed, columns)


def arena_table(rows: Iterable[Measurement], *, title: str = "Arena") -> Table:
    """Return one line per model and configuration: what is said of its arena, and what it needs.

    *used* is what the runtime reports, *minimum* what was verified on the device, *÷ used* their
    ratio; *host* is what the tflite-micro wheel uses. *outputs* are against the host's reference.
    """
    listed = by_model(row for row in best_per_key(rows) if row.usable)
    shared, columns = _shared_apart(listed)
    columns += [
        ("working memory B", False, lambda row: text.number(row.working_memory_bytes)),
        ("used B", False, lambda row: text.number(row.arena_used_bytes)),
        ("minimum B", False, lambda row: text.number(row.arena_min_bytes)),
        ("÷ used", False, _min_to_used),
        ("host B", False, lambda row: text.number(row.arena_host_bytes)),
        ("outputs", True, _outputs),
    ]
    return _table(f"{title} ({', '.join(shared)})" if shared else title, listed, columns)


def by_model(rows: Iterable[Measurement]) -> list[Measurement]:
    """Return the rows with models in order of size, each model's fastest configuration first."""
    return sorted(
        rows,
        key=lambda row: (row.ops or 0, row.model_sha256 or "", _where(row), _cycles(row) or 0),
    )


def has_several(rows: Sequence[Measurement]) -> bool:
    """Return whether a model is there in more than one configuration."""
    seen: dict[str | None, set[tuple[str, ...]]] = {}
    for row in rows:
        if row.usable:
            mine = tuple(get(row) for _, _, get in _CONFIGURATION)
            seen.setdefault(row.model_sha256, set()).add(mine)
    return any(len(found) > 1 for found in seen.values())


def _shared_apart(rows: Sequence[Measurement]) -> tuple[list[str], list[_Column]]:
    """Return what all rows share of their configuration, and the columns for what they do not."""
    shared: list[str] = []
    columns: list[_Column] = [("model", True, lambda row: text.name(row.model_name, 30))]
    for column in _CONFIGURATION:
        values = {column[2](row) for row in rows}
        if len(values) == 1:
            shared += values - {text.UNKNOWN}
        elif values:
            columns.append(column)
    return shared, columns


def _table(title: str, rows: Sequence[Measurement], columns: Sequence[_Column]) -> Table:
    return Table(
        title=title,
        columns=tuple(head for head, _, _ in columns),
        rows=tuple(tuple(get(row) for _, _, get in columns) for row in rows),
        text_columns=frozenset(index for index, (_, left, _) in enumerate(columns) if left),
    )


def _where(row: Measurement) -> tuple[str, str]:
    return row.source.value, row.board


def _cycles(row: Measurement) -> int | None:
    return sorted(row.cycles)[len(row.cycles) // 2] if row.cycles else None


def _best(rows: Iterable[Measurement]) -> dict[tuple[object, ...], int]:
    best: dict[tuple[object, ...], int] = {}
    for row in rows:
        cycles = _cycles(row)
        if cycles:
            key = (row.model_sha256, *_where(row))
            best[key] = min(cycles, best.get(key, cycles))
    return best


def _ratio(row: Measurement, best: dict[tuple[object, ...], int]) -> str:
    cycles, least = _cycles(row), best.get((row.model_sha256, *_where(row)))
    return text.number(cycles / least, 2) if cycles and least else text.UNKNOWN


def _min_to_used(row: Measurement) -> str:
    least, used = row.arena_min_bytes, row.arena_used_bytes
    return text.number(least / used, 3) if least and used else text.UNKNOWN


def _ms(row: Measurement) -> str:
    return text.number(None if row.latency_us is None else row.latency_us / 1000, 3)


def _per_mac(row: Measurement) -> str:
    cycles = _cycles(row)
    return text.number(cycles / row.macs, 2) if cycles and row.macs else text.UNKNOWN


def _code(row: Measurement) -> str:
    if row.flash_total_bytes is None or row.flash_weights_bytes is None:
        return text.UNKNOWN
    return text.number(row.flash_total_bytes - row.flash_weights_bytes)


def _outputs(row: Measurement) -> str:
    if row.bit_exact is None:
        return text.UNKNOWN
    return "exact" if row.bit_exact else f"≤ {text.number(row.output_max_abs_diff)} off"
