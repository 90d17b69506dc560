"""`harness gate`: did a run make something worse?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.options import Database, PolicyFile
from harness.cli.output import note, print_ready_table
from harness.errors import EXIT_FAILED, ConfigError, ResultsError
from harness.paths import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.results.gate import Judgement
    from harness.results.policy import Policy
    from harness.results.store import Store


def gate(
    run: Annotated[
        str | None, typer.Argument(help="Run, or how its id begins (default: the newest).")
    ] = None,
    campaign: str | None = typer.Option(None, help="Without RUN: the newest of this campaign."),
    policy: PolicyFile = None,
    format: Literal["table", "junit", "sarif", "github", "json"] = typer.Option(
        "table", "--format", "-f", help="What to write."
    ),
    out: Path | None = typer.Option(None, "--out", "-o", help="File (default: standard output)."),
    db: Database = DEFAULT_STORE,
) -> None:
    """Judge a run against the accepted baseline and the nights before; exit 1 if it fails."""
    from harness.report.gate import FORMATS, headline
    from harness.results import open_store
    from harness.results.gate import judge

    if "://" not in db and not Path(db).is_file():
        # Not as where something became worse, which exits 1.
        raise ConfigError(f"there is no results store {db}", fix="name it with --db")
    with open_store(db, create=False) as store:
        judged = judge(store, run or newest(store, campaign), read(policy))
    if format == "table":
        show(judged)
    elif out is None:
        sys.stdout.write(FORMATS[format](judged))
    else:
        from harness.files import draft_of

        with draft_of(out, what="judgement", error=ResultsError) as draft:
            draft.write_text(FORMATS[format](judged), encoding="utf-8")
        note(f"{out}: {headline(judged)}")
    if judged.regressed:
        raise typer.Exit(EXIT_FAILED)


def newest(store: Store, campaign: str | None) -> str:
    """Return the id of the newest run; raise `ConfigError` if there is none."""
    runs = store.runs(campaign, limit=1)
    if not runs:
        raise ConfigError(
            "the store has no run" + (f" of campaign '{campaign}'" if campaign else ""),
            where=store.url,
            fix="`harness nightly` or `harness run` makes one; `harness runs` lists them",
        )
    return runs[0].id


def read(policy: Path | None) -> Policy:
    """Read a policy file, if one is named."""
    from harness.results.policy import Policy, read_policy

    return Policy() if policy is None else read_policy(policy)


def show(judged: Judgement) -> None:
    """Print what changed, and the verdict."""
    from harness.report.gate import gate_table, headline

    table = gate_table(judged)
    if table.rows:
        print_ready_table(table)
    note(headline(judged))
