"""Hand out jobs to the stations that fit them, and take back what a station could not do.

All of it is called from several threads: one that builds ahead, and one for each place.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import takewhile

from harness.bench import Station
from harness.campaign.measure import Built
from harness.campaign.needs import Needs
from harness.campaign.places import Report
from harness.campaign.plan import Job

LOOKAHEAD = 4
"""Jobs that are built ahead for each pool, besides one for each place."""

_POLL_S = 0.2  # poll interval for the stop flag


@dataclass(slots=True, eq=False)
class Item:
    """A job on its way to a station.

    Attributes:
        job: The job.
        built: Its firmware, perhaps still being built.
        report: How it failed on another station; None if it did not.
        tried: That station, which does not get the job again.
    """

    job: Job
    built: Future[Built]
    report: Report | None = None
    tried: str | None = None


@dataclass(slots=True)
class _Queue:
    """Jobs with the same needs."""

    planned: deque[tuple[int, Job]] = field(default_factory=deque)  # with their place in the plan
    ready: deque[Item] = field(default_factory=deque)
    taken: int = 0  # by places that work on them
    serving: Counter[str] = field(default_factory=Counter)  # places that still work, by station

    def room(self) -> bool:
        return len(self.ready) < LOOKAHEAD + self.serving.total()

    def next_for(self, station: str) -> Item | None:
        return next((item for item in self.ready if item.tried != station), None)


def _is_over(own: Sequence[_Queue]) -> bool:
    """Return whether nothing more will come: what others work on may yet come back."""
    return not any(q.planned or q.taken for q in own)


class Pool:
    """The jobs of a run.

    Args:
        jobs: In the order to build them in.
        serving: Number of places by station, for each of the jobs' needs.
        stop: Ends every wait when set.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        serving: Mapping[Needs, Mapping[str, int]],
        stop: threading.Event,
    ) -> None:
        self._changed = threading.Condition()
        self._line: dict[object, Station] = {}  # places that wait for a job, first come first
        self._stop = stop
        self._queues = {needs: _Queue(serving=Counter(count)) for needs, count in serving.items()}
        for index, job in enumerate(jobs):
            self._queues[job.needs].planned.append((index, job))

    # For who builds.

    def upcoming(self) -> list[Job]:
        """Wait for a queue with room; return what to build next, and what to convert ahead.

        Empty once everything is being built, or the run is stopped.
        """
        with self._changed:
            while not self._stop.is_set() and any(q.planned for q in self._queues.values()):
                found = [
                    planned
                    for q in self._queues.values()
                    if q.room()
                    for planned in list(q.planned)[:LOOKAHEAD]
                ]
                if found:
                    found.sort(key=lambda planned: planned[0])
                    return [job for _, job in found[:LOOKAHEAD]]
                self._changed.wait(_POLL_S)
        return []

    def put(self, job: Job, built: Future[Built]) -> None:
        """Queue a planned job whose firmware is being built."""
        with self._changed:
            q = self._queues[job.needs]
            if q.planned and q.planned[0][1] is job:  # else the last station has left since
                q.planned.popleft()
                q.ready.append(Item(job, built))
                self._changed.notify_all()

    # For a place.

    def wait(self, station: Station) -> bool:
        """Wait until there is a job for a station; False when there will be none."""
        own = self._of(station)
        with self._changed:
            while not self._stop.is_set():
                if any(q.next_for(station.name) for q in own):
                    return True
                if _is_over(own):
                    return False
                self._changed.wait(_POLL_S)
        return False

    def take(self, station: Station) -> Item | None:
        """Wait for the next job for a station and take it; None when there will be none.

        Places are served in the order in which they came, so that equal stations do equal shares.
        """
        own, turn = self._of(station), object()
        with self._changed:
            self._line[turn] = station
            try:
                while not self._stop.is_set():
                    for q in own:
                        item = q.next_for(station.name)
                        if item is not None and len(q.ready) > self._before(turn, q):
                            q.ready.remove(item)
                            q.taken += 1
                            return item
                    if _is_over(own):
                        return None
                    self._changed.wait(_POLL_S)
            finally:
                del self._line[turn]
                self._changed.notify_all()
        return None

    def _before(self, turn: object, q: _Queue) -> int:
        """Return how many places that came earlier can take a job of a queue."""
        earlier = takewhile(lambda other: other is not turn, self._line)
        names = (self._line[other].name for other in earlier)
        return sum(1 for name in names if q.serving[name] and q.next_for(name))

    def _of(self, station: Station) -> list[_Queue]:
        return [q for q in self._queues.values() if station.name in q.serving]

    def done(self, item: Item) -> None:
        """Forget a job that was taken: it is done."""
        with self._changed:
            self._queues[item.job.needs].taken -= 1
            self._changed.notify_all()

    def give_back(self, item: Item) -> None:
        """Queue a job again that was taken and not done."""
        with self._changed:
            q = self._queues[item.job.needs]
            q.taken -= 1
            q.ready.appendleft(item)
            self._changed.notify_all()

    def pass_on(self, item: Item, station: Station, report: Report) -> bool:
        """Let another station try a job once that failed on this one; False if there is none."""
        with self._changed:
            q = self._queues[item.job.needs]
            if item.report is not None or not any(name != station.name for name in +q.serving):
                return False
            item.report, item.tried = report, station.name
        self.give_back(item)
        return True

    def leave(self, station: Station) -> list[Item | Job]:
        """Give up a place; return the jobs that no other place can take."""
        orphans: list[Item | Job] = []
        with self._changed:
            for q in self._of(station):
                q.serving[station.name] -= 1
                left = +q.serving
                lost = [item for item in q.ready if not left.keys() - {item.tried}]
                q.ready = deque(item for item in q.ready if left.keys() - {item.tried})
                orphans += lost
                if not left:
                    orphans += [job for _, job in q.planned]
                    q.planned.clear()
            self._changed.notify_all()
        return orphans
