"""`harness nightly`: check the stations, measure, judge, report."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.gate import read
from harness.cli.options import (
    BenchFile,
    Database,
    FarmAddress,
    Json,
    Libraries,
    ModelFolder,
    PolicyFile,
    Samples,
    Tls,
    Wait,
)
from harness.cli.output import note, print_json, print_ready_table, print_table
from harness.errors import HarnessError
from harness.paths import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.campaign.nightly import Night

_DRIFT = 0.005  # change of a fit's throughput that is worth a line


def nightly(
    campaign: Annotated[Path, typer.Argument(help="Campaign file (TOML).")] = Path(
        "campaigns/nightly.toml"
    ),
    policy: PolicyFile = None,
    site: Path | None = typer.Option(
        None, file_okay=False, help="Folder of the morning page (default: none is written)."
    ),
    webhook: str | None = typer.Option(
        None, envvar="HARNESS_WEBHOOK", help="URL that gets the night as a JSON POST."
    ),
    samples: Samples = None,
    models: ModelFolder = None,
    library: Libraries = None,
    wait: Wait = 0.0,
    farm: FarmAddress = None,
    tls: Tls = None,
    out: Path | None = typer.Option(
        None, help="Folder for table, plot and fits (default: results/<campaign name>)."
    ),
    db: Database = DEFAULT_STORE,
    bench: BenchFile = None,
    json: Json = False,
) -> None:
    """Check each station, run a campaign by its schedule, and judge the run.

    A board or station that is missing or sick is reported, and stops no other. Exit 0: fine;
    1: something is worse or failed; 3: only the bench is to blame.
    """
    from harness.campaign.config import read_campaign
    from harness.campaign.entry import plan_now
    from harness.campaign.nightly import check_webhook, notify, run_night
    from harness.cli.progress import ProgressListener
    from harness.cli.run import stations_of
    from harness.results import open_store

    config = read_campaign(campaign, samples=samples, models=models, library=library)
    limits = read(policy)
    if webhook is not None:
        check_webhook(webhook)
    missing: list[str] = []
    with ExitStack() as stack:
        where, crew = stations_of(stack, bench, farm, tls)
        jobs = plan_now(config, where, missing=missing)
        store = stack.enter_context(open_store(db))
        if site is not None:
            from harness.report.site import write_site

            write_site(store, site, policy=limits)  # what it lacks shows now, not in the morning
        listener = stack.enter_context(ProgressListener(f"campaign {config.name}"))
        night = run_night(
            config,
            jobs,
            crew,
            store,
            policy=limits,
            out=out,
            listener=listener,
            missing=missing,
            wait_s=wait,
        )
        if site is not None:
            note(f"morning page: {write_site(store, site, policy=limits).index}")
    if webhook is not None:
        try:
            notify(webhook, night)
        except HarnessError as failure:
            note(f"warning: {failure.what}")
    if json:
        print_json(night.as_json())
    else:
        _show(night)
    if night.exit_code:
        raise typer.Exit(night.exit_code)


def _show(night: Night) -> None:
    from harness.report.gate import gate_table, headline

    result = night.result
    print_table(
        "Stations",
        ("station", "check", "what"),
        [(one.station, one.verdict, one.what) for one in night.health],
    )
    table = gate_table(night.judgement)
    if table.rows:
        print_ready_table(table)
    for one in night.drift:
        if abs(one.change) >= _DRIFT:
            note(f"{one.file}: throughput {one.change:+.2%} against the night before")
    summary = result.summary
    for name, (failure, left) in summary.failed.items():
        note(f"{name} was given up: {failure.what}; {left} jobs were not run for it")
    for text in result.run.notes:
        note(f"missing: {text}")
    counts = ", ".join(f"{summary.statuses[one]} {one}" for one in ("valid", "degraded", "invalid"))
    note(
        f"{summary.planned} jobs: {summary.skipped} measured before, {counts}, "
        f"{summary.not_run} not run; {summary.seconds:.0f} s"
    )
    note(headline(night.judgement))
