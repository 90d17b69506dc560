"""Shared ways to print: data on stdout (tables or JSON), everything else on stderr."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.campaign.outcome import Outcome
    from harness.errors import HarnessError
    from harness.report.table import Table as ReadyTable


def note(text: str) -> None:
    """Write a line for people to stderr."""
    from rich.console import Console

    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)


def on_interrupt() -> threading.Event:
    """Return an event that Ctrl-C and SIGTERM set from now on, instead of ending the program."""
    stop = threading.Event()
    # A program that a shell starts in the background ignores Ctrl-C unless it sets a handler.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


JSON_SCHEMA = 1
"""Version of what `--json` prints: docs/json.md."""


def print_json(data: Any) -> None:
    """Write `data` as JSON to stdout, at once: a program may wait for a server's answer.

    An object gets the key ``schema`` first; a list is printed as it is.
    """
    if isinstance(data, Mapping):
        data = {"schema": JSON_SCHEMA, **data}
    sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")
    sys.stdout.flush()


def print_json_error(code: str, what: str, failure: HarnessError | None = None) -> None:
    """Write an error as JSON to stdout, where the data would be."""
    more = {name: getattr(failure, name, None) for name in ("where", "expected", "fix")}
    print_json({"error": {"code": code, "what": what, **more}})


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table to stdout; columns of numbers are right-aligned."""
    from harness.report.table import Table

    print_ready_table(Table(title, columns, [[_cell(value) for value in row] for row in rows]))


def print_rows(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, json: bool
) -> None:
    """Write rows to stdout: a table, or JSON objects by column."""
    if json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(title, columns, rows)


def print_ready_table(table: ReadyTable) -> None:
    """Write a table to stdout, as wide as the terminal; in a pipe as ``COLUMNS`` says, or 200."""
    from rich.console import Console

    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = Console(width=200 if piped else None, highlight=False)
    console.print(table.rich(console.width))


def facts_json(facts: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Return a table of facts for `print_json`."""
    return {name.strip().replace(" ", "_"): value for name, value in facts}


def print_outcome(outcome: Outcome) -> None:
    """Write the table of fits to stdout; files and notes to stderr."""
    from harness.report.tables import fit_table, predictor_table

    if outcome.fits:
        print_ready_table(fit_table([*outcome.fits, *outcome.pooled]))
    if any(fit.layers for fit in outcome.fits):
        print_ready_table(predictor_table(outcome.fits))
    for text in (*(f"  {label}: {path}" for label, path in outcome.files.items()), *outcome.notes):
        note(text)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
