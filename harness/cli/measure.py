"""`harness measure`: one .tflite on one station."""

from __future__ import annotations

import typer

from harness.cli import options
from harness.cli.output import note, print_json
from harness.paths import DEFAULT_BOARD, DEFAULT_STORE


def measure(
    model: options.ModelFile,
    firmware: options.FirmwareOptions,
    board: options.BoardId = DEFAULT_BOARD,
    station: options.StationName = None,
    warmup: int = typer.Option(1, min=0, max=1000, help="Inferences before the timed ones."),
    repeats: int = typer.Option(3, min=1, max=64, help="Timed inferences."),
    boots: int = typer.Option(1, min=1, max=16, help="Resets, each followed by the repeats."),
    layers: bool = typer.Option(True, help="Time each layer in a separate pass."),
    verify_arena: bool = typer.Option(
        False, "--verify-arena", help="Search for the smallest arena that works."
    ),
    seed: int = typer.Option(0, min=0, help="Seed of the input data."),
    wait: options.Wait = 0.0,
    again: bool = typer.Option(False, "--again", help="Measure even if the store has the row."),
    db: options.Database = DEFAULT_STORE,
    bench: options.BenchFile = None,
    json: options.Json = False,
) -> None:
    """Build, flash and measure a model; print latency, memory, flash and layers."""
    from harness.bench import load_bench
    from harness.campaign.config import CampaignConfig, MeasureOptions
    from harness.campaign.entry import measure_job, plan_now
    from harness.cli.progress import spinner
    from harness.cli.row import as_json, print_row
    from harness.results import open_store

    config = CampaignConfig.of(
        "measure",
        station=station,
        boards=[board],
        models=[model],
        runtime=firmware.sweep(),
        measure=MeasureOptions(
            warmup=warmup, repeats=repeats, boots=boots, layers=layers, verify_arena=verify_arena
        ),
        seed=seed,
    )
    stations = load_bench(bench)
    (job,) = plan_now(config, stations)
    with open_store(db) as store:
        row, fresh = measure_job(job, stations, store, again=again, step=spinner, wait_s=wait)
    if not fresh:
        note("measured before; --again measures once more")
    if json:
        print_json(as_json(row))
    else:
        print_row(row)
