"""`harness flash`: an ELF onto a station."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import BenchFile, BoardId, Json, StationName
from harness.cli.output import facts_json, print_json, print_table
from harness.paths import DEFAULT_BOARD


def flash(
    elf: Annotated[Path, typer.Argument(help="Firmware image (ELF).")],
    board: BoardId = DEFAULT_BOARD,
    station: StationName = None,
    bench: BenchFile = None,
    json: Json = False,
) -> None:
    """Program an ELF, verify it and reset the board."""
    from harness.bench import load_bench, station_lock
    from harness.boards import load_board
    from harness.cli.progress import spinner
    from harness.flash import flash as program

    chosen = load_bench(bench).choose(station, board)
    target = load_board(chosen.board)
    with station_lock(chosen), spinner(f"flashing {chosen.name}"):
        report = program(elf, chosen, target)
    facts = [
        ("station", chosen.name),
        ("probe", report.probe_id),
        ("bytes programmed", report.bytes_programmed),
        ("sectors erased", report.sectors_erased),
        ("verified", True),
        ("seconds", round(report.seconds, 2)),
    ]
    if json:
        print_json(facts_json(facts))
    else:
        print_table(str(elf), ("fact", "value"), facts)
