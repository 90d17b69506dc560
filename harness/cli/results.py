"""`harness results`: query the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, RowOptions, Status
from harness.cli.output import note, print_json, print_ready_table
from harness.errors import ConfigError, ResultsError

if TYPE_CHECKING:
    from harness.results.record import Measurement


def results(
    options: RowOptions,
    key: Annotated[
        str | None, typer.Argument(help="Show one row in full: its key or the start of it.")
    ] = None,
    status: Status = None,
    limit: int = typer.Option(50, "--limit", "-n", min=1, help="Maximum number of rows."),
    log: bool = typer.Option(False, "--log", help="With a key: the raw UART log."),
    compare: bool = typer.Option(
        False, "--compare", help="Group by model: one line per configuration, side by side."
    ),
    arena: bool = typer.Option(
        False, "--arena", help="Group by model: arena as reported, as verified, the host's."
    ),
    model: str | None = typer.Option(None, help="Only this model."),
    plot: Path | None = typer.Option(
        None, help="Draw where SRAM and flash go: .png, .svg or .pdf."
    ),
    json: Json = False,
) -> None:
    """List measurements, newest first, or show one."""
    from harness.cli.row import as_json, print_row
    from harness.results import open_store
    from harness.results.missing import nothing_matches

    with open_store(options.db, create=False) as store:
        if key is not None:
            row = store.get(_full_key(store.keys_from(key), key))
            if row is None:
                raise ResultsError(f"no row with key {key}", where=store.url)
            if log:
                typer.echo(row.raw_log or "")
            elif json:
                print_json(as_json(row))
            else:
                print_row(row)
            if plot is not None:
                _plot([row], plot)
            return
        where = replace(options.where(), status=status, model_name=model)
        # What is listed says its expected error, which depends on the layers.
        rows = store.query(
            where, limit=limit, newest_first=True, with_layers=not (compare or arena)
        )
        total = store.count(where)
        if not total:
            note(str(nothing_matches(store, where)))
    if plot is not None:
        _plot([row for row in rows if row.usable], plot)
    if json:
        print_json([as_json(row, layers=False) for row in rows])
        return
    from harness.report.tables import listing_table

    if compare or arena:
        from harness.report.compare import arena_table, comparison_table

        for wanted, table in ((compare, comparison_table), (arena, arena_table)):
            if wanted:
                print_ready_table(table(rows))
        return
    print_ready_table(listing_table(rows, title=f"{len(rows)} of {total} measurements"))


def _plot(rows: Sequence[Measurement], path: Path) -> None:
    from harness.report.compare import by_model, fastest
    from harness.report.memory_plot import MOST_ROWS, plot_memory

    drawn = by_model(rows)
    choose = "choose with --model, --board, --campaign or --limit"
    if len(drawn) > MOST_ROWS:
        drawn = fastest(drawn)
        note(f"of {len(rows)} rows, each model's fastest on its board is drawn; {choose}")
    if len(drawn) > MOST_ROWS:
        note(f"{MOST_ROWS} of {len(drawn)} models fit the plot, the smallest first; {choose}")
    note(f"plot: {plot_memory(drawn[:MOST_ROWS], path)}")


def _full_key(found: Sequence[str], start: str) -> str:
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(
            f"no row's key starts with '{start}'", fix="`harness results` lists the keys"
        )
    raise ConfigError(
        f"{len(found)} keys start with '{start}'",
        expected=f"one of {', '.join(key[:16] for key in found[:5])}",
        fix="give more digits",
    )
