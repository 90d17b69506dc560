"""Run a plan: convert, build and measure in parallel, commit each row before its job is done.

A crew (`crew`) builds ahead, and one thread for each of its places (`places`) measures; a bounded
queue for each pool of equal stations keeps them in step (`pool`). A job that
fails is repeated as `retry` says, then tried on another station of its pool if its own may be the
cause, then leaves an invalid row. A station that is not ready, or fails several jobs in a row and
is disabled, hands its job back; jobs that no station is left for are not run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.bench import Bench, Station
from harness.campaign.checkup import Checkup
from harness.campaign.crew import Crew, LocalCrew
from harness.campaign.health import agree
from harness.campaign.ledger import Ledger, Listener, Summary
from harness.campaign.measure import Session
from harness.campaign.places import Place, Report
from harness.campaign.plan import Job
from harness.campaign.pool import Item, Pool
from harness.campaign.retry import DISABLE_AFTER, policy_for
from harness.campaign.rows import failed_row
from harness.campaign.runs import Repeats
from harness.errors import BenchError, FarmError, HarnessError, StationLocked, ToolchainMissing

if TYPE_CHECKING:
    from harness.results.store import Store

_LOG = logging.getLogger(__name__)

_BUSY_S = 0.5  # poll interval for a station that another process uses


class _StoppedError(Exception):
    """The run was stopped before this job was built."""


class _DoneElsewhereError(Exception):
    """Another process measured this job before it was built."""


def run(
    jobs: Sequence[Job],
    where: Bench | Crew,
    store: Store,
    *,
    campaign: str | None,
    listener: Listener,
    wait_s: float = 0.0,
    repeats: Repeats | None = None,
    checkup: Checkup | None = None,
    open_session: Callable[[Station], Session] | None = None,
) -> Summary:
    """Measure every job that has no usable row in the store; return counts and times.

    `repeats` names the run that rows belong to, and the jobs that it measures again. `checkup`
    looks at each station before its first job, also where there is none. Failures are in the rows.
    A station that another process uses is waited for `wait_s` seconds, while others of its pool go
    on. Raises `ToolchainMissing` if there is no compiler, `ResultsError` if the store cannot be
    written, `BenchError` if no station fits a job; committed rows are kept. `open_session` is for
    tests.
    """
    start = time.perf_counter()
    ledger = Ledger(store, listener, repeats or Repeats())
    todo = ledger.begin(jobs)
    if todo or checkup is not None:
        if isinstance(where, Bench):
            agree(where.stations, store)
            where = LocalCrew(where, open_session)
        _Pipeline(jobs if checkup else todo, todo, where, ledger, campaign, wait_s, checkup).run()
        store.deliver()
    ledger.summary.seconds = time.perf_counter() - start
    return ledger.summary


class _Pipeline:
    """Connects converter, builder and stations for one run."""

    def __init__(
        self,
        planned: Sequence[Job],
        jobs: Sequence[Job],
        crew: Crew,
        ledger: Ledger,
        campaign: str | None,
        wait_s: float,
        checkup: Checkup | None,
    ) -> None:
        self.checkup = checkup
        self.crew = crew
        self.ledger = ledger
        self.campaign = campaign
        self.wait_s = max(wait_s, crew.patience_s)
        self.stop = crew.stopping
        found = crew.count(planned)
        self.pool = Pool(
            jobs,
            {
                needs: {one.name: count for one, count in places.items()}
                for needs, places in found.items()
            },
            self.stop,
        )
        counts = {station: count for places in found.values() for station, count in places.items()}
        self.places = [crew.place(station) for station, n in counts.items() for _ in range(n)]

    def run(self) -> None:
        """Run every job; raise the failure that ended the run early, if there is one."""
        with (
            self.crew,
            ThreadPoolExecutor(len(self.places), thread_name_prefix="station") as benches,
        ):
            try:
                if self.checkup is not None:
                    self.checkup.build([place.station for place in self.places], self.crew)
                served = [benches.submit(self._serve, place) for place in self.places]
                for future in served:
                    future.add_done_callback(self._stop_if_failed)
                self._feed()
                wait(served)
            except BaseException:
                # An interrupt can come anywhere; every thread polls this flag.
                self.stop.set()
                raise
        for future in served:
            future.result()

    def _stop_if_failed(self, served: Future[None]) -> None:
        if served.exception() is not None:
            self.stop.set()

    def _feed(self) -> None:
        while jobs := self.pool.upcoming():
            self.pool.put(jobs[0], self.crew.build(jobs, self._check))

    def _check(self, job: Job) -> None:
        if self.stop.is_set():
            raise _StoppedError
        if self.ledger.is_done(job):
            raise _DoneElsewhereError

    # In the thread of a place.

    def _serve(self, place: Place) -> None:
        failed_in_a_row = 0
        try:
            place.start()  # while the first networks are written
            more = self._open(place, anyway=self.checkup is not None)
            if self.checkup is not None:
                self.checkup.look(place)
            while more and (item := self.pool.take(place.station)):
                report = self._measure(place, item)
                if report is None:
                    more = self._open(place)
                    continue
                failure = report.failure
                if failure is not None and self.stop.is_set():
                    return  # the interrupt may have ended the compiler: no verdict on the job
                counts = failure is not None and policy_for(failure).counts_against_station
                failed_in_a_row = 0 if failure is None else failed_in_a_row + counts
                if not (counts and self.pool.pass_on(item, place.station, report)):
                    self._commit(item, report)
                    self.pool.done(item)
                if failure is not None and failed_in_a_row == DISABLE_AFTER:
                    raise place.disable(failure)
        except _StoppedError:
            return
        except BenchError as failure:
            if self.checkup is not None:
                self.checkup.failed(place.station, failure)
            self._leave(place.station, failure)
        finally:
            place.close()

    def _open(self, place: Place, *, anyway: bool = False) -> bool:
        """Open a place once it has a job, and its station is free; False when it has none."""
        began, holder = time.monotonic(), ""
        while anyway or self.pool.wait(place.station):
            try:
                place.open()
                return True
            except StationLocked as busy:
                if time.monotonic() - began >= self.wait_s:
                    raise
                if busy.what != holder:
                    holder = busy.what
                    _LOG.warning("waiting: %s", holder)
                self.stop.wait(_BUSY_S)
        return False

    def _measure(self, place: Place, item: Item) -> Report | None:
        """Measure a job that was taken; None if this place has no more to do with it."""
        try:
            while not item.built.done() and not self.stop.is_set():
                wait([item.built], _BUSY_S)  # a farm's builder may be away
            if self.stop.is_set():
                raise _StoppedError
            built = item.built.result()
            if self.ledger.is_done(item.job):
                raise _DoneElsewhereError
        except _DoneElsewhereError:
            self.pool.done(item)
            return None
        except (_StoppedError, ToolchainMissing, FarmError):
            raise
        except HarnessError as failure:
            return Report(failed_row(item.job, failure, None, campaign=self.campaign), failure)
        try:
            return place.measure(built, campaign=self.campaign)
        except BenchError as failure:
            self.pool.give_back(item)
            if self.wait_s and isinstance(failure, StationLocked):
                return None  # somebody took the station while its session was opened anew
            raise

    def _leave(self, station: Station, failure: HarnessError) -> None:
        """Give up a place, and the jobs that no other can take."""
        left = 0
        for item in self.pool.leave(station):
            if isinstance(item, Item) and item.report is not None:
                self._commit(item, item.report)  # failed on another station that is still there
            else:
                left += 1
        self.ledger.station_failed(station, failure, left)

    def _commit(self, item: Item, report: Report) -> None:
        row, retries, first = report.row, report.retries, item.report
        if first is not None and first is not report and first.failure is not None:
            log = f"(on {item.tried}, error[{first.failure.code}]: {first.failure.what})\n"
            row = replace(row, raw_log=f"{log}{row.raw_log or ''}")
            retries = (*first.retries, first.failure.code, *retries)
        self.ledger.commit(item.job, row, report.failure, retries)
