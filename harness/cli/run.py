"""`harness run`: a campaign from start to report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.library import Libraries, with_libraries
from harness.cli.output import (
    DEFAULT_STORE,
    BenchFile,
    Database,
    Json,
    err,
    print_json,
    print_measurements,
    print_outcome,
    print_ready_table,
    print_table,
)
from harness.errors import EXIT_BENCH, EXIT_FAILED

if TYPE_CHECKING:
    from harness.campaign.config import CampaignConfig
    from harness.campaign.outcome import Outcome
    from harness.campaign.plan import Job
    from harness.campaign.runner import Summary
    from harness.results.store import Store


def register(app: typer.Typer, name: str) -> None:
    """Add the command to `app`."""
    app.command(name)(run)


def run(
    campaign: Annotated[Path, typer.Argument(help="Campaign file (TOML).")],
    station: Annotated[
        list[str] | None,
        typer.Option("--station", "-s", help="Measure here instead of where the file says."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Networks per backbone instead of the file's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed instead of the file's.")] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            exists=True,
            help="Folder to look the file's models up in, sub-folders included.",
        ),
    ] = None,
    library: Libraries = None,
    verify_arena: Annotated[
        bool | None,
        typer.Option(
            "--verify-arena/--no-verify-arena",
            help="Search the smallest arena that works (default: as the file says).",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for table, plot and fits (default: results/<campaign name>)."),
    ] = None,
    db: Database = None,
    bench: BenchFile = None,
    json: Json = False,
) -> None:
    """Run a campaign: sample, convert, build, flash, measure, store, fit.

    What the store has is not measured again, so running the same command twice, or after it was
    killed, goes on where it was.
    """
    from harness.bench import load_bench
    from harness.campaign.outcome import write_outcome
    from harness.campaign.plan import plan
    from harness.firmware.toolchain import ensure_toolchain

    config = with_libraries(_read(campaign, station, samples, seed, models), library)
    if not dry_run:
        ensure_toolchain()
    if verify_arena is not None:
        measure = config.measure.model_copy(update={"verify_arena": verify_arena})
        config = config.model_copy(update={"measure": measure})
    where = load_bench(Path(bench) if bench else None)
    jobs = plan(config, where)
    from harness.results import open_store

    with open_store(db or DEFAULT_STORE) as store:
        if dry_run:
            _print_plan(jobs, store, json)
            return
        summary = _measure(jobs, store, config)
        wanted = {job.key for job in jobs}
        rows = [row for row in store.query(with_layers=False) if row.key in wanted]
        url = store.url
    folder = out or Path("results") / config.name
    predictor = config.fit.predictor if config.fit else None
    outcome = write_outcome(rows, folder, title=config.name, predictor=predictor)
    _print_summary(summary, outcome, url, json)
    if summary.bench_failure is not None:
        raise typer.Exit(EXIT_BENCH)
    if summary.statuses["invalid"]:
        raise typer.Exit(EXIT_FAILED)


def _read(
    path: Path,
    stations: list[str] | None,
    samples: int | None,
    seed: int | None,
    models: Path | None,
) -> CampaignConfig:
    from harness.campaign.config import read_campaign

    overrides: dict[str, Any] = {"seed": seed}
    if stations:
        overrides |= {"stations": stations, "boards": []}
    config = read_campaign(path, models=models, **overrides)
    if samples is not None:
        backbones = tuple(
            entry.model_copy(update={"samples": samples}) for entry in config.backbones
        )
        config = config.model_copy(update={"backbones": backbones})
    return config


def _measure(jobs: tuple[Job, ...], store: Store, config: CampaignConfig) -> Summary:
    from harness.campaign.runner import run as run_jobs
    from harness.cli.progress import ProgressListener

    with ProgressListener(f"campaign {config.name}") as listener:
        return run_jobs(jobs, store, campaign=config.name, listener=listener)


def _print_plan(jobs: tuple[Job, ...], store: Store, json: bool) -> None:
    known = store.keys() & {job.key for job in jobs}
    rows = [
        {
            "key": job.key[:12],
            "network": job.spec.name,
            "station": job.station.name,
            "source": job.station.source,
            "runtime": f"{job.runtime.runtime}/{job.runtime.kernels}",
            "flags": job.build.optimization,
            "done": job.key in known,
        }
        for job in jobs
    ]
    if json:
        print_json(rows)
        return
    columns = ("key", "network", "station", "source", "runtime", "flags", "done")
    print_table("Plan", columns, [tuple(row.values()) for row in rows])
    err().print(f"{len(jobs)} jobs, {len(known)} measured already; nothing was run")


def _print_summary(summary: Summary, outcome: Outcome, url: str, json: bool) -> None:
    from harness.report import comparison_table
    from harness.report.compare import has_several

    facts = {
        "planned": summary.planned,
        "measured_before": summary.skipped,
        "valid": summary.statuses["valid"],
        "degraded": summary.statuses["degraded"],
        "invalid": summary.statuses["invalid"],
        "not_run": summary.not_run,
        "seconds": round(summary.seconds, 1),
        "networks_per_hour": round(summary.per_hour),
        "store": url,
        **outcome.as_json(),
    }
    if json:
        print_json(facts)
        return
    if has_several(outcome.rows):
        print_ready_table(comparison_table(outcome.rows))
    else:
        print_measurements(outcome.rows)
    print_outcome(outcome)
    console = err()
    console.print(
        f"{summary.planned} jobs: {summary.skipped} measured before, "
        f"{facts['valid']} valid, {facts['degraded']} degraded, {facts['invalid']} invalid, "
        f"{summary.not_run} not run; {summary.seconds:.0f} s"
        + (f", {summary.per_hour:.0f} networks an hour" if summary.measured else ""),
        soft_wrap=True,
    )
    console.print(f"  rows: {url}", markup=False, soft_wrap=True)
