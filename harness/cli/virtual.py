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
from harness.virtual.time import Timing

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
    baud: int | None = typer.Option(
        None, min=1200, help="Rate that the console is set to (default: the board's)."
    ),
    timing: Timing | None = typer.Option(
        None, help="Timing model: `issue` runs faster, `pipeline` also counts caches (default)."
    ),
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
            f"virtual {served.board}, {served.timing}, flash in {served.flash_file}",
            f"  console:  {served.console}  (any terminal at the firmware's rate, such as "
            f"`pyserial-miniterm {served.console} {served.baud}`)",
            f"  probe:    pyocd flash -u {served.probe} -t {served.target} firmware.elf",
            "Ctrl-C ends it",
        ):
            note(line)

    stop = threading.Event()
    # A program that a shell starts in the background ignores Ctrl-C unless it sets a handler.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    serve_board(
        load_board(board),
        flash_file=flash,
        tcp_port=port,
        baud=baud,
        timing=timing,
        on_ready=ready,
        on_note=note,
        stop=stop,
    )


@commands.command(context_settings={"allow_interspersed_args": False})
def attach(
    console: Annotated[str, typer.Argument(help="Console that `serve` shows.")],
    script: Annotated[str, typer.Argument(help="Python script to run.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="Its arguments.")] = None,
) -> None:
    """Run a program that looks for boards on USB, such as MLPerf Tiny's runner, on a served board.

    The program finds one serial port: the console, as the ST-LINK of a Nucleo board.
    """
    from harness.virtual.ports.attach import run_attached

    run_attached(console, script, arguments or [])
