"""A campaign's side of a farm: its stations as places of a run, its builders as the run's builder.

The run's own pool decides which station gets which job, as on one machine; a job goes to the worker
of that station and nowhere else. What a lost worker had in hand goes back to the pool, and a
station whose worker comes back, on whatever port, takes jobs again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import Future as LocalFuture
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import dask
from distributed import Client, Future
from distributed.scheduler import KilledWorker

from harness.bench import Bench, Station
from harness.campaign.needs import Needs
from harness.campaign.places import Report
from harness.campaign.plan import Job
from harness.campaign.rows import failed_row
from harness.errors import (
    BenchError,
    BuildError,
    FarmError,
    HarnessError,
    StationAway,
    StationDisabled,
)
from harness.farm import tasks
from harness.farm.security import check_address, security
from harness.farm.worker import BUILDER, STATION

_Result = TypeVar("_Result")
_CONNECT_S = 5.0
_JOIN_S = 15.0
_REFRESH_S = 1.0  # age of what is known of the workers
_POLL_S = 0.5
_FETCH_S = 30.0  # for a report, which a worker keeps until it was fetched


class Farm:
    """A connection to a scheduler, made anew when it is lost.

    Args:
        address: Of the scheduler.
        tls: Folder with this host's certificate; None on loopback.
    """

    def __init__(self, address: str, tls: Path | None = None) -> None:
        self.address = check_address(address, tls)
        self._security = security(tls)
        self._lock = threading.RLock()
        self._client: Client | None = None
        self._workers: dict[str, dict[str, Any]] = {}
        self._seen = 0.0

    def __enter__(self) -> Farm:
        self.client()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._hang_up()

    def client(self) -> Client:
        """Return a connected client.

        Raises:
            FarmError: There is no scheduler at the address, or it does not accept this host.
        """
        with self._lock:
            if self._client is not None and self._client.status == "running":
                return self._client
            self._hang_up()
            self._workers, self._seen = {}, 0.0
            try:
                # Reconnecting by itself it would come back without what it was waiting for.
                with dask.config.set({"distributed.comm.retry.count": 0}):
                    self._client = Client(
                        self.address,
                        security=self._security,
                        timeout=_CONNECT_S,
                        set_as_default=False,
                        name="harness",
                    )
            except (OSError, TimeoutError, ValueError) as failure:
                raise FarmError(
                    f"no farm answers at {self.address}: {failure}",
                    fix="start one with `harness farm scheduler`, or check address and "
                    "certificates",
                ) from None
            return self._client

    def _hang_up(self) -> None:
        if self._client is not None:
            # There is nobody to say goodbye to where the scheduler was killed.
            with contextlib.suppress(TimeoutError, OSError, RuntimeError):
                self._client.close(timeout=1)
            self._client = None

    def workers(self) -> Mapping[str, dict[str, Any]]:
        """Return what the scheduler knows of each worker, by the worker's name.

        Raises:
            FarmError: The scheduler is gone.
        """
        with self._lock:
            client = self.client()
            if time.monotonic() - self._seen > _REFRESH_S:
                try:
                    info = client.scheduler_info()
                except (OSError, TimeoutError, RuntimeError) as failure:
                    raise FarmError(f"the scheduler at {self.address} is gone: {failure}") from None
                self._workers = {
                    str(facts["name"]): {**facts, "address": address}
                    for address, facts in info["workers"].items()
                }
                self._seen = time.monotonic()
            return self._workers

    def bench(self) -> Bench:
        """Return the farm's stations, each called ``HOST.STATION``.

        Workers need some seconds to find a scheduler that was just started, and are waited for.

        Raises:
            FarmError: The farm has no station.
        """
        deadline = time.monotonic() + _JOIN_S
        while not (found := self._stations()) and time.monotonic() < deadline:
            time.sleep(_REFRESH_S)
        if not found:
            raise FarmError(
                f"the farm at {self.address} has no stations",
                fix="start `harness farm worker` on a host that has boards",
            )
        return Bench(stations=tuple(sorted(found, key=lambda one: one.name)), path=self.address)

    def _stations(self) -> list[Station]:
        workers = self.workers().values()
        return [Station.model_validate(one[STATION]) for one in workers if one.get(STATION)]

    def status(self) -> list[tuple[object, ...]]:
        """Return a row for each worker: name, board, source, tags, address, busy, seconds."""
        rows: list[tuple[object, ...]] = []
        for name, facts in sorted(self.workers().items()):
            station = facts.get(STATION) or {}
            rows.append(
                (
                    name,
                    station.get("board", ""),
                    Station.model_validate(station).source if station else "builder",
                    ", ".join(station.get("tags", ())),
                    facts["address"],
                    facts.get("metrics", {}).get("executing", 0),
                    round(max(0.0, time.time() - facts["last_seen"]), 1),
                )
            )
        return rows

    def has_builder(self) -> bool:
        """Return whether a worker builds firmware."""
        return any(BUILDER in facts.get("resources", {}) for facts in self.workers().values())


@dataclass(eq=False)
class _Build:
    """A job's firmware on the farm; built once more where a scheduler took it along."""

    job: Job
    content: bytes | None
    client: Client | None = None
    parcel: Future | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def on(self, client: Client) -> Future:
        """Return the future of the parcel on this connection."""
        with self.lock:
            if self.parcel is None or self.client is not client or self.parcel.cancelled():
                self.client = client
                self.parcel = client.submit(
                    tasks.build, self.job, self.content, resources={BUILDER: 1}, pure=False
                )
            return self.parcel


class FarmCrew:
    """Builds and measures the jobs of a run on a farm; see `harness.campaign.crew.Crew`.

    Args:
        farm: The farm.
        bench: Its stations that may be used; None for all that it has then.
    """

    patience_s = 120.0  # others take the jobs meanwhile

    def __init__(self, farm: Farm, bench: Bench | None = None) -> None:
        self.stopping = threading.Event()
        self._farm, self._bench = farm, bench

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()

    def count(self, jobs: Sequence[Job]) -> Mapping[Needs, Mapping[Station, int]]:
        """Return one place for each station that fits a job's needs."""
        bench = self._bench or self._farm.bench()
        if not self._farm.has_builder():
            raise FarmError(
                f"no worker of the farm at {self._farm.address} builds firmware",
                fix="start `harness farm worker` with --builders 1 on a host with a compiler",
            )
        return {
            needs: dict.fromkeys(needs.find(bench), 1)
            for needs in dict.fromkeys(job.needs for job in jobs)
        }

    def place(self, station: Station) -> FarmPlace:
        """Return the place of a station."""
        return FarmPlace(station, self._farm, self.stopping)

    def build(self, jobs: Sequence[Job], check: Callable[[Job], None]) -> LocalFuture[Any]:
        """Start building the first job on the farm; see `harness.campaign.crew.Crew`."""
        job = jobs[0]
        content = job.spec.path.read_bytes() if job.spec.path is not None else None
        build, told = _Build(job, content), LocalFuture[Any]()

        def done(parcel: Future) -> None:
            failure = parcel.exception() if parcel.status == "error" else None
            if isinstance(failure, KilledWorker):
                failure = BuildError(
                    f"the worker that builds died, each time that it built {job.spec.name}",
                    fix="look at that host's memory and at the output of `harness farm worker`",
                )
            if failure is not None:
                told.set_exception(failure)
            else:
                told.set_result(build)  # lost ones are built again when they are needed

        try:
            check(job)
            build.on(self._farm.client()).add_done_callback(done)
        except FarmError:
            told.set_result(build)  # no scheduler just now
        except Exception as failure:
            told.set_exception(failure)
        return told


class FarmPlace:
    """A place on a station of a farm; see `harness.campaign.places.Place`."""

    def __init__(self, station: Station, farm: Farm, stop: threading.Event) -> None:
        self.station = station
        self._farm, self._stop = farm, stop
        self._ready: str | None = None  # address of the worker whose station is open

    def start(self) -> None:
        """Nothing: workers run already."""

    def open(self) -> None:
        """Get the station ready, unless it is.

        Raises:
            StationAway: Its worker, or the scheduler, is not there now.
            BenchError: The station is not ready.
        """
        address = self._address()
        if address != self._ready:
            self._call(address, tasks.get_ready)
            self._ready = address

    def measure(self, built: Any, *, campaign: str | None) -> Report:
        """Measure a job; raises as `open`."""
        address = self._address()
        try:
            report: Report = self._call(address, tasks.measure, built, campaign)
        except (BenchError, FarmError):
            self._ready = None
            raise
        except HarnessError as failure:  # built once more, and not as before
            return Report(failed_row(built.job, failure, None, campaign=campaign), failure)
        return report

    def disable(self, failure: HarnessError) -> StationDisabled:
        """Disable the station on its host; return the error that says so."""
        try:
            return self._call(self._address(), tasks.disable, failure)
        except StationAway as away:
            return StationDisabled(f"{away.what}, after {failure.what}", station=self.station.name)

    def close(self) -> None:
        """Nothing: the worker gives the station back when no more jobs come."""

    def _address(self) -> str:
        try:
            facts = self._farm.workers().get(self.station.name)
        except FarmError as failure:
            raise StationAway(failure.what, station=self.station.name) from None
        if facts is None:
            raise StationAway(
                f"the worker of station '{self.station.name}' is not there",
                where=self._farm.address,
                fix="look at that host, and at the output of `harness farm worker` there",
                station=self.station.name,
            )
        return str(facts["address"])

    def _call(self, address: str, function: Callable[..., _Result], *arguments: Any) -> _Result:
        try:
            client = self._farm.client()
            given = [one.on(client) if isinstance(one, _Build) else one for one in arguments]
            future = client.submit(
                function, *given, workers=[address], resources={STATION: 1}, pure=False
            )
        except FarmError as failure:
            raise StationAway(failure.what, station=self.station.name) from None
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        try:
            while not self._stop.is_set():
                if done.wait(_POLL_S):
                    result: _Result = future.result(timeout=_FETCH_S)
                    return result
                if self._address() != address:  # started again meanwhile
                    break
        except HarnessError:
            raise
        # NameError: Dask stumbles over a result that is cancelled while it is fetched.
        except (CancelledError, KilledWorker, NameError, OSError, RuntimeError) as failure:
            raise StationAway(
                f"station '{self.station.name}' was lost: {failure}", station=self.station.name
            ) from None
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            future.cancel()  # nobody waits for it any more
        raise StationAway(
            f"the worker of station '{self.station.name}' ended", station=self.station.name
        )
