"""`harness export`: the store as Parquet or CSV."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.options import RowOptions, Status
from harness.cli.output import note


def export(
    path: Annotated[Path, typer.Argument(help="File to write: .parquet or .csv.")],
    rows: RowOptions,
    table: Literal["measurements", "layers"] = typer.Option(
        "measurements", help="One line per row, or per layer."
    ),
    status: Status = None,
) -> None:
    """Write measurements to a file that pandas, R or a spreadsheet reads."""
    from harness.results import open_store

    with open_store(rows.db, create=False) as store:
        lines = store.export(path, replace(rows.where(), status=status), table=table)
    note(f"{lines} lines in {path}")
