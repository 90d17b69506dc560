"""Where jobs are measured: one place for each station, or for each copy of a virtual one.

A place takes a built job and gives a row, whoever asks: the threads of a run on this machine, or
what runs jobs on others.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from harness.bench import Bench, Station, station_lock
from harness.bench.disabled import disable
from harness.bench.power import cycle_power
from harness.campaign.measure import Built, Session, run_job
from harness.campaign.needs import Needs
from harness.campaign.plan import Job
from harness.campaign.process import ProcessSession
from harness.campaign.retry import pause_s, policy_for
from harness.campaign.rows import failed_row
from harness.errors import BenchError, HarnessError, StationDisabled
from harness.results.record import Measurement

_LOG = logging.getLogger(__name__)
_BACK_S = 30.0  # in which a board is found again after its power was switched
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Report:
    """What a place made of a job."""

    row: Measurement
    failure: HarnessError | None = None  # why the row is invalid
    retries: tuple[str, ...] = ()  # codes of the failed attempts that were repeated


class Place(Protocol):
    """Measures built jobs on one station, one after another."""

    @property
    def station(self) -> Station:
        """The station."""

    def start(self) -> None:
        """Begin what takes time before the first job, if anything does."""

    def open(self) -> None:
        """Get ready to measure, if it is not; raise `BenchError` if the station is not ready."""

    def measure(self, built: Any, *, campaign: str | None) -> Report:
        """Measure a job that the place's crew built.

        Raises `BenchError` if the station is not ready, which is no verdict.
        """

    def disable(self, failure: HarnessError) -> StationDisabled:
        """Disable the station after a failure; return the error that says so."""

    def close(self) -> None:
        """Give the station back."""


class StationPlace:
    """A place on a station of this machine; repeats what may have failed by chance.

    Args:
        station: Where.
        open_session: Opens a session on it.
        stop: Ends the repetitions when set.
        early: Open it before the first job is there, as its process takes time to start.
    """

    def __init__(
        self,
        station: Station,
        open_session: Callable[[Station], Session],
        stop: threading.Event,
        *,
        early: bool = False,
    ) -> None:
        self.station = station
        self._open = open_session
        self._stop = stop
        self._early = early
        self._session: Session | None = None
        self._earlier: list[HarnessError] = []  # failures that were repeated
        self._cycled = False  # whether the power was switched since something last worked

    def start(self) -> None:
        """Open the session where that takes time."""
        if self._early:
            self.open()

    def open(self) -> None:
        """Open the session; raises `BenchError`, `StationLocked` if another process has it."""
        self._repeat(f"station {self.station.name}", self._opened)

    def measure(self, built: Built, *, campaign: str | None) -> Report:
        """Flash and measure a job, on a new session where the last one broke."""
        failure = None
        try:
            row = self._repeat(
                f"{built.job.spec.name} on {self.station.name}",
                lambda: run_job(built, self._opened(), self.station, campaign=campaign),
            )
        except BenchError:
            raise
        except HarnessError as failed:
            failure = failed
            row = failed_row(built.job, failed, self.station, campaign=campaign)
        if failure is None and self._earlier:
            lines = (
                f"(attempt {number}, error[{one.code}]: {one.what}"
                f"{'; its power was switched off and on' if 'power' in one.data else ''})\n"
                for number, one in enumerate(self._earlier, 1)
            )
            row = replace(row, raw_log="".join(lines) + (row.raw_log or ""))
        return Report(row, failure, tuple(one.code for one in self._earlier))

    def disable(self, failure: HarnessError) -> StationDisabled:
        """Disable the station for later runs too; return the error that says so."""
        return disable(self.station, failure)

    def close(self) -> None:
        """Give the station back."""
        if self._session is not None:
            session, self._session = self._session, None
            session.close()

    def _opened(self) -> Session:
        if self._session is None:
            self._session = self._open(self.station)
        return self._session

    def _repeat(self, what: str, action: Callable[[], _Result]) -> _Result:
        """Do something, repeatedly if its failure may be temporary."""
        self._earlier = []
        while True:
            try:
                done = action()
            except HarnessError as failure:
                if self._session is not None and self._session.broken:
                    self.close()
                attempt = len(self._earlier) + 1
                if self._stop.is_set():
                    raise
                if attempt >= policy_for(failure).attempts and not self._revive(failure):
                    raise
                self._earlier.append(failure)
                _LOG.warning("%s: trying again after %s", what, failure.what)
                if self._stop.wait(pause_s(failure, attempt)):
                    raise
            else:
                self._cycled = False
                return done

    def _revive(self, failure: HarnessError) -> bool:
        """Switch the station's power off and on before it is given up; once until it works.

        Returns whether to try once more.
        """
        counts = policy_for(failure).counts_against_station
        if self._cycled or self.station.power is None or not counts:
            return False
        self._cycled = True
        self.close()
        _LOG.warning("%s: switching its power off and on", self.station.name)
        try:
            with station_lock(self.station):
                cycle_power(self.station)
            self._wait_until_back()
        except HarnessError as problem:
            _LOG.warning("%s: %s", self.station.name, problem.what)
            return False
        failure.data["power"] = "cycled"
        return True

    def _wait_until_back(self) -> None:
        """Open the session, for as long as a host takes to find probe and port again."""
        end = time.monotonic() + _BACK_S
        while True:
            try:
                self._opened()
                return
            except BenchError:
                if time.monotonic() > end or self._stop.wait(1.0):
                    raise


def count_places(jobs: Sequence[Job], bench: Bench) -> dict[Needs, dict[Station, int]]:
    """Return how many places each station of a bench has, for each of the jobs' needs.

    A station is one place. A virtual station that is the only one of its pool shares the cores
    with as many copies, unless its board has a number, or faults, which fall in a fixed order.

    Raises `BenchError` if no station fits a job.
    """
    counts = Counter(job.needs for job in jobs)
    cores = max(1, (os.cpu_count() or 1) // max(1, len(counts)))
    found = {}
    for needs, count in counts.items():
        stations = needs.find(bench)
        copies = min(count, cores) if len(stations) == 1 and _may_copy(stations[0], needs) else 1
        found[needs] = dict.fromkeys(stations, copies)
    return found


def _may_copy(station: Station, needs: Needs) -> bool:
    return divisible(station) and station.number is None and needs.specimen is None


def divisible(station: Station) -> bool:
    """Return whether a station can work in a process of its own, for each session a new one."""
    return station.virtual and "faults" not in station.options


def opener(*, apart: bool) -> Callable[[Station], Session]:
    """Return the function that opens a station's session.

    Args:
        apart: Open virtual stations in processes of their own.
    """
    from harness.capture.session import BoardSession

    def open_session(station: Station) -> Session:
        if apart and divisible(station):
            return ProcessSession(station)
        return BoardSession.open(station)

    return open_session
