"""`harness run`: a campaign from start to report."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import (
    BenchFile,
    Database,
    FarmAddress,
    Json,
    Libraries,
    ModelFolder,
    Samples,
    Tls,
    Wait,
)
from harness.cli.output import note, print_json, print_outcome, print_ready_table, print_rows
from harness.errors import EXIT_BENCH, EXIT_FAILED
from harness.paths import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.bench import Bench
    from harness.campaign.crew import Crew
    from harness.campaign.entry import CampaignResult
    from harness.campaign.plan import Job
    from harness.results.store import Store


def run(
    campaign: Annotated[Path, typer.Argument(help="Campaign file (TOML).")],
    station: list[str] | None = typer.Option(
        None,
        "--station",
        "-s",
        help="Measure here instead of where the file says; may be repeated.",
    ),
    tag: list[str] | None = typer.Option(
        None, "--tag", help="Only stations with this tag, instead of the file's; may be repeated."
    ),
    every_station: bool | None = typer.Option(
        None,
        "--every-station/--any-station",
        help="Every station measures everything, to compare specimens, or equal stations share the "
        "jobs (default: as the file says, else shared).",
    ),
    wait: Wait = 0.0,
    farm: FarmAddress = None,
    tls: Tls = None,
    samples: Samples = None,
    seed: int | None = typer.Option(None, min=0, help="Seed instead of the file's."),
    models: ModelFolder = None,
    library: Libraries = None,
    verify_arena: bool | None = typer.Option(
        None,
        "--verify-arena/--no-verify-arena",
        help="Search for the smallest arena that works (default: as the file says).",
    ),
    again: bool = typer.Option(
        False, "--again", help="Measure everything anew, whatever the store has."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print the plan and stop."),
    out: Path | None = typer.Option(
        None, help="Folder for table, plot and fits (default: results/<campaign name>)."
    ),
    db: Database = DEFAULT_STORE,
    bench: BenchFile = None,
    json: Json = False,
) -> None:
    """Run a campaign: sample, convert, build, flash, measure, store, fit.

    What the store has is not measured again, so running the same command twice, or after it was
    killed, goes on where it was.
    """
    from harness.campaign.config import read_campaign
    from harness.campaign.entry import plan_now, run_config
    from harness.campaign.plan import plan
    from harness.cli.progress import ProgressListener
    from harness.results import open_store

    config = read_campaign(
        campaign,
        stations=station or (),
        tags=tag or (),
        every_station=every_station,
        samples=samples,
        seed=seed,
        models=models,
        library=library,
        verify_arena=verify_arena,
    )
    with ExitStack() as stack:
        where, crew = stations_of(stack, bench, farm, tls)
        jobs = plan(config, where) if dry_run else plan_now(config, where)
        store = stack.enter_context(open_store(db))
        if dry_run:
            _print_plan(jobs, where, store, json)
            return
        with ProgressListener(f"campaign {config.name}") as listener:
            result = run_config(
                config,
                jobs,
                crew,
                store,
                out=out,
                listener=listener,
                wait_s=wait,
                again="all" if again else "",
            )
    summary = result.summary
    print_summary(result, json=json)
    if summary.bench_failure is not None and not summary.complete:
        raise typer.Exit(EXIT_BENCH)
    if summary.statuses["invalid"]:
        raise typer.Exit(EXIT_FAILED)


def stations_of(
    stack: ExitStack, bench: Path | None, farm: str | None, tls: Path | None
) -> tuple[Bench, Bench | Crew]:
    """Return the stations of a bench file or of a farm, and their crew."""
    from harness.bench import load_bench

    if farm is None:
        found = load_bench(bench)
        return found, found
    from harness.farm.client import Farm, FarmCrew

    connection = stack.enter_context(Farm(farm, tls))
    return connection.bench(), FarmCrew(connection)


def _print_plan(jobs: tuple[Job, ...], bench: Bench, store: Store, json: bool) -> None:
    known = store.done(job.key for job in jobs)
    pools = {needs: needs.find(bench) for needs in {job.needs for job in jobs}}
    names = {needs: ", ".join(one.name for one in found) for needs, found in pools.items()}
    rows = [
        (
            job.key[:12],
            job.spec.name,
            job.board.id,
            names[job.needs],
            job.needs.source,
            f"{job.runtime.runtime}/{job.runtime.kernels}",
            job.build.optimization,
            job.key in known,
        )
        for job in jobs
    ]
    columns = ("key", "network", "board", "stations", "source", "runtime", "flags", "done")
    print_rows("Plan", columns, rows, json=json)
    note(f"{len(jobs)} jobs, {len(known)} measured already; nothing was run")


def print_summary(result: CampaignResult, *, json: bool) -> None:
    """Print tables and counts of a run."""
    from harness.report.compare import comparison_table, has_several
    from harness.report.tables import measurement_table

    summary, outcome = result.summary, result.outcome
    facts = {
        "run": result.run.id,
        "planned": summary.planned,
        "measured_before": summary.skipped,
        **{status: summary.statuses[status] for status in ("valid", "degraded", "invalid")},
        "not_run": summary.not_run,
        "measured_elsewhere": summary.elsewhere,
        "stations": dict(sorted(summary.stations.items())),
        "seconds": round(summary.seconds, 1),
        "networks_per_hour": round(summary.per_hour),
        "store": result.store,
        **outcome.as_json(),
    }
    if json:
        print_json(facts)
        return
    # Smallest network first.
    rows = sorted(outcome.rows, key=lambda row: (row.backbone or "", row.ops or 0))
    several = has_several(outcome.rows)
    print_ready_table(comparison_table(outcome.rows) if several else measurement_table(rows))
    print_outcome(outcome)
    note(
        f"{summary.planned} jobs: {summary.skipped} measured before, "
        f"{facts['valid']} valid, {facts['degraded']} degraded, {facts['invalid']} invalid, "
        f"{summary.not_run} not run; {summary.seconds:.0f} s"
        + (f", {summary.per_hour:.0f} networks an hour" if summary.measured else "")
    )
    if len(summary.stations) > 1:
        shares = (f"{name} {count}" for name, count in sorted(summary.stations.items()))
        note(f"  by station: {', '.join(shares)}")
    if summary.elsewhere:
        note(
            f"  {summary.elsewhere} more were measured elsewhere meanwhile, by another process on "
            "this store: processes share work by a farm (`harness run --farm`)"
        )
    note(f"  rows: {result.store}, run {result.run.id}")
