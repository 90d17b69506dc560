"""`harness doctor`: check everything that a measurement needs, and print how to fix it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import typer

from harness.cache import GB, bound_bytes, sizes
from harness.cli.options import BenchFile, Database, Json, store_if_any
from harness.cli.output import print_json, print_table
from harness.errors import EXIT_BENCH, HarnessError
from harness.paths import DEFAULT_STORE, cache_dir, state_dir

_MIN_FREE_BYTES = 2 * 1024**3
_PACKAGES = (
    ("tensorflow", "train", "training and converting Keras models"),
    ("unicorn", "virtual", "the virtual boards (GPL-2.0)"),
    ("numba", "virtual", "the virtual boards"),
    ("capstone", "virtual", "the virtual boards"),
    ("pyarrow", "export", "export to Parquet"),
)


class Check(NamedTuple):
    """One line of the report."""

    what: str
    ok: bool | None  # None for something optional that is absent
    found: str
    fix: str = ""


def doctor(bench: BenchFile = None, db: Database = DEFAULT_STORE, json: Json = False) -> None:
    """Check the machine and the bench; exit 3 if something needed is missing."""
    checks = list(run_checks(bench, db))
    if json:
        print_json([check._asdict() for check in checks])
    else:
        marks = {True: "ok", False: "NOT OK", None: "optional"}
        print_table(
            "harness doctor",
            ("check", "state", "found", "to do"),
            [(check.what, marks[check.ok], check.found, check.fix) for check in checks],
        )
    if any(check.ok is False for check in checks):
        raise typer.Exit(EXIT_BENCH)


def run_checks(bench: Path | None = None, db: str = DEFAULT_STORE) -> Iterator[Check]:
    """Yield every finding; one that fails never hides the next."""
    old = sys.version_info < (3, 11)
    fix = "install Python 3.11 or newer" if old else ""
    yield Check("Python", not old, platform.python_version(), fix)
    for module, extra, purpose in _PACKAGES:
        present = importlib.util.find_spec(module) is not None
        fix = "" if present else f"pip install 'tinyml-harness[{extra}]' for {purpose}"
        yield Check(f"package {module}", present or None, "installed" if present else "–", fix)
    for check in (_compiler, _platformio, _boards, _cache, _disk):
        try:
            yield check()
        except HarnessError as failure:
            yield _failed(check.__name__.strip("_"), failure)
    yield from _kept_rows()
    yield from _stations(bench, db)


def _failed(what: str, failure: HarnessError) -> Check:
    return Check(what, False, failure.what, failure.fix or "")


def _compiler() -> Check:
    from harness.firmware.toolchain import find_toolchain

    found = find_toolchain()
    return Check("compiler", True, f"{found.name} ({found.gcc})")


def _platformio() -> Check:
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = f"PlatformIO {version('platformio')}, SCons {version('scons')}"
    except PackageNotFoundError as failure:
        return Check("platformio", False, f"{failure.name} is not installed", "pip install -e .")
    return Check("platformio", True, found)


def _boards() -> Check:
    from harness.boards import all_boards

    return Check("boards", True, ", ".join(board.id for board in all_boards()))


def _cache() -> Check:
    folder = _existing(cache_dir())
    good = os.access(folder, os.W_OK)
    fix = "" if good else f"make {folder} writable, or set HARNESS_CACHE to a folder that is"
    held, bound = sum(size.bytes for size in sizes().values()), bound_bytes()
    if good and held > bound:
        fix = "`harness cache prune` removes what was used longest ago"
    found = f"{cache_dir()}, {held / GB:.1f} of {bound / GB:.1f} GB"
    return Check("cache folder", good, found, fix)


def _disk() -> Check:
    folder = _existing(cache_dir())
    free = shutil.disk_usage(folder).free
    good = free >= _MIN_FREE_BYTES
    fix = "" if good else f"free some space below {folder}; builds and models need about 2 GiB"
    return Check("disk", good, f"{free / 1024**3:.1f} GiB free", fix)


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _kept_rows() -> Iterator[Check]:
    from harness.results.store import Store

    for file in sorted((state_dir() / "spool").glob("*.sqlite")):
        with Store.open(file) as kept:
            rows = kept.count()
        if rows:
            fix = "`harness run` with that store delivers them, on the host and as the user of then"
            yield Check("results store", False, f"{rows} rows wait for a server in {file}", fix)


def _stations(path: Path | None, db: str) -> Iterator[Check]:
    from harness.bench import check, load_bench
    from harness.boards import load_board
    from harness.campaign.health import agree

    try:
        bench = load_bench(path)
    except HarnessError as failure:
        yield _failed("bench", failure)
        return
    with store_if_any(db) as store:
        notes = agree(bench.stations, store)
    for station in bench.stations:
        name = f"station {station.name}"
        if station.name in notes and notes[station.name].disabled:
            fix = f"fix the fault and run `harness bench check {station.name}`"
            yield Check(name, False, notes[station.name].text, fix)
            continue
        try:
            findings = check(station, load_board(station.board))
        except HarnessError as failure:
            yield _failed(name, failure)
            continue
        bad = [Check(name, False, f.what, f.fix or "") for f in findings if f.level == "error"]
        text = f"{station.board}, probe {station.probe}, serial {station.serial}"
        yield from bad or [Check(name, True, text)]
