"""`harness report`: write the site of a results store."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import typer

from harness.cli.options import Database, Json, PolicyFile
from harness.cli.output import note, on_interrupt, print_json
from harness.errors import ConfigError
from harness.paths import DEFAULT_STORE


def report(
    out: Path = typer.Option(Path("results/site"), "--out", "-o", help="Folder for the site."),
    searches: Path | None = typer.Option(
        None, metavar="DIR", help="Show the results of `harness search` in this folder, too."
    ),
    policy: PolicyFile = None,
    serve: bool = typer.Option(
        False, "--serve", help="Serve it to this machine, and reload pages when the store changes."
    ),
    port: int = typer.Option(8765, min=0, max=65535, help="Port to serve at; 0 takes a free one."),
    db: Database = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Write the site of the store: nights, stations, campaigns, networks, comparisons.

    Its pages need neither a server nor a network. Written again, it changes only the pages whose
    rows changed.
    """
    from harness.report.site import write_site
    from harness.results import open_store
    from harness.results.policy import read_policy

    if searches is not None and not searches.is_dir():
        raise ConfigError(
            f"there is no folder {searches}", expected="a folder with results of `harness search`"
        )
    limits = read_policy(policy) if policy is not None else None
    stop = on_interrupt() if serve else None
    start = time.monotonic()
    with open_store(db, create=False) as store:
        write = partial(write_site, store, out, policy=limits, searches=searches)
        built = write()
        seconds = time.monotonic() - start
        if json:
            print_json({**built.as_json(), "seconds": round(seconds, 3)})
        else:
            note(
                f"{built.index}: {len(built.written)} pages written, {built.kept} kept, "
                f"{len(built.removed)} removed; {seconds:.1f} s"
            )
        if stop is not None:
            from harness.report.site.serve import serve_site

            serve_site(store, out, port, write, stop=stop, say=note)
