"""`harness runs`: what was run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Database, Json
from harness.cli.output import print_json, print_table
from harness.paths import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.results.record import Run

_COLUMNS = ("run", "campaign", "host", "outcome", "valid", "degraded", "invalid", "not run",
            "repeat", "baseline")  # fmt: skip


def runs(
    run: Annotated[str | None, typer.Argument(help="Show one: its id, or how that begins.")] = None,
    campaign: str | None = typer.Option(None, help="Only of this campaign."),
    limit: int = typer.Option(20, "--limit", "-n", min=1, help="Maximum number of runs."),
    db: Database = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """List the runs of campaigns, newest first, or show one with its stations."""
    from harness.results import open_store
    from harness.strict import to_json

    with open_store(db, create=False) as store:
        if run is None:
            listed = store.runs(campaign, limit=limit)
        else:
            chosen = store.run(run)
            health = store.health(chosen.id)
    if run is None:
        if json:
            print_json([to_json(one) for one in listed])
        else:
            print_table("Runs", _COLUMNS, [_line(one) for one in listed])
    elif json:
        print_json({**to_json(chosen), "health": [to_json(one) for one in health]})
    else:
        print_table(f"Run {chosen.id}", ("fact", "value"), _facts(chosen))
        told = chosen.stations
        found = {one.station: one for one in health}
        print_table(
            "Stations",
            ("station", "rows", "check", "what"),
            [
                (
                    name,
                    told.get(name, {}).get("rows", 0),
                    found[name].verdict if name in found else None,
                    told.get(name, {}).get("what") or (found[name].what if name in found else ""),
                )
                for name in sorted({*told, *found})
            ],
        )


def _line(run: Run) -> tuple[object, ...]:
    return (
        *(run.id, run.campaign, run.host, run.outcome or "not ended"),
        *(run.valid, run.degraded, run.invalid, run.not_run),
        run.repeat or "no",
        "accepted" if run.accepted_at else None,
    )


def _facts(run: Run) -> list[tuple[str, object]]:
    return [
        ("campaign", f"{run.campaign} ({run.campaign_sha256[:12]})"),
        ("started", f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("ended", f"{run.ended_at:%Y-%m-%d %H:%M:%S} UTC" if run.ended_at else None),
        ("outcome", run.outcome or "not ended"),
        ("host, user", f"{run.host}, {run.user}"),
        ("harness", f"{run.harness_version} {run.git_revision or ''}".strip()),
        ("measured again", run.repeat or "nothing"),
        ("planned", run.planned),
        ("measured before", run.skipped),
        ("valid / degraded / invalid", f"{run.valid} / {run.degraded} / {run.invalid}"),
        ("not run", run.not_run),
        *(("missing", one) for one in run.notes),
        *([("baseline", f"accepted by {run.accepted_by} {run.accepted_why or ''}".strip())]
          if run.accepted_at else []),
    ]  # fmt: skip
