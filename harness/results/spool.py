"""Keep rows on disk while a database server is away, and deliver them when it is back.

The spool is a results store of its own, a SQLite file per server, host and user. Adding a row is
idempotent, so a delivery that was cut off is simply done again, by whichever process comes next.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ResultsError
from harness.results.record import Measurement

if TYPE_CHECKING:
    from harness.results.store import Filter, Store

_LOG = logging.getLogger(__name__)

_AWAY = ("unreachable", "busy")  # reasons of `ResultsError` that pass without anybody's doing
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
_POLL_S = 0.5  # of a process that waits for another to deliver
_BUSY_S = 120.0  # longest wait for other processes that keep rows
_CHUNK = 50  # rows that are delivered before they leave the spool


def spool_file(folder: Path, address: str) -> Path:
    """Return this host's spool for the server at `address`, which has no password."""
    # By host, as hosts may share their users' folders, and SQLite no files across a network.
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    return folder / f"{platform.node() or 'host'}-{digest}.sqlite"


def is_away(failure: ResultsError) -> bool:
    """Return whether a failure is one that waiting for the server may cure."""
    return failure.data.get("reason") in _AWAY


@dataclass(slots=True)
class _Outage:
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    start: float = field(default_factory=time.monotonic)
    pause_s: float = _FIRST_PAUSE_S
    next_try: float = 0.0

    def postpone(self) -> None:
        self.next_try = time.monotonic() + self.pause_s
        self.pause_s = min(2 * self.pause_s, _LONGEST_PAUSE_S)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start


class Spool:
    """Adds rows to a server, or keeps them while it is away. Safe between threads and processes.

    Args:
        file: Where rows are kept; there is none until one must be.
        add: Adds a row to the server, as `Store.add`.
        where: The server's address, without its password.
        wait_s: Longest outage to ride out, in seconds.
    """

    def __init__(
        self, file: Path, add: Callable[[Measurement], Measurement], *, where: str, wait_s: float
    ) -> None:
        self._file, self._add, self._where, self._wait_s = file, add, where, wait_s
        self._kept: Store | None = None
        self._outage: _Outage | None = None
        self._lock = threading.RLock()

    def add(self, row: Measurement) -> Measurement:
        """Add `row` to the server, or keep it; it is on disk when this returns.

        Raises `ResultsError` where the outage lasts longer than `wait_s` (the row is kept then
        too), and for every failure that waiting does not cure.
        """
        if self._outage is None:
            try:
                return self._add(row)
            except ResultsError as failure:
                if not is_away(failure):
                    raise
                self._went_away(failure)
        stored = self._opened().add(row)
        if self._lock.acquire(blocking=False):  # one thread is enough to try
            try:
                self._retry()
            finally:
                self._lock.release()
        return stored

    def find(
        self, where: Filter, ask: Callable[[Filter], Measurement | None]
    ) -> Measurement | None:
        """Return the usable row of a job from the server, or from what is kept while it is away."""
        if self._outage is None:
            try:
                return ask(where)
            except ResultsError as failure:
                if not is_away(failure):
                    raise
                self._went_away(failure)
        return self._opened()._find(where)

    def deliver(self) -> None:
        """Deliver all that is kept; wait for the server, and raise as `add` where it stays away.

        What another process is delivering is waited for as long.
        """
        began = time.monotonic()
        while True:
            with self._lock:
                if self._retry(now=True):
                    return
                pause_s = _POLL_S
                if self._outage is not None:
                    pause_s = max(pause_s, self._outage.next_try - time.monotonic())
                elif time.monotonic() - began >= self._wait_s:
                    return
            time.sleep(pause_s)

    def close(self) -> None:
        """Close the file."""
        if self._kept is not None:
            self._kept.close()

    def _went_away(self, failure: ResultsError) -> None:
        with self._lock:
            if self._outage is None:
                self._outage = outage = _Outage()
                outage.postpone()
                _LOG.warning(
                    "the results store %s is away since %s (%s): rows are kept in %s and delivered "
                    "when it is back",
                    self._where, f"{outage.since:%H:%M:%S} UTC", _first_line(failure),
                    self._file,
                )  # fmt: skip

    def _retry(self, *, now: bool = False) -> bool:
        """Deliver what is kept, if it is time to; return whether nothing is left."""
        outage = self._outage
        if outage is not None and not now and time.monotonic() < outage.next_try:
            return False
        if self._kept is None and not self._file.is_file():
            return True
        # One process is enough: the others' rows are in the same file.
        with self._file.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            try:
                self._send(self._opened())
                return True
            except ResultsError as failure:
                if not is_away(failure):
                    raise
                self._went_away(failure)
                assert self._outage is not None
                self._outage.postpone()
                if self._outage.seconds >= self._wait_s:
                    raise self._given_up(self._outage, failure) from None
                return False

    def _send(self, kept: Store) -> None:
        """Deliver what is kept; the outage, if there was one, is over then."""
        sent = elsewhere = 0
        while rows := kept.query(limit=_CHUNK, with_log=True):
            elsewhere += sum(self._add(row) is not row for row in rows)
            kept.remove(rows)
            sent += len(rows)
        outage, self._outage = self._outage, None
        if outage is None and not sent:
            return
        told = f"{sent} rows that were kept are delivered"
        if elsewhere:
            told += f", of which {elsewhere} had been measured elsewhere meanwhile"
        back = "is reachable" if outage is None else f"is back after {outage.seconds:.0f} s"
        _LOG.warning("the results store %s %s: %s", self._where, back, told)

    def _given_up(self, outage: _Outage, failure: ResultsError) -> ResultsError:
        return ResultsError(
            f"the results store is away since {outage.since:%H:%M:%S} UTC: "
            f"{self._opened().count()} rows are kept in {self._file}",
            where=self._where,
            expected=f"a server that is back within {self._wait_s:g} s (HARNESS_STORE_WAIT)",
            fix="run the same command when it is back: it delivers them, then goes on",
            reason=failure.data.get("reason"),
            detail=failure.data.get("detail"),
        )

    def _opened(self) -> Store:
        from harness.results.store import Store

        if self._kept is None:
            with self._lock:
                self._kept = self._kept or Store.open(self._file, busy_timeout_s=_BUSY_S)
        return self._kept


def _first_line(failure: ResultsError) -> str:
    return str(failure.data.get("detail")).partition("\n")[0]
