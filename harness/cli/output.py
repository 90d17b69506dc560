"""Shared ways to print: data on stdout (tables or JSON), everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from harness.campaign.outcome import Outcome
    from harness.report import Table as ReadyTable
    from harness.results.record import Measurement


def err() -> Console:
    """Return the console for people: progress, notes, advice."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_json(data: Any) -> None:
    """Write `data` as JSON to stdout."""
    sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, wide: bool = False
) -> None:
    """Write a table to stdout; numbers are right-aligned. Piped output is never cut to a width."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", header_style="bold")
    body = [[_cell(value) for value in row] for row in rows]
    for index, column in enumerate(columns):
        numeric = bool(body) and all(_is_number(row[index]) for row in body if row[index] != "–")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=wide)
    for row in body:
        table.add_row(*(Text(cell) for cell in row))
    width = None if sys.stdout.isatty() else 200
    Console(width=width, highlight=False).print(table)


def print_ready_table(table: ReadyTable) -> None:
    """Write a table of text to stdout. Piped output is not cut to a width."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table.rich())


def print_measurements(rows: Sequence[Measurement]) -> None:
    """Write the table of measurements, smallest network first."""
    from harness.report import measurement_table

    ordered = sorted(rows, key=lambda row: (row.backbone or "", row.ops or 0))
    print_ready_table(measurement_table(ordered))


def print_outcome(outcome: Outcome) -> None:
    """Write the table of fits to stdout; files and notes to stderr."""
    from harness.report import fit_table, predictor_table

    if outcome.fits:
        print_ready_table(fit_table([*outcome.fits, *outcome.pooled]))
    if any(fit.layers for fit in outcome.fits):
        print_ready_table(predictor_table(outcome.fits))
    console = err()
    for label, path in outcome.files.items():
        console.print(f"  {label}: {path}", markup=False, soft_wrap=True)
    for note in outcome.notes:
        console.print(note, markup=False, soft_wrap=True)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").removeprefix("-").rstrip(" %").isdigit()
