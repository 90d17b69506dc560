"""`harness cache`: what the cache holds, and how to clear it."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import Json
from harness.cli.output import note, print_json, print_rows
from harness.errors import ConfigError

commands = typer.Typer(help="Cached builds and models: show, prune.")


@commands.callback(invoke_without_command=True)
def show(context: typer.Context, json: Json = False) -> None:
    """Show what the cache holds, by kind, and its bound (HARNESS_CACHE_GB)."""
    if context.invoked_subcommand is not None:
        return
    from harness.cache import GB, bound_bytes, sizes
    from harness.paths import cache_dir

    found = sizes()
    rows = [(kind, size.entries, round(size.bytes / 1e6, 1)) for kind, size in found.items()]
    print_rows(str(cache_dir()), ("kind", "entries", "MB"), rows, json=json)
    held = sum(size.bytes for size in found.values())
    note(f"{held / GB:.2f} of {bound_bytes() / GB:.2f} GB")


@commands.command()
def prune(
    max_gb: Annotated[
        float | None,
        typer.Option(min=0, help="Size to prune to (default: HARNESS_CACHE_GB, or 5)."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all that is unused.")] = False,
    json: Json = False,
) -> None:
    """Remove what was used longest ago, down to the bound; what a running build needs stays."""
    from harness.cache import GB, bound_bytes
    from harness.cache import prune as prune_to

    if everything and max_gb is not None:
        raise ConfigError("--all and --max-gb cannot be combined", fix="give one of them")
    bound = 0 if everything else bound_bytes() if max_gb is None else int(max_gb * GB)
    removed, in_use = prune_to(bound)
    if json:
        print_json({"removed": removed._asdict(), "in_use": in_use._asdict()})
    kept = f"; {in_use.entries} stay, as another process uses the cache" if in_use.entries else ""
    note(f"removed {removed.entries} entries, {removed.bytes / 1e6:,.1f} MB{kept}")
