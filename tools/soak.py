"""Run a campaign under random faults on virtual boards and check every row that it stores.

Each network is first measured on boards without faults. Then the campaign runs on stations with
faults, again and again until every job has a valid row, and every valid row is compared with the
measurement without faults. Exit code 1 if a row is wrong, lost or missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import errors
from harness.bench import Bench, Station
from harness.bench.disabled import enable, why_disabled
from harness.bench.station import virtual_station
from harness.campaign.ledger import Listener
from harness.campaign.runner import run
from harness.cli.progress import ProgressListener
from harness.errors import EXIT_FAILED
from harness.results.record import Measurement

if TYPE_CHECKING:
    from harness.campaign.plan import Job
    from harness.results.store import Store

FAULTS = (
    "drop:1e-5,garble:1e-5,duplicate:1e-5,delay:3e-6,vanish:5e-6,reset:5e-6,watchdog:3e-6,"
    "probe:5e-5,hardfault:1e-3,hang:3e-4,flip:0.005,rot:5e-4"
)
"""About two measurements in ten meet one."""

BOARDS = ("nucleo_f746zg", "nucleo_f767zi", "nucleo_f446re")
# Columns that depend on the network alone, not on time, place and provenance.
FIGURES = (
    "cycles", "latency_us", "layers", "layers_total_cycles", "clock_hz", "arena_used_bytes",
    "arena_paint_bytes", "stack_bytes", "bit_exact", "output_bytes_differing", "chip_uid",
    "build_id", "model_sha256", "icache", "dcache", "flash_total_bytes",
)  # fmt: skip
_MOST_RUNS = 20


@dataclass(slots=True)
class Soak:
    """Result of a soak run.

    Attributes:
        measurements: Jobs of the campaign.
        rows: Rows by status, failed ones of every run included.
        codes: Failed rows by issue code.
        retries: Failed attempts that were repeated, by code.
        faults: Faults that were injected, by kind.
        runs: How often the campaign was run until every job had a valid row.
        disabled: How often a station was disabled.
        wrong: Figures of valid rows that differ from those without faults: must be empty.
        lost: Rows that were finished and are not in the store: must be empty.
        untyped: Codes of failed rows that no error class has: must be empty.
        unfinished: Jobs without a valid row in the end: must be 0.
        seconds: Wall-clock time.
    """

    measurements: int
    rows: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    disabled: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    untyped: list[str] = field(default_factory=list)
    unfinished: int = 0
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing was wrong, lost, untyped or unfinished."""
        return not (self.wrong or self.lost or self.untyped or self.unfinished)

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


class _Finished(Listener):
    """Remembers which rows the campaign called finished."""

    def __init__(self, inner: Listener | None) -> None:
        self.inner = inner
        self.keys: Counter[str] = Counter()

    def started(self, planned: int, done_before: int) -> None:
        if self.inner is not None:
            self.inner.started(planned, done_before)

    def finished(self, job: Job, row: Measurement, failure: errors.HarnessError | None) -> None:
        self.keys[row.key] += 1
        if self.inner is not None:
            self.inner.finished(job, row, failure)

    def station_failed(self, station: Station, failure: errors.HarnessError, left: int) -> None:
        if self.inner is not None:
            self.inner.station_failed(station, failure, left)


def soak(
    measurements: int,
    folder: Path,
    *,
    faults: str = FAULTS,
    seed: int = 1,
    boards: Sequence[str] = BOARDS,
    listener: Listener | None = None,
) -> Soak:
    """Measure under faults until every job has a valid row.

    Args:
        measurements: How many.
        folder: For networks and stores.
        faults: As in a serial URL.
        seed: Of the faults.
        boards: Virtual boards that share the work.
        listener: Follows progress of the runs with faults.
    """
    from harness.results import open_store

    start = time.perf_counter()
    sound_bench = Bench(stations=tuple(virtual_station(board) for board in boards))
    jobs = _jobs(measurements, folder, boards, sound_bench)
    with open_store(folder / "sound.sqlite") as store:
        sound = {}
        for job in {_subject(job): job for job in jobs}.values():
            sound[_subject(job)] = job
        run(list(sound.values()), sound_bench, store, campaign="sound", listener=_Finished(None))
        expected = {name: store.get(job.key) for name, job in sound.items()}
    report = Soak(measurements)
    bench = Bench(stations=tuple(_faulty(one, faults, seed) for one in sound_bench.stations))
    finished = _Finished(listener)
    with open_store(folder / "soak.sqlite") as store:
        while report.runs < _MOST_RUNS:
            report.runs += 1
            summary = run(jobs, bench, store, campaign="soak", listener=finished)
            report.retries += summary.retries
            if summary.bench_failure is None and not summary.statuses["invalid"]:
                break
            for station in bench.stations:
                report.disabled += why_disabled(station) is not None
                enable(station)
        _judge(report, jobs, expected, store, finished.keys)
    report.faults = _fallen(boards)
    report.seconds = time.perf_counter() - start
    return report


def _judge(
    report: Soak,
    jobs: Sequence[Job],
    expected: dict[tuple[str, str], Measurement | None],
    store: Store,
    finished: Counter[str],
) -> None:
    by_key = {job.key: job for job in jobs}
    codes = {kind.code for kind in _kinds(errors.HarnessError)}
    stored: Counter[str] = Counter()
    valid = set()
    for row in store.query():
        stored[row.key] += 1
        report.rows[row.status.value] += 1
        if row.status.value == "valid":
            valid.add(row.key)
            sound = expected[_subject(by_key[row.key])]
            report.wrong += [
                f"{row.key[:12]} {name}: {getattr(row, name)} instead of {getattr(sound, name)}"
                for name in FIGURES
                if getattr(row, name) != getattr(sound, name)
            ]
        else:
            report.codes.update(row.issues)
        if row.status.value == "invalid":
            report.untyped += [code for code in row.issues if code not in codes - {"error"}]
    report.lost = [key for key, count in finished.items() if stored[key] < count]
    report.unfinished = len(by_key.keys() - valid)


def _kinds(base: type[errors.HarnessError]) -> Iterator[type[errors.HarnessError]]:
    yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)


def _subject(job: Job) -> tuple[str, str]:
    return job.board.id, str(job.spec.sha256)


def _jobs(measurements: int, folder: Path, boards: Sequence[str], bench: Bench) -> list[Job]:
    """Return many jobs on two tiny networks in turn, so that every one is flashed anew."""
    from harness.campaign.config import CampaignConfig
    from harness.campaign.plan import plan
    from harness.testing import tiny_network

    paths = []
    for seed in (1, 2):
        path = folder / f"soak{seed}.tflite"
        path.write_bytes(tiny_network(seed))
        paths.append(path)
    subjects = plan(CampaignConfig.of("soak", boards=boards, models=paths), bench)
    jobs = []
    for index in range(measurements):
        job = subjects[index % len(subjects)]
        key = hashlib.sha256(f"soak {index} {job.key}".encode()).hexdigest()
        jobs.append(replace(job, key=key))
    return jobs


def _faulty(station: Station, faults: str, seed: int) -> Station:
    # Each board has faults of its own.
    seed = 1000 * seed + sum(station.board.encode())
    data = station.model_dump()
    return Station(**{**data, "serial": f"{station.serial}?faults={faults}&seed={seed}"})


def _fallen(boards: Sequence[str]) -> Counter[str]:
    from harness.virtual.registry import get_machine

    fallen: Counter[str] = Counter()
    for board in boards:
        injector = get_machine(board).faults.injector
        if injector is not None:
            fallen.update(injector.counts)
    return fallen


def counted(items: Mapping[Any, int]) -> str:
    """Return counts on one line."""
    return ", ".join(f"{name} {count}" for name, count in sorted(items.items())) or "none"


def text(report: Soak) -> str:
    """Return the figures for people."""
    lines = [
        f"{report.measurements} measurements in {report.seconds:.0f} s and {report.runs} runs of "
        "the campaign",
        f"  faults injected:       {counted(report.faults)}",
        f"  attempts repeated:     {counted(report.retries)}",
        f"  rows:                  {counted(report.rows)}",
        f"  codes of failed rows:  {counted(report.codes)}",
        f"  stations disabled:     {report.disabled}",
        f"  wrong values valid:    {len(report.wrong)}",
        f"  finished rows lost:    {len(report.lost)}",
        f"  failures untyped:      {len(report.untyped)}",
        f"  jobs unfinished:       {report.unfinished}",
    ]
    return "\n".join([*lines, *report.wrong[:20]]) + "\n"


def main() -> None:
    """Run the soak and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measurements", type=int, default=5000)
    parser.add_argument("--faults", default=FAULTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--board", action="append", dest="boards", choices=BOARDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="harness-soak-") as folder,
        ProgressListener("soak") as listener,
    ):
        # A cache of its own, so that its locks and disabled stations are not the user's.
        os.environ["HARNESS_CACHE"] = str(Path(folder) / "cache")
        report = soak(
            options.measurements,
            Path(folder),
            faults=options.faults,
            seed=options.seed,
            boards=options.boards or BOARDS,
            listener=listener,
        )
    sys.stdout.write(
        json.dumps(report.as_json(), indent=2) + "\n" if options.json else text(report)
    )
    if not report.passed:
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
