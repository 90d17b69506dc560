"""`harness virtual`: emulated boards for other programs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.options import BenchFile, Json
from harness.cli.output import note, on_interrupt, print_json, print_rows
from harness.errors import ConfigError
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
    console_port: int | None = typer.Option(
        None, min=0, max=65535, help="TCP port of the console (default: the next one)."
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
    """Serve a virtual board: its debug port by pyOCD's remote probe server, its console as a
    pseudo-terminal and by RFC 2217.

    All are reachable from this machine only. Ends with Ctrl-C or SIGTERM; the flash is kept.
    """
    from harness.bench.serve import LOOPBACK, serve_console, serve_probe
    from harness.boards import load_board
    from harness.virtual.ports.probe import VirtualProbe
    from harness.virtual.ports.serve import flash_path, on_terminal

    stop = on_interrupt()
    chosen = load_board(board)
    file = flash_path(chosen) if flash is None else flash
    beside = (port + 1 if port else 0) if console_port is None else console_port
    with ExitStack() as stack:
        terminal = stack.enter_context(
            on_terminal(chosen, flash_file=file, baud=baud, timing=timing, on_note=note)
        )
        model = terminal.machine.model
        greeting = f"virtual {chosen.name}: emulated, timing model {model.identity}"
        tcp = stack.enter_context(serve_console(terminal.lend, LOOPBACK, beside, greeting=greeting))
        about = {
            "name": f"served-{chosen.id}",
            "board": chosen.id,
            "console_port": tcp,
            "emulated": model.kind,
        }
        found = stack.enter_context(
            serve_probe(VirtualProbe(chosen), LOOPBACK, port, about=[about])
        )
        about["probe_port"] = found
        target, probe = chosen.facts.pyocd_target, f"remote:{LOOPBACK}:{found}"
        url = f"rfc2217://{LOOPBACK}:{tcp}"
        if json:
            print_json(
                {
                    "board": chosen.id,
                    "console": terminal.name,
                    "console_url": url,
                    "probe": probe,
                    "target": target,
                    "tcp_port": found,
                    "flash_file": str(file),
                    "baud": terminal.baud,
                    "timing": model.identity,
                }
            )
        else:
            for line in (
                f"virtual {chosen.id}, {model.identity}, flash in {file}",
                f"  console:  {terminal.name}  (any terminal at the firmware's rate, such as "
                f"`pyserial-miniterm {terminal.name} {terminal.baud}`), or {url}",
                f"  probe:    pyocd flash -u {probe} -t {target} firmware.elf",
                f"  station:  harness bench discover --remote {LOOPBACK}:{found}",
                "Ctrl-C ends it",
            ):
                note(line)
        stop.wait()


@commands.command()
def power(
    station: Annotated[str, typer.Argument(help="Virtual station.")],
    action: Annotated[Literal["off", "on"], typer.Argument(help="What to do.")],
    bench: BenchFile = None,
) -> None:
    """Switch the supply of a virtual board: the `power` command of its station, for rehearsals.

    A board without power, or with the fault `latchup`, is seen to be dead by stations that have
    faults; one that was off and is on again works.
    """
    from harness.bench import load_bench
    from harness.boards import load_board
    from harness.virtual.faults.supply import Supply

    chosen = load_bench(bench).station(station)
    if not chosen.virtual:
        raise ConfigError(
            f"station '{station}' is not a virtual one",
            where=f"probe {chosen.probe}",
            fix="switch a real board with its own switch: 'power' in docs/bench.md",
        )
    Supply(load_board(chosen.board).id, chosen.number or 1).switch(on=action == "on")


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
