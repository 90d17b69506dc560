"""`harness farm`: many hosts and their boards as one bench."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import BenchFile, Json, Tls
from harness.cli.output import note, print_json, print_rows

commands = typer.Typer(
    help="Run campaigns on the boards of many hosts. Needs the extra `farm`.",
    no_args_is_help=True,
)

Address = Annotated[str, typer.Argument(help="The scheduler's address, such as tls://lab:8786.")]


@commands.command()
def scheduler(
    host: str = typer.Option("127.0.0.1", help="Address to listen on; beyond loopback with --tls."),
    port: int = typer.Option(8786, min=0, max=65535, help="Port; 0 takes a free one."),
    tls: Tls = None,
    json: Json = False,
) -> None:
    """Run the scheduler that workers and campaigns meet at, until it is stopped."""
    import asyncio

    from harness.farm.scheduler import serve

    def ready(address: str, dashboard: str | None) -> None:
        if json:
            print_json({"address": address, "dashboard": dashboard})
            return
        note(f"scheduler at {address}; stop it with Ctrl-C")
        note(f"on each bench host: harness farm worker {address}{' --tls FOLDER' if tls else ''}")
        note(f"dashboard: {dashboard or 'none; pip install bokeh for one'}")

    asyncio.run(serve(host, port, tls, ready))


@commands.command()
def worker(
    address: Address,
    station: list[str] | None = typer.Option(
        None, "--station", "-s", help="Stations to bring in (default: all of the bench)."
    ),
    name: str = typer.Option(
        socket.gethostname(), help="The host's name on the farm; stations are NAME.STATION."
    ),
    builders: int = typer.Option(
        os.cpu_count() or 1, min=0, help="Builds at a time; 0 on a host without a compiler."
    ),
    bench: BenchFile = None,
    tls: Tls = None,
    json: Json = False,
) -> None:
    """Bring the stations of this host into a farm, until it is stopped.

    SIGTERM and Ctrl-C let the jobs in hand finish. A scheduler that is not there yet, or was
    started again, is waited for.
    """
    import asyncio

    from harness.bench import load_bench
    from harness.farm.security import check_address
    from harness.farm.worker import Host, serve

    there = check_address(address, tls)
    listed = load_bench(bench)
    stations = [listed.station(one) for one in station or ()] or list(listed.stations)

    def ready() -> None:
        names = [f"{name}.{one.name}" for one in stations]
        if json:
            print_json({"scheduler": there, "stations": names, "builders": builders})
        else:
            note(f"on the farm at {there}: {', '.join(names)}; builders: {builders}")

    asyncio.run(serve(Host(name, stations, builders), there, tls, ready))


@commands.command()
def status(address: Address, tls: Tls = None, json: Json = False) -> None:
    """List the stations and builders of a farm, and what they do now."""
    from harness.farm.client import Farm

    with Farm(address, tls) as farm:
        rows = farm.status()
    columns = ("worker", "board", "source", "tags", "address", "busy", "seen s ago")
    print_rows("Farm", columns, rows, json=json)


@commands.command()
def certificates(
    folder: Annotated[Path, typer.Argument(help="Where they go; its ca-key.pem stays there.")],
    host: Annotated[list[str], typer.Argument(help="Names or addresses of the farm's hosts.")],
) -> None:
    """Make a certificate for each host, and the authority that signs them.

    Copy FOLDER/HOST to that host, and name it there with --tls.
    """
    from harness.farm.security import make_certificates

    for place in make_certificates(folder, host):
        note(f"{place}: ca.pem, cert.pem, key.pem")
