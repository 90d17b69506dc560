"""The books of a run: which jobs are done, by whom, and what each left in the store.

One process writes the store for everything that measures for it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from harness.bench import Station
from harness.campaign.health import tell
from harness.campaign.plan import Job
from harness.campaign.runs import Repeats
from harness.errors import HarnessError, ResultsError, StationDisabled
from harness.results.record import Measurement

if TYPE_CHECKING:
    from harness.results.store import Store


class Listener(Protocol):
    """Follows a campaign; the command line draws progress bars from it."""

    def started(self, planned: int, done_before: int) -> None:
        """Receive the number of jobs, and how many the store already has."""

    def finished(self, job: Job, row: Measurement, failure: HarnessError | None) -> None:
        """Receive a job's row, which is committed, perhaps by another process."""

    def station_failed(self, station: Station, failure: HarnessError, left: int) -> None:
        """Receive a station that is used no more, and how many jobs are not run for lack of it."""


@dataclass(slots=True)
class Summary:
    """Counts and times of a run.

    Attributes:
        planned: Jobs in the plan.
        skipped: Jobs measured by an earlier run.
        elsewhere: Jobs that another process measured during this run.
        statuses: Rows of this run by status.
        not_run: Jobs that were not run because no station was left that fits.
        seconds: Wall-clock time of this run.
        stage_seconds: Time by stage, summed over jobs.
        bench_failure: Why the first station failed, if one did.
        retries: Failed attempts that were repeated, by the failure's code.
        stations: Rows of this run by station.
        failed: Stations that were given up: why, and how many jobs were not run for lack of them.
    """

    planned: int = 0
    skipped: int = 0
    elsewhere: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    not_run: int = 0
    seconds: float = 0.0
    stage_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    bench_failure: HarnessError | None = None
    retries: Counter[str] = field(default_factory=Counter)
    stations: Counter[str] = field(default_factory=Counter)
    failed: dict[str, tuple[HarnessError, int]] = field(default_factory=dict)

    @property
    def measured(self) -> int:
        """Jobs of this run that have a latency."""
        return self.statuses["valid"] + self.statuses["degraded"]

    @property
    def complete(self) -> bool:
        """Whether every job of the plan has a latency, whoever measured it."""
        return self.skipped + self.elsewhere + self.measured == self.planned

    @property
    def per_hour(self) -> float:
        """Networks an hour."""
        return self.measured * 3600 / self.seconds if self.seconds else 0.0


class Ledger:
    """Commits rows, counts them, and tells the listener; safe between threads.

    Args:
        store: Where rows go.
        listener: Is told of everything, one call at a time.
        repeats: The run that the rows belong to, and what it measures again.
    """

    def __init__(self, store: Store, listener: Listener, repeats: Repeats) -> None:
        self.summary = Summary()
        self._store = store
        self._listener = listener
        self._repeats = repeats
        self._lock = threading.Lock()
        self._elsewhere: set[str] = set()

    def begin(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs that have no usable row yet, or none of this run where it repeats."""
        repeats = self._repeats
        once = [job.key for job in jobs if job.key not in repeats.anew]
        known = self._store.done(once) | self._store.done(repeats.anew, repetition=repeats.run)
        todo = [job for job in jobs if job.key not in known]
        self.summary.planned, self.summary.skipped = len(jobs), len(jobs) - len(todo)
        self._listener.started(len(jobs), self.summary.skipped)
        return todo

    def is_done(self, job: Job) -> bool:
        """Look a job up again, just before it starts: another process may have measured it."""
        try:
            row = self._store.find(job.key, repetition=self._repeats.of(job.key))
        except ResultsError:
            return False  # a store that cannot be read now may well be written in a while
        if row is not None:
            self._note_elsewhere(job, row)
        return row is not None

    def commit(
        self, job: Job, row: Measurement, failure: HarnessError | None, retries: Sequence[str] = ()
    ) -> None:
        """Store a job's row; one that another process stored first is not counted as ours.

        Raises `ResultsError` if it cannot be stored.
        """
        row = self._repeats.stamp(row)
        start = time.perf_counter()
        stored = self._store.add(row)
        seconds = time.perf_counter() - start
        with self._lock:
            self.summary.retries.update(retries)
        if stored is not row:
            self._note_elsewhere(job, stored)
            return
        with self._lock:
            self.summary.statuses[row.status.value] += 1
            if row.station is not None:
                self.summary.stations[row.station] += 1
            for stage, spent in {**row.stage_seconds, "store": seconds}.items():
                self.summary.stage_seconds[stage] += spent
            self._listener.finished(job, row, failure)

    def _note_elsewhere(self, job: Job, row: Measurement) -> None:
        with self._lock:
            if job.key not in self._elsewhere:
                self._elsewhere.add(job.key)
                self.summary.elsewhere += 1
                self._listener.finished(job, row, None)

    def station_failed(self, station: Station, failure: HarnessError, left: int) -> None:
        """Note a station that is used no more, and the jobs that nobody can run."""
        if isinstance(failure, StationDisabled):
            tell(station, failure, self._store)
        with self._lock:
            self.summary.not_run += left
            self.summary.failed[station.name] = (failure, left)
            self.summary.bench_failure = self.summary.bench_failure or failure
            self._listener.station_failed(station, failure, left)
