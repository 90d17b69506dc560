"""Kill campaigns at random moments, run them again, and compare with an undisturbed run.

Every run is a process forked from this one, with all modules loaded, so that kills hit the campaign
and not the start of the interpreter. Networks and built images are cached by content as usual; from
time to time the images are removed, so that builds are killed as well. Exit code 1 if a rerun
fails, or a row is lost or differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.errors import EXIT_FAILED
from harness.results.record import Measurement
from harness.testing import tiny_network
from tools.soak import FIGURES, counted

NETWORKS = 2
BOARDS = ("nucleo_f746zg", "nucleo_f446re")
_REBUILD = 0.1  # share of the kills before which the images are removed
_ALONE = 0.5  # share of the kills that leave the campaign's child processes behind
_AMONG_ROWS = 0.5  # share of the kills that come shortly after some row; the others come any time
_SHORTLY_S = 0.3
_LIMIT_S = 300.0
_MOST_LATE = 10  # kills in a row that come after the end

# What a campaign imports: loaded before the first one is forked.
_MODULES = (
    "capstone",
    "harness.campaign.outcome",
    "harness.capture.session",
    "harness.cli.progress",
    "harness.firmware",
    "harness.flash.target",
    "harness.report",
    "harness.results.store",
    "harness.runtimes.aot",
    "harness.virtual.machine",
    "matplotlib.pyplot",
    "pyocd.core.session",
)

Command = Callable[[Path, Path], int]
"""Runs a campaign file into a database; returns the exit code."""


@dataclass(slots=True)
class Kills:
    """Result of killing campaigns.

    Attributes:
        kills: Campaigns that were killed before they ended.
        finished_at_kill: Kills by how many rows were finished at that moment.
        alone: Kills of the campaign's own process alone; the others took its children with it.
        rebuilt: Kills of campaigns that had to build their images.
        late: Kills that came after the end, and were tried again.
        rows: Rows that were compared after the reruns.
        failed: Reruns that did not finish, or left a row that is not valid: must be empty.
        lost: Rows that were finished at the kill and are gone or changed: must be empty.
        differing: Figures that are not those of the undisturbed run: must be empty.
        seconds: Wall-clock time.
    """

    kills: int = 0
    finished_at_kill: Counter[int] = field(default_factory=Counter)
    alone: int = 0
    rebuilt: int = 0
    late: int = 0
    rows: int = 0
    failed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every rerun finished with the rows of an undisturbed run."""
        return not (self.failed or self.lost or self.differing)

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def kill_campaigns(
    count: int,
    folder: Path,
    command: Command,
    *,
    cache: Path,
    boards: Sequence[str] = BOARDS,
    seed: int = 1,
    on_kill: Callable[[Kills], None] | None = None,
) -> Kills:
    """Kill a campaign `count` times, each time a new one, and let it finish after each.

    Args:
        count: How many.
        folder: For networks and stores.
        command: What is killed.
        cache: The harness's cache folder.
        boards: Virtual boards that share the work.
        seed: Of the moments.
        on_kill: Called after each kill.
    """
    start = time.perf_counter()
    rng = random.Random(seed)
    campaign = _campaign(folder, boards)
    report = Kills()
    # The first run warms the caches up, the second tells how long one takes.
    for name in ("undisturbed", "again"):
        began = time.perf_counter()
        if _wait(_fork(command, campaign, folder / f"{name}.sqlite", folder / "log.txt")) != 0:
            report.failed.append(f"the undisturbed run: {(folder / 'log.txt').read_text()[-2000:]}")
            return report
        seconds = time.perf_counter() - began
    expected = _figures(_rows(folder / "undisturbed.sqlite"))
    report.differing += _differences("again", expected, _rows(folder / "again.sqlite"))
    late = 0
    while report.kills < count and late < _MOST_LATE:
        database = folder / f"killed{report.kills + report.late}.sqlite"
        rebuild = rng.random() < _REBUILD
        if rebuild:
            shutil.rmtree(cache / "images", ignore_errors=True)
        process = _fork(command, campaign, database, folder / "log.txt")
        alone = rng.random() < _ALONE
        if rng.random() < _AMONG_ROWS:
            # Most of a tiny campaign is its beginning and its report.
            _wait_for_rows(process, database, rng.randrange(len(expected)))
            delay = rng.uniform(0, _SHORTLY_S)
        else:
            delay = rng.uniform(0, seconds)
        if _kill(process, delay, alone=alone):
            report.late += 1
            late += 1
            seconds *= 0.9
            continue
        late = 0
        report.kills += 1
        report.alone += alone
        report.rebuilt += rebuild
        finished = _rows(database)
        report.finished_at_kill[len(finished)] += 1
        began = time.perf_counter()
        code = _wait(_fork(command, campaign, database, folder / "log.txt"))
        after = _rows(database)
        label = f"kill {report.kills}"
        if code != 0 or any(row.status.value != "valid" for row in after):
            report.failed.append(f"{label}: exit {code}: {(folder / 'log.txt').read_text()[-500:]}")
        kept = {row.key: row for row in after}
        report.lost += [f"{label}: {row.key}" for row in finished if kept.get(row.key) != row]
        report.differing += _differences(label, expected, after)
        report.rows += len(after)
        if not finished and not rebuild:
            # As long as a whole campaign: other work may come and go on this machine.
            seconds = 0.5 * seconds + 0.5 * (time.perf_counter() - began)
        _remove(database)
        if on_kill is not None:
            on_kill(report)
    if late:
        report.failed.append(f"{late} kills in a row came after the campaign's end")
    report.seconds = time.perf_counter() - start
    return report


def _campaign(folder: Path, boards: Sequence[str]) -> Path:
    names = []
    for seed in range(1, NETWORKS + 1):
        path = folder / f"net{seed}.tflite"
        path.write_bytes(tiny_network(seed))
        names.append(f'"{path.name}"')
    listed = ", ".join(f'"{board}"' for board in boards)
    file = folder / "kills.toml"
    file.write_text(f'name = "kills"\nboards = [{listed}]\nmodels = [{", ".join(names)}]\n')
    return file


def _fork(command: Command, campaign: Path, database: Path, log: Path) -> int:
    """Start a campaign in a process group of its own; return its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    code = 70  # EX_SOFTWARE
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(campaign.parent)
        code = command(campaign, database)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(process: int) -> int | None:
    """Wait for a campaign; None where it had to be ended after `_LIMIT_S`."""
    limit = time.monotonic() + _LIMIT_S
    while time.monotonic() < limit:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def _wait_for_rows(process: int, database: Path, count: int) -> None:
    """Wait until a campaign has stored `count` rows, or has ended."""
    limit = time.monotonic() + _LIMIT_S
    while time.monotonic() < limit:
        # WNOWAIT leaves the status for `_wait`.
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        if _count(database) >= count:
            return
        time.sleep(0.005)


def _count(database: Path) -> int:
    import sqlite3
    from contextlib import closing

    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM measurement").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # there is no file or no table yet


def _kill(process: int, after_s: float, *, alone: bool) -> bool:
    """Kill a campaign after some time; return whether it had ended before."""
    time.sleep(after_s)
    ended, _ = os.waitpid(process, os.WNOHANG)
    if ended:
        return True
    if alone:
        os.kill(process, signal.SIGKILL)
    else:
        # It may not have come to make the group yet.
        while os.getpgid(process) != process:
            time.sleep(0.001)
        os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return False


def _rows(database: Path) -> list[Measurement]:
    from harness.results import open_store

    if not database.exists():
        return []
    with open_store(database) as store:
        return store.query(with_log=True)


def _figures(rows: list[Measurement]) -> dict[str, dict[str, Any]]:
    return {row.key: {name: getattr(row, name) for name in FIGURES} for row in rows}


def _differences(
    label: str, expected: dict[str, dict[str, Any]], rows: list[Measurement]
) -> list[str]:
    found = _figures(rows)
    missing = [f"{label}: {key} is missing" for key in expected.keys() - found.keys()]
    more = [f"{label}: {key} is not of the plan" for key in found.keys() - expected.keys()]
    double = [f"{label}: {key} twice" for key, n in Counter(r.key for r in rows).items() if n > 1]
    return [*missing, *more, *double] + [
        f"{label}: {key[:12]} {name}: {found[key][name]} instead of {value}"
        for key, figures in expected.items()
        if key in found
        for name, value in figures.items()
        if found[key][name] != value
    ]


def _remove(database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def run_campaign(campaign: Path, database: Path) -> int:
    """Run `harness run`; return its exit code."""
    from harness.cli.app import main

    try:
        main(["run", str(campaign), "--db", str(database)])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _print_progress(report: Kills) -> None:
    if report.kills % 10 == 0:
        sys.stderr.write(f"{report.kills} killed\n")


def text(report: Kills) -> str:
    """Return the figures for people."""
    lines = [
        f"{report.kills} campaigns killed in {report.seconds:.0f} s, and run again",
        f"  rows finished at kill: {counted(report.finished_at_kill)} (rows: kills)",
        f"  without its children:  {report.alone}",
        f"  images to be built:    {report.rebuilt}",
        f"  kills after the end:   {report.late} (not counted)",
        f"  rows compared:         {report.rows}",
        f"  reruns that failed:    {len(report.failed)}",
        f"  finished rows lost:    {len(report.lost)}",
        f"  figures that differ:   {len(report.differing)}",
    ]
    return "\n".join([*lines, *(report.failed + report.lost + report.differing)[:20]]) + "\n"


def main() -> None:
    """Kill campaigns and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--board", action="append", dest="boards", choices=BOARDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for module in _MODULES:
        import_module(module)
    with tempfile.TemporaryDirectory(prefix="harness-kills-") as folder:
        cache = Path(folder) / "cache"
        os.environ["HARNESS_CACHE"] = str(cache)
        report = kill_campaigns(
            options.kills,
            Path(folder),
            run_campaign,
            cache=cache,
            boards=options.boards or BOARDS,
            seed=options.seed,
            on_kill=_print_progress,
        )
    sys.stdout.write(
        json.dumps(report.as_json(), indent=2) + "\n" if options.json else text(report)
    )
    if not report.passed:
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
