"""Who builds and measures the jobs of a run: this machine, or (`harness.farm`) many."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, Self

from harness.bench import Bench, Station
from harness.campaign.converter import Converter
from harness.campaign.measure import Built, Session, build_job
from harness.campaign.needs import Needs
from harness.campaign.places import Place, StationPlace, count_places, divisible, opener
from harness.campaign.plan import Job
from harness.campaign.pool import LOOKAHEAD
from harness.campaign.prepare import Prepared

_KEPT = 4 * LOOKAHEAD  # networks in memory; others are read from the cache again


class Crew(Protocol):
    """Builds jobs, and has places that measure them; a context of one run."""

    @property
    def stopping(self) -> threading.Event:
        """Ends every wait of the run when set."""

    @property
    def patience_s(self) -> float:
        """How long a run waits for a station that is away, whatever it waits for busy ones."""

    def count(self, jobs: Sequence[Job]) -> Mapping[Needs, Mapping[Station, int]]:
        """Return the number of places by station, for each of the jobs' needs.

        Raises `BenchError` if no station fits a job.
        """

    def place(self, station: Station) -> Place:
        """Return a place on a station."""

    def build(self, jobs: Sequence[Job], check: Callable[[Job], None]) -> Future[Any]:
        """Start building the first of the jobs, the others being next; the result is for a place.

        `check` is called with the job before it is built, and raises what the future is to raise.
        """

    def __enter__(self) -> Self:
        """Get ready to build."""

    def __exit__(self, *_: object) -> None:
        """Give up what was not built."""


class LocalCrew:
    """One worker process prepares networks, one thread builds, and stations are this machine's.

    Args:
        bench: The stations.
        open_session: For tests.
    """

    patience_s = 0.0

    def __init__(
        self, bench: Bench, open_session: Callable[[Station], Session] | None = None
    ) -> None:
        self.stopping = threading.Event()
        self._bench = bench
        self._open_session = open_session
        self._apart = False
        # One conversion serves all kernels, flags and boards that measure the same network.
        self._prepared: OrderedDict[object, Future[Prepared]] = OrderedDict()

    def __enter__(self) -> Self:
        self._converter = Converter()
        self._builder = ThreadPoolExecutor(1, thread_name_prefix="build")
        self._converter.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._builder.shutdown()
        self._converter.__exit__()

    def count(self, jobs: Sequence[Job]) -> Mapping[Needs, Mapping[Station, int]]:
        """Return the number of places by station, for each of the jobs' needs; see `Crew`."""
        found = count_places(jobs, self._bench)
        if self._open_session is not None:
            found = {needs: dict.fromkeys(counts, 1) for needs, counts in found.items()}
        counts: dict[Station, int] = {}
        for one in found.values():
            counts |= {station: max(n, counts.get(station, 1)) for station, n in one.items()}
        self._apart = self._open_session is None and sum(counts.values()) > 1
        return {
            needs: {station: counts[station] for station in stations}
            for needs, stations in found.items()
        }

    def place(self, station: Station) -> Place:
        """Return a place on a station."""
        return StationPlace(
            station,
            self._open_session or opener(apart=self._apart),
            self.stopping,
            early=self._apart and divisible(station),
        )

    def build(self, jobs: Sequence[Job], check: Callable[[Job], None]) -> Future[Built]:
        """Start preparing the jobs and building the first; see `Crew`."""
        prepared = self._prepared
        for job in jobs:
            if _network(job) not in prepared:
                prepared[_network(job)] = self._converter.submit(job.spec)
            prepared.move_to_end(_network(job))
        while len(prepared) > _KEPT:
            prepared.popitem(last=False)
        return self._builder.submit(self._build, jobs[0], prepared[_network(jobs[0])], check)

    def _build(self, job: Job, prepared: Future[Prepared], check: Callable[[Job], None]) -> Built:
        check(job)
        return build_job(job, self._converter.result(job.spec, prepared))


def _network(job: Job) -> object:
    spec = job.spec
    return (spec.architecture, spec.seed, spec.sha256)
