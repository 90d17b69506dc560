"""`harness fit`: op throughput per backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.output import Database, Json, print_json, print_outcome
from harness.errors import EXIT_FAILED
from harness.paths import DEFAULT_STORE

Predictor = Literal["ops", "layers"]


def register(app: typer.Typer, name: str) -> None:
    """Add the command to `app`."""
    app.command(name)(fit)


def fit(
    backbone: Annotated[str | None, typer.Option(help="Only this backbone.")] = None,
    board: Annotated[str | None, typer.Option(help="Only this board.")] = None,
    source: Annotated[str | None, typer.Option(help="hardware or emulated.")] = None,
    campaign: Annotated[str | None, typer.Option(help="Only this campaign.")] = None,
    runtime: Annotated[str | None, typer.Option(help="Only this runtime.")] = None,
    kernels: Annotated[str | None, typer.Option(help="Only these kernels.")] = None,
    degraded: Annotated[bool, typer.Option("--degraded", help="Take degraded rows too.")] = False,
    predictor: Annotated[
        Predictor, typer.Option(help="From ops alone, or from what each layer is as well.")
    ] = "ops",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for fits and plots.")] = Path(
        "results/fit"
    ),
    db: Database = None,
    json: Json = False,
) -> None:
    """Fit latency = intercept + ops / throughput, one fit per backbone and configuration.

    With --predictor layers also a price for each kind of work: docs/linearity.md.
    """
    from harness.campaign.outcome import write_fits
    from harness.results import open_store
    from harness.results.store import Filter

    where = Filter(
        backbone=backbone,
        board=board,
        source=source,
        campaign=campaign,
        runtime=runtime,
        kernels=kernels,
    )
    with open_store(db or DEFAULT_STORE, create=False) as store:
        rows = store.query(where, with_layers=False)
    outcome = write_fits(rows, out, degraded=degraded, predictor=predictor)
    if json:
        print_json(outcome.as_json())
    else:
        print_outcome(outcome)
    if not outcome.fits:
        raise typer.Exit(EXIT_FAILED)
