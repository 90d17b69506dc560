"""Run a plan: convert, build and measure in parallel, commit each row before its job is done.

One worker process prepares networks, one thread builds, and one thread per station measures; a
virtual station has one for each core, with a process of its own (`places`). Bounded queues keep
them in step. A job that fails is repeated as `retry` says, then leaves an invalid row, and the
campaign goes on. A station that is not ready, or fails several jobs in a row and is disabled, ends
its own jobs only.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from harness.bench import Station
from harness.bench.disabled import disable
from harness.campaign.converter import Converter
from harness.campaign.measure import Built, Session, build_job, run_job
from harness.campaign.places import count_places, divisible, opener
from harness.campaign.plan import Job
from harness.campaign.prepare import Prepared
from harness.campaign.retry import DISABLE_AFTER, pause_s, policy_for
from harness.campaign.rows import failed_row
from harness.errors import BenchError, HarnessError, ToolchainMissing
from harness.results.record import Measurement

if TYPE_CHECKING:
    from harness.results.store import Store

_LOG = logging.getLogger(__name__)

_LOOKAHEAD = 4
_POLL_S = 0.2  # poll interval for the stop flag


class _StoppedError(Exception):
    """The run was stopped before this job was built."""


class Listener(Protocol):
    """Follows a campaign; the command line draws progress bars from it."""

    def started(self, planned: int, done_before: int) -> None:
        """Receive the number of jobs, and how many the store already has."""

    def finished(self, job: Job, row: Measurement, failure: HarnessError | None) -> None:
        """Receive a job's row, which is committed."""

    def station_failed(self, station: Station, failure: HarnessError, left: int) -> None:
        """Receive a station that is used no more, and how many of its jobs are not run."""


@dataclass(slots=True)
class Summary:
    """Counts and times of a run.

    Attributes:
        planned: Jobs in the plan.
        skipped: Jobs measured by an earlier run.
        statuses: Rows of this run by status.
        not_run: Jobs that were not run because their station failed.
        seconds: Wall-clock time of this run.
        stage_seconds: Time by stage, summed over jobs.
        bench_failure: Why the first station failed, if one did.
        retries: Failed attempts that were repeated, by the failure's code.
    """

    planned: int = 0
    skipped: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    not_run: int = 0
    seconds: float = 0.0
    stage_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    bench_failure: HarnessError | None = None
    retries: Counter[str] = field(default_factory=Counter)

    @property
    def measured(self) -> int:
        """Jobs of this run that have a latency."""
        return self.statuses["valid"] + self.statuses["degraded"]

    @property
    def per_hour(self) -> float:
        """Networks an hour."""
        return self.measured * 3600 / self.seconds if self.seconds else 0.0


def run(
    jobs: Sequence[Job],
    store: Store,
    *,
    campaign: str | None,
    listener: Listener,
    open_session: Callable[[Station], Session] | None = None,
) -> Summary:
    """Measure every job that has no usable row in the store; return counts and times.

    Failures are in the rows. Raises `ToolchainMissing` if there is no compiler, `ResultsError` if
    the store cannot be written; committed rows are kept. `open_session` is for tests.
    """
    start = time.perf_counter()
    known = store.keys()
    todo = [job for job in jobs if job.key not in known]
    summary = Summary(planned=len(jobs), skipped=len(jobs) - len(todo))
    listener.started(len(jobs), summary.skipped)
    if todo:
        _Pipeline(todo, store, campaign, listener, summary, open_session).run()
    summary.seconds = time.perf_counter() - start
    return summary


class _Pipeline:
    """Connects converter, builder and stations for one run."""

    def __init__(
        self,
        jobs: Sequence[Job],
        store: Store,
        campaign: str | None,
        listener: Listener,
        summary: Summary,
        open_session: Callable[[Station], Session] | None,
    ) -> None:
        self.jobs = jobs
        self.store = store
        self.campaign = campaign
        self.listener = listener
        self.summary = summary
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.stations = {job.station.name: job.station for job in jobs}
        self.places = Counter(dict.fromkeys(self.stations, 1))  # that still work, by station
        if open_session is None:
            self.places = count_places(job.station for job in jobs)
        self.apart = open_session is None and self.places.total() > 1
        self.open_session = open_session or opener(apart=self.apart)
        self.queues: dict[str, queue.Queue[tuple[Job, Future[Built]] | None]] = {
            name: queue.Queue(maxsize=_LOOKAHEAD + count) for name, count in self.places.items()
        }

    def run(self) -> None:
        """Run every job; raise the failure that ended the run early, if there is one."""
        with (
            Converter() as converter,
            ThreadPoolExecutor(1, thread_name_prefix="build") as builder,
            ThreadPoolExecutor(self.places.total(), thread_name_prefix="station") as benches,
        ):
            try:
                served = [
                    benches.submit(self._serve, self.stations[name])
                    for name in self.places.elements()
                ]
                for future in served:
                    future.add_done_callback(self._stop_if_failed)
                self._feed(converter, builder)
                for name in self.queues:
                    self._put(name, None)  # passed on from one place of the station to the next
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

    def _feed(self, converter: Converter, builder: ThreadPoolExecutor) -> None:
        # One conversion serves all kernels, flags and stations that measure the same network.
        prepared: dict[object, Future[Prepared]] = {}
        remaining = Counter(_network(job) for job in self.jobs)
        for index, job in enumerate(self.jobs):
            if self.stop.is_set():
                return
            for other in self.jobs[index : index + _LOOKAHEAD]:
                if _network(other) not in prepared:
                    prepared[_network(other)] = converter.submit(other.spec)
            built = builder.submit(self._build, converter, job, prepared[_network(job)])
            self._put(job.station.name, (job, built))
            remaining[_network(job)] -= 1
            if not remaining[_network(job)]:
                del prepared[_network(job)]

    def _put(self, station: str, item: tuple[Job, Future[Built]] | None) -> None:
        while not self.stop.is_set():
            try:
                self.queues[station].put(item, timeout=_POLL_S)
                return
            except queue.Full:
                continue

    def _items(self, station: Station) -> Iterator[tuple[Job, Future[Built]]]:
        """Yield a station's jobs until there are no more or the run is stopped."""
        while not self.stop.is_set():
            try:
                item = self.queues[station.name].get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if item is None:
                self.queues[station.name].put(None)
                return
            yield item

    def _build(self, converter: Converter, job: Job, prepared: Future[Prepared]) -> Built:
        if self.stop.is_set():
            raise _StoppedError
        return build_job(job, converter.result(job.spec, prepared))

    def _serve(self, station: Station) -> None:
        items = self._items(station)
        holder = _Holder(lambda: self.open_session(station))
        if self.apart and divisible(station):
            holder.session()  # its process starts while the first networks are written
        failed_in_a_row = 0
        try:
            for job, future in items:
                failure = None
                try:
                    row = self._measure(job, future.result(), holder)
                    failed_in_a_row = 0
                except _StoppedError:
                    return
                except ToolchainMissing:
                    raise
                except BenchError as failed:
                    self._station_out(station, failed, items, left=1)
                    return
                except HarnessError as failed:
                    if self.stop.is_set():
                        return  # the interrupt may have ended the compiler: no verdict on the job
                    row, failure = failed_row(job, failed, campaign=self.campaign), failed
                    if policy_for(failed).counts_against_station:
                        failed_in_a_row += 1
                self._commit(job, row, failure)
                if failure is not None and failed_in_a_row == DISABLE_AFTER:
                    disabled = disable(station, failure)
                    self._station_out(station, disabled, items, left=0)
                    return
        finally:
            holder.close()

    def _measure(self, job: Job, built: Built, holder: _Holder) -> Measurement:
        """Run a built job, repeatedly if its failure may be temporary."""
        earlier = ""
        attempt = 1
        while True:
            try:
                row = run_job(built, holder.session(), campaign=self.campaign)
            except HarnessError as failure:
                holder.drop_broken()
                if attempt >= policy_for(failure).attempts or self.stop.is_set():
                    raise
                earlier += f"(attempt {attempt}, error[{failure.code}]: {failure.what})\n"
                _LOG.warning("%s: trying again after %s", job.label, failure.what)
                with self.lock:
                    self.summary.retries[failure.code] += 1
                if self.stop.wait(pause_s(failure, attempt)):
                    raise
                attempt += 1
            else:
                return replace(row, raw_log=f"{earlier}{row.raw_log or ''}") if earlier else row

    def _commit(self, job: Job, row: Measurement, failure: HarnessError | None) -> None:
        start = time.perf_counter()
        self.store.add(row)
        stored = time.perf_counter() - start
        with self.lock:
            self.summary.statuses[row.status.value] += 1
            for stage, seconds in {**row.stage_seconds, "store": stored}.items():
                self.summary.stage_seconds[stage] += seconds
            self.listener.finished(job, row, failure)

    def _station_out(
        self,
        station: Station,
        failure: HarnessError,
        items: Iterator[tuple[Job, Future[Built]]],
        left: int,
    ) -> None:
        """Give up a place; the last one of a station takes the station's other jobs."""
        with self.lock:
            self.places[station.name] -= 1
            last = not self.places[station.name]
        if last:  # `_feed` must not wait for the station
            left += sum(1 for _ in items)
        with self.lock:
            self.summary.not_run += left
            self.summary.bench_failure = self.summary.bench_failure or failure
            self.listener.station_failed(station, failure, left)


class _Holder:
    """A station's session: opened when needed, and reopened after it broke."""

    def __init__(self, open_session: Callable[[], Session]) -> None:
        self._open = open_session
        self._session: Session | None = None

    def session(self) -> Session:
        """Return the session, opened."""
        if self._session is None:
            self._session = self._open()
        return self._session

    def drop_broken(self) -> None:
        """Close the session if it cannot be used any more."""
        if self._session is not None and self._session.broken:
            self.close()

    def close(self) -> None:
        """Give the station back."""
        if self._session is not None:
            session, self._session = self._session, None
            session.close()


def _network(job: Job) -> object:
    spec = job.spec
    return (spec.architecture, spec.seed, spec.sha256)
