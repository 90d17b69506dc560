"""`harness flash`: an ELF onto a station."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.output import BenchFile, Json, StationName, print_json, print_table


def register(app: typer.Typer, name: str) -> None:
    """Add the command to `app`."""
    app.command(name)(flash)


def flash(
    elf: Annotated[Path, typer.Argument(help="Firmware image (ELF).")],
    board: Annotated[
        str, typer.Option("--board", "-b", help="Board, where no station is named.")
    ] = "nucleo_f746zg",
    station: StationName = None,
    bench: BenchFile = None,
    json: Json = False,
) -> None:
    """Program an ELF, verify it and reset the board."""
    from harness.bench import load_bench, station_lock
    from harness.boards import load_board
    from harness.campaign.plan import choose_station
    from harness.cli.progress import spinner
    from harness.flash import flash as program

    chosen = choose_station(load_bench(Path(bench) if bench else None), station, board)
    target = load_board(chosen.board)
    with station_lock(chosen), spinner(f"flashing {chosen.name}"):
        report = program(elf, chosen, target)
    facts = {
        "station": chosen.name,
        "probe": report.probe_id,
        "bytes programmed": report.bytes_programmed,
        "sectors erased": report.sectors_erased,
        "verified": report.verified,
        "seconds": round(report.seconds, 2),
    }
    if json:
        print_json({key.replace(" ", "_"): value for key, value in facts.items()})
        return
    print_table(str(elf), ("fact", "value"), list(facts.items()))
