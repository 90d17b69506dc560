"""`harness export`: the store as Parquet or CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.output import Database, err
from harness.paths import DEFAULT_STORE


def register(app: typer.Typer, name: str) -> None:
    """Add the command to `app`."""
    app.command(name)(export)


def export(
    path: Annotated[Path, typer.Argument(help="File to write: .parquet or .csv.")],
    table: Annotated[
        str, typer.Option(help="measurements, or layers for one line per layer.")
    ] = "measurements",
    campaign: Annotated[str | None, typer.Option(help="Only this campaign.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Only this backbone.")] = None,
    board: Annotated[str | None, typer.Option(help="Only this board.")] = None,
    source: Annotated[str | None, typer.Option(help="hardware or emulated.")] = None,
    status: Annotated[str | None, typer.Option(help="valid, degraded or invalid.")] = None,
    db: Database = None,
) -> None:
    """Write measurements to a file that pandas, R or a spreadsheet reads."""
    from harness.results import open_store
    from harness.results.store import Filter

    where = Filter(campaign=campaign, backbone=backbone, board=board, source=source, status=status)
    with open_store(db or DEFAULT_STORE, create=False) as store:
        lines = store.export(path, where, table=table)
    err().print(f"{lines} lines in {path}", markup=False)
