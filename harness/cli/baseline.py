"""`harness baseline`: what runs are compared with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from harness.cli.options import Database, Json
from harness.cli.output import note, print_rows
from harness.paths import DEFAULT_STORE

commands = typer.Typer(help="The run that others are compared with.", no_args_is_help=True)


@commands.command()
def accept(
    run: Annotated[str, typer.Argument(help="Run, or how its id begins.")],
    why: str | None = typer.Option(None, help="Why; shown beside the baseline."),
    db: Database = DEFAULT_STORE,
) -> None:
    """Take a run for the baseline of its campaign, in place of an earlier one."""
    import getpass

    from harness.results import open_store

    with open_store(db, create=False) as store:
        chosen = store.run(run)
        store.note_run(
            replace(
                chosen,
                accepted_at=datetime.now(UTC),
                accepted_by=getpass.getuser(),
                accepted_why=why,
            )
        )
    note(f"run {chosen.id} is the baseline of '{chosen.campaign}' for the runs after it")


@commands.command("list")
def list_baselines(db: Database = DEFAULT_STORE, json: Json = False) -> None:
    """List the accepted runs, newest first."""
    from harness.results import open_store

    with open_store(db, create=False) as store:
        found = [one for one in store.runs() if one.accepted_at is not None]
    print_rows(
        "Baselines",
        ("run", "campaign", "accepted", "by", "why"),
        [
            (one.id, one.campaign, f"{one.accepted_at:%Y-%m-%d %H:%M}", one.accepted_by,
             one.accepted_why)
            for one in found
        ],
        json=json,
    )  # fmt: skip
