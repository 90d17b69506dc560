"""`harness fit`: op throughput per backbone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.options import Json, RowOptions
from harness.cli.output import print_json, print_outcome
from harness.errors import EXIT_FAILED

Predictor = Literal["ops", "layers"]


def fit(
    rows: RowOptions,
    runtime: Annotated[str | None, typer.Option(help="Only this runtime.")] = None,
    kernels: Annotated[str | None, typer.Option(help="Only these kernels.")] = None,
    degraded: Annotated[bool, typer.Option("--degraded", help="Take degraded rows too.")] = False,
    predictor: Annotated[
        Predictor, typer.Option(help="From ops alone, or from the layers as well.")
    ] = "ops",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for fits and plots.")] = Path(
        "results/fit"
    ),
    json: Json = False,
) -> None:
    """Fit latency = intercept + ops / throughput, one fit per backbone and configuration.

    With --predictor layers also one coefficient for each kind of work: docs/linearity.md.
    """
    from harness.campaign.outcome import write_fits
    from harness.results import open_store

    where = replace(rows.where(), runtime=runtime, kernels=kernels)
    with open_store(rows.db, create=False) as store:
        found = store.query(where, with_layers=False)
    outcome = write_fits(found, out, degraded=degraded, predictor=predictor)
    if json:
        print_json(outcome.as_json())
    else:
        print_outcome(outcome)
    if not outcome.fits:
        raise typer.Exit(EXIT_FAILED)
