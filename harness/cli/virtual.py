"""`harness virtual`: emulated boards for other programs."""

from __future__ import annotations

import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json
from harness.cli.output import note, print_json, print_rows

commands = typer.Typer(help="Virtual boards: list them, serve one.", no_args_is_help=True)


@commands.command("list")
def list_boards(json: Json = False) -> None:
    """List the boards that can be emulated."""
    from harness.bench import virtual_bench

    rows = [(item.board, item.name, item.probe, item.serial) for item in virtual_bench().stations]
    print_rows("Virtual boards", ("board", "station", "probe", "serial"), rows, json=json)


@commands.command()
def serve(
    board: Annotated[str, typer.Argument(help="Board to emulate.")] = "nucleo_f746zg",
    port: int = typer.Option(
        5555, min=0, max=65535, help="TCP port of the probe (0: any free one)."
    ),
    flash: Path | None = typer.Option(
        None, help="File that keeps the flash (default: in the cache)."
    ),
    baud: int | None = typer.Option(None, min=1200, help="Console speed (default: the board's)."),
    json: Json = False,
) -> None:
    """Serve a virtual board: a pty for its console, pyOCD's remote probe server for its debug port.

    Both are reachable from this machine only. Ends with Ctrl-C or SIGTERM; the flash is kept.
    """
    from harness.boards import load_board
    from harness.virtual.ports.serve import Served
    from harness.virtual.ports.serve import serve as serve_board

    def ready(served: Served) -> None:
        if json:
            print_json(asdict(served))
            sys.stdout.flush()
            return
        for line in (
            f"virtual {served.board}, flash in {served.flash_file}",
            f"  console:  {served.console}  (any terminal, such as `pyserial-miniterm "
            f"{served.console}`)",
            f"  probe:    pyocd flash -u {served.probe} -t {served.target} firmware.elf",
            "Ctrl-C ends it",
        ):
            note(line)

    stop = threading.Event()
    # A program that a shell starts in the background ignores Ctrl-C unless it sets a handler.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    serve_board(
        load_board(board), flash_file=flash, tcp_port=port, baud=baud, on_ready=ready, stop=stop
    )
