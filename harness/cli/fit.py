"""`harness fit`: op throughput per backbone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import typer

from harness.cli.options import Json, RowOptions
from harness.cli.output import print_json, print_outcome
from harness.errors import EXIT_FAILED

Predictor = Literal["ops", "layers"]


def fit(
    rows: RowOptions,
    runtime: str | None = typer.Option(None, help="Only this runtime."),
    kernels: str | None = typer.Option(None, help="Only these kernels."),
    degraded: bool = typer.Option(False, "--degraded", help="Take degraded rows too."),
    predictor: Predictor = typer.Option("ops", help="From ops alone, or from the layers as well."),
    out: Path = typer.Option(Path("results/fit"), "--out", "-o", help="Folder for fits and plots."),
    json: Json = False,
) -> None:
    """Fit latency = intercept + ops / throughput, one fit per backbone and configuration.

    With --predictor layers also one coefficient for each kind of work: docs/linearity.md.
    """
    from harness.campaign.outcome import write_fits
    from harness.fit.select import COLUMNS, LAYER_COLUMNS
    from harness.results import open_store
    from harness.results.missing import nothing_matches

    where = replace(rows.where(), runtime=runtime, kernels=kernels)
    with open_store(rows.db, create=False) as store:
        found = store.table(where, COLUMNS if predictor == "ops" else LAYER_COLUMNS)
        if not len(found):
            raise nothing_matches(store, where)
        outcome = write_fits(found, out, degraded=degraded, predictor=predictor)
    if json:
        print_json(outcome.as_json())
    else:
        print_outcome(outcome)
    if not outcome.fits:
        raise typer.Exit(EXIT_FAILED)
