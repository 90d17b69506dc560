"""`harness bench`: what is plugged in, whether it is ready, and what it is worth."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import BenchFile, Database, Json, store_if_any
from harness.cli.output import (
    note,
    on_interrupt,
    print_json,
    print_ready_table,
    print_rows,
    print_table,
)
from harness.errors import EXIT_BENCH, ConfigError

if TYPE_CHECKING:
    from harness.bench import Bench
    from harness.report.table import Table
from harness.paths import DEFAULT_STORE

_FILE = Path("bench.toml")
commands = typer.Typer(help="Stations: list, discover, check, prove.", no_args_is_help=True)

imports = typer.Typer(help="Write the bench file from another program's.", no_args_is_help=True)
commands.add_typer(imports, name="import")
Out = Annotated[Path, typer.Option("--out", "-o", help="File to write.")]
Overwrite = Annotated[bool, typer.Option(help="Replace the file if it exists.")]
Boards = Annotated[
    list[str] | None,
    typer.Option(
        "--board", "-b", help="NAME=BOARD for what is called otherwise there; may be repeated."
    ),
]


@commands.command("list")
def list_stations(
    bench: BenchFile = None, db: Database = DEFAULT_STORE, json: Json = False
) -> None:
    """List the stations of the bench; a store tells which of them other hosts have disabled."""
    from harness.bench import load_bench
    from harness.campaign.health import agree

    found = load_bench(bench)
    with store_if_any(db) as store:
        notes = agree(found.stations, store)
    health = {name: note.text for name, note in notes.items()}
    if json:
        print_json(
            [
                {**item.model_dump(mode="json"), "health": health.get(item.name)}
                for item in found.stations
            ]
        )
        return
    print_ready_table(_stations(found, health))


def _stations(bench: Bench, health: Mapping[str, str]) -> Table:
    from harness.bench import Station
    from harness.report import text
    from harness.report.table import Column, table_of

    columns: list[Column[Station]] = [
        Column("station", lambda item: item.name),
        Column("board", lambda item: item.board),
        Column("probe", lambda item: item.probe, 2),
        Column("serial", lambda item: item.serial, 3),
    ]
    if health:
        columns.insert(2, Column("health", lambda item: text.name(health.get(item.name), 400)))
    where: list[Column[Station]] = [
        Column("source", lambda item: item.source),
        Column("tags", lambda item: text.name(" ".join(item.tags)), 1),
    ]
    title = f"Stations of {bench.path or 'the virtual bench'}"
    return table_of(title, bench.stations, columns, where, lead=2)


@commands.command()
def discover(
    out: Path = typer.Option(_FILE, "--out", "-o", help="File to write."),
    overwrite: bool = typer.Option(False, help="Replace the file if it exists."),
    remote: Annotated[
        list[str] | None,
        typer.Option(
            help="HOST:PORT of a probe that another host serves; repeat it for several hosts.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Pair debug probes with their serial ports and write the bench file.

    With --remote, the stations that other hosts serve; otherwise those of this one.
    """
    from harness.bench import Bench, write_bench
    from harness.bench import discover as look
    from harness.bench.check import boards_by_chip

    if remote:
        from harness.bench.remote import discover_remote

        benches = [discover_remote(place) for place in remote]
        found = Bench(
            stations=tuple(station for bench in benches for station in bench.stations),
            notes=tuple(text for bench in benches for text in bench.notes),
        )
    else:
        found = look(by_chip=boards_by_chip)
    for text in found.notes:
        note(text)
    if found.stations:
        write_bench(found, out, overwrite=overwrite)
        note(f"{out}: {', '.join(station.name for station in found.stations)}")
    if json:
        print_json([station.model_dump(mode="json") for station in found.stations])
    if not found.stations:
        if not remote:
            note(
                "no real board found; the virtual boards need no bench file. "
                "Plug one in, or see docs/bench.md for permissions"
            )
        raise typer.Exit(EXIT_BENCH)


@imports.command()
def labgrid(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Exporter's or environment file (default: the places of LG_COORDINATOR)."
        ),
    ] = None,
    board: Boards = None,
    out: Out = _FILE,
    overwrite: Overwrite = False,
) -> None:
    """Import places or resources of labgrid; a place is acquired while its station is used."""
    from harness.bench.imports import import_labgrid

    _write_imported(import_labgrid(file, _pairs(board)), out, overwrite=overwrite)


@imports.command()
def twister(
    file: Annotated[Path, typer.Argument(help="Hardware map of Zephyr's Twister.")],
    board: Boards = None,
    out: Out = _FILE,
    overwrite: Overwrite = False,
) -> None:
    """Import the connected boards of a hardware map of Zephyr's Twister."""
    from harness.bench.imports import import_twister

    _write_imported(import_twister(file, _pairs(board)), out, overwrite=overwrite)


def _pairs(texts: list[str] | None) -> dict[str, str]:
    pairs = [text.rpartition("=") for text in texts or ()]
    if not all(name and board for name, _, board in pairs):
        raise typer.BadParameter("expected NAME=BOARD", param_hint="--board")
    return {name: board for name, _, board in pairs}


def _write_imported(found: Bench, out: Path, *, overwrite: bool) -> None:
    from harness.bench import write_bench

    for text in found.notes:
        note(text)
    if not found.stations:
        note("no station found")
        raise typer.Exit(EXIT_BENCH)
    write_bench(found, out, overwrite=overwrite)
    note(f"{out}: {', '.join(station.name for station in found.stations)}")


@commands.command()
def check(
    station: Annotated[
        list[str] | None, typer.Argument(help="Stations (default: all of the bench).")
    ] = None,
    bench: BenchFile = None,
    db: Database = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Open probe and port of each station, compare its chip with its board; exit 3 on an error.

    On a station that a campaign has disabled, a network is measured as well. If all is well the
    station is re-enabled, for all hosts that share the store.
    """
    from harness.bench import check as look
    from harness.bench import load_bench
    from harness.bench.check import Finding
    from harness.bench.disabled import enable, why_disabled
    from harness.boards import load_board
    from harness.campaign.checkup import try_again
    from harness.campaign.health import agree
    from harness.cli.progress import spinner

    found = load_bench(bench)
    chosen = [found.station(name) for name in station] if station else found.stations
    with store_if_any(db) as store:
        agree(chosen, store)
    rows: list[tuple[str, str, str, str | None]] = []
    for item in chosen:
        findings = look(item, load_board(item.board))
        disabled = why_disabled(item)
        # A dead board may live again once its power was switched, which measuring does.
        if disabled is not None and (item.power or all(f.level == "ok" for f in findings)):
            with spinner(f"measuring on {item.name}, which is {disabled.text}"):
                wrong = try_again(item)
            if wrong is None and any(finding.level == "error" for finding in findings):
                findings = look(item, load_board(item.board))
            findings.append(
                Finding("ok", "measures a network, bit-exact")
                if wrong is None
                else Finding("error", f"error[{wrong.code}]: {wrong.what}", wrong.fix)
            )
        rows += [(item.name, finding.level, finding.what, finding.fix) for finding in findings]
        failed = any(finding.level == "error" for finding in findings)
        if not failed:
            enable(item)
        if disabled is not None and failed:
            rows.append((item.name, "error", f"stays {disabled.text}", "fix the errors above"))
        elif disabled is not None:
            rows.append((item.name, "ok", f"re-enabled; it was {disabled.text}", None))
    with store_if_any(db) as store:
        agree(chosen, store)
    print_rows("Bench", ("station", "level", "what", "to do"), rows, json=json)
    if any(level == "error" for _, level, _, _ in rows):
        raise typer.Exit(EXIT_BENCH)


@commands.command()
def serve(
    station: Annotated[
        list[str] | None, typer.Argument(help="Stations (default: all of the bench).")
    ] = None,
    port: int = typer.Option(
        5555,
        min=0,
        max=65500,
        help="First TCP port; each station takes two, for probe and console (0: any free ones).",
    ),
    host: str = typer.Option("localhost", help="Name or address to listen on."),
    unauthenticated: bool = typer.Option(
        False, help="Let every machine that reaches --host use the boards."
    ),
    bench: BenchFile = None,
    json: Json = False,
) -> None:
    """Serve stations to other hosts: probes as `pyocd server` does, consoles by RFC 2217.

    Prints the lines for the other side's bench file. Each board has one user at a time. Ends with
    Ctrl-C or SIGTERM.
    """
    from harness.bench import Bench, load_bench
    from harness.bench.export import exported
    from harness.bench.file import bench_text

    stop = on_interrupt()
    found = load_bench(bench)
    chosen = [found.station(name) for name in station] if station else found.stations
    with exported(chosen, host, port, unauthenticated=unauthenticated) as stations:
        if json:
            print_json([item.model_dump(mode="json") for item in stations])
        else:
            sys.stdout.write(bench_text(Bench(stations=stations)))
        sys.stdout.flush()
        note("serving; Ctrl-C ends it")
        stop.wait()


@commands.command()
def prove(
    station: Annotated[str, typer.Argument(help="Station; a virtual one is a rehearsal.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Report to write (default: prove-BOARD.json)."),
    ] = None,
    bench: BenchFile = None,
    json: Json = False,
) -> None:
    """Prove a station in its first hour, and write a report to pass on; exit 3 if a step fails.

    Probe, chip, flash, resets, console by rate, clock, counter, boundaries of memories, guard of
    the stack, networks bit-exact, caches, supply, and cycles against the virtual board by layer.
    The report holds no user, host, path, station or serial number.
    """
    from harness.bench import load_bench
    from harness.cli.progress import spinner
    from harness.files import draft_of
    from harness.prove import prove as run

    chosen = load_bench(bench).station(station)
    report = run(chosen, spinner)
    content = report.to_json()
    path = out or Path(f"prove-{report.board}.json")
    with draft_of(path, what="report", error=ConfigError) as draft:
        draft.write_text(dumps(content, indent=2) + "\n", encoding="utf-8")
    if json:
        print_json(content)
    else:
        print_table(
            f"{chosen.name}: {report.board}, {report.source}",
            ("step", "result", "seconds", "what", "to do"),
            [(s.name, s.status, f"{s.seconds:.1f}", s.what, s.fix or "") for s in report.steps],
        )
        compared = next((s for s in report.steps if s.facts.get("virtual_cycles")), None)
        if compared is not None:
            columns = ("layer", "operator", "macs", "cycles", "virtual_cycles", "ratio")
            print_table(
                f"Cycles of {compared.facts['network']} against the virtual board",
                columns,
                [[layer[name] for name in columns] for layer in compared.facts["layers"]],
            )
    if report.failed:
        note(f"failed: {', '.join(step.name for step in report.failed)}; {path} has the details")
        raise typer.Exit(EXIT_BENCH)
    note(f"all steps passed or were skipped; {path} is the report to pass on")
