"""`harness virtual`: emulated boards for other programs."""

from __future__ import annotations

import typer

from harness.cli.output import Json, print_json, print_table

commands = typer.Typer(help="Virtual boards: list them, serve one.", no_args_is_help=True)


def register(app: typer.Typer, name: str) -> None:
    """Add the commands to `app`."""
    app.add_typer(commands, name=name)


@commands.command("list")
def list_boards(json: Json = False) -> None:
    """List the boards that can be emulated."""
    from harness.bench import virtual_bench

    rows = [(item.board, item.name, item.probe, item.serial) for item in virtual_bench().stations]
    columns = ("board", "station", "probe", "serial")
    if json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table("Virtual boards", columns, rows)
