"""A bench host's part of a farm: a process for each station, and one that builds.

The processes are Dask's workers, each below a nanny that starts it again when it dies. A worker
gives up when its scheduler is gone; `serve` then starts anew until there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
from distributed import Nanny, Worker

from harness.bench import Station
from harness.campaign.places import StationPlace
from harness.capture.session import BoardSession
from harness.errors import HarnessError, StationAway, StationDisabled
from harness.farm.security import security

if TYPE_CHECKING:
    from harness.campaign.measure import Built
    from harness.campaign.places import Report

_LOG = logging.getLogger(__name__)

STATION, BUILDER = "station", "builder"
"""Resources of workers: one job at a time on a station, as many builds as a host has cores."""

_DRAIN_S = 600.0  # the longest that a job in hand may take when a host leaves
_IDLE_S = 20.0  # an unused station is free for others of its host after this
_AGAIN_S = 2.0  # pause before the next attempt to find a scheduler

# The profiler would interrupt an emulated board a hundred times a second.
_SETTINGS = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.use-file-locking": False,
    "distributed.comm.timeouts.connect": "10s",
}


class StationWorker(Worker):
    """The worker of one station: holds its session while jobs come, and gives it back then.

    Args:
        station: Facts of the station, as `Station.model_dump` gives them.
    """

    def __init__(self, *arguments: Any, station: dict[str, Any], **options: Any) -> None:
        self.station = Station.model_validate(station)
        self._place = StationPlace(self.station, BoardSession.open, threading.Event())
        self._using = threading.Lock()
        self._used = time.monotonic()
        self._draining = False
        told = {STATION: lambda _: self.station.model_dump(mode="json")}
        super().__init__(*arguments, startup_information=told, **options)
        self.handlers["drain"] = self.drain

    async def start_unsafe(self) -> Any:
        """Start, and look now and then whether the station is still used."""
        await super().start_unsafe()
        self._ongoing_background_tasks.call_soon(self._give_back)
        return self

    def measure(self, built: Built, campaign: str | None) -> Report:
        """Measure a job; in a thread of the worker."""
        with self._in_use():
            return self._place.measure(built, campaign=campaign)

    def get_ready(self) -> None:
        """Open the station; in a thread of the worker."""
        with self._in_use():
            self._place.open()

    def disable(self, failure: HarnessError) -> StationDisabled:
        """Disable the station on this host; in a thread of the worker."""
        with self._in_use():
            self._place.close()
            return self._place.disable(failure)

    async def drain(self) -> str:
        """Take no more jobs; return once the last one is done and its result was fetched."""
        self._draining = True
        while self._using.locked() or self.state.tasks:
            await asyncio.sleep(0.1)
        return "OK"

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        with self._using:
            if self._draining:
                raise StationAway(f"the worker of station '{self.station.name}' is ending")
            try:
                yield
            finally:
                self._used = time.monotonic()

    async def _give_back(self) -> None:
        while True:
            await asyncio.sleep(_IDLE_S / 4)
            if time.monotonic() - self._used > _IDLE_S and self._using.acquire(blocking=False):
                try:
                    self._place.close()
                finally:
                    self._using.release()


@dataclass(frozen=True, slots=True)
class Host:
    """What a host brings to a farm.

    Attributes:
        name: Its name there; stations are called ``NAME.STATION``.
        stations: Its stations.
        builders: Builds at a time; 0 where it has no compiler.
    """

    name: str
    stations: Sequence[Station]
    builders: int


async def serve(host: Host, scheduler: str, tls: Path | None, ready: Callable[[], None]) -> None:
    """Run the workers of a host until SIGTERM or SIGINT, which let the jobs in hand finish.

    Args:
        host: What the host brings.
        scheduler: Address.
        tls: Folder with the host's certificate; None on loopback.
        ready: Called once all workers are known to the scheduler.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    dask.config.set(_SETTINGS)
    workers = [_Process(host.name, one.name, 1, STATION, one) for one in host.stations]
    if host.builders:
        workers.append(_Process(host.name, BUILDER, host.builders, BUILDER, None))
    keepers = [asyncio.create_task(one.keep(scheduler, tls, stop)) for one in workers]
    for one in workers:
        await one.known.wait()
    ready()
    await asyncio.gather(*keepers)


class _Process:
    """A worker's process, kept alive and connected."""

    def __init__(
        self, host: str, name: str, threads: int, resource: str, station: Station | None
    ) -> None:
        self.name = f"{host}.{name}"
        self.known = asyncio.Event()  # connected, or not any more to be
        self._threads, self._resource = threads, resource
        # On the farm a station is called by this name.
        self._station = station and station.model_copy(update={"name": self.name})

    async def keep(self, scheduler: str, tls: Path | None, stop: asyncio.Event) -> None:
        """Run the worker, again whenever it or its scheduler is gone, until `stop` is set."""
        while not stop.is_set():
            nanny = self._nanny(scheduler, tls)
            try:
                await _unless(stop, nanny.start())
            except (TimeoutError, OSError, RuntimeError) as failure:
                _LOG.warning("%s: no scheduler at %s yet (%s)", self.name, scheduler, failure)
            else:
                self.known.set()
                await _unless(stop, nanny.finished())
            if stop.is_set():
                await self._drain(nanny)
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await nanny.close()
            await _unless(stop, asyncio.sleep(_AGAIN_S))
        self.known.set()

    def _nanny(self, scheduler: str, tls: Path | None) -> Nanny:
        station = self._station
        options: dict[str, Any] = {} if station is None else {"station": station.model_dump()}
        return Nanny(
            scheduler,
            name=self.name,
            nthreads=self._threads,
            resources={self._resource: float(self._threads)},
            memory_limit=0,
            security=security(tls),
            worker_class=Worker if station is None else StationWorker,
            config=_SETTINGS,
            silence_logs=logging.ERROR,
            **options,
        )

    async def _drain(self, nanny: Nanny) -> None:
        if self._station is None or nanny.worker_address is None:
            return
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(nanny.rpc(nanny.worker_address).drain(), _DRAIN_S)


async def _unless(stop: asyncio.Event, other: Coroutine[Any, Any, Any]) -> None:
    """Wait for something, or for `stop`; raise what it raises."""
    task, stopped = asyncio.ensure_future(other), asyncio.ensure_future(stop.wait())
    done, _ = await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task in done:
        task.result()
    else:
        task.cancel()
