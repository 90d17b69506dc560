"""One user at a time of a station."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from harness.bench.station import Station
from harness.errors import StationLocked
from harness.paths import cache_dir


@contextlib.contextmanager
def station_lock(station: Station) -> Iterator[None]:
    """Hold a station for the length of the block.

    A real one is locked for other processes too, by its probe, so that two bench files cannot hand
    out one board twice; each process has its own virtual boards. The lock is the operating
    system's: it is free when its holder is killed. Raises `StationLocked` if the station is in use;
    says by which process since when.
    """
    folder = cache_dir() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    emulated = station.virtual
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", station.probe) + (f"-{os.getpid()}" if emulated else "")
    path = folder / f"{name}.lock"
    # Never truncated on open: the content names the holder to the next who wants the station.
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _locked(station, file.read()) from None
        since = datetime.now(UTC).isoformat(timespec="seconds")
        holder = {"pid": os.getpid(), "command": " ".join(sys.argv), "since": since}
        file.truncate(0)
        file.write(json.dumps(holder))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
            if emulated:
                path.unlink(missing_ok=True)
            fcntl.flock(file, fcntl.LOCK_UN)


def _locked(station: Station, content: str) -> StationLocked:
    try:
        holder = json.loads(content)
        pid, command, since = int(holder["pid"]), str(holder["command"]), str(holder["since"])
    except (ValueError, KeyError, TypeError):
        # The holder has not written its name yet, or is just leaving.
        pid, command, since = 0, "unknown", "just now"
    who = "another thread of this process" if pid == os.getpid() else f"process {pid} ({command})"
    return StationLocked(
        f"station '{station.name}' is used by {who} since {since}",
        where=f"probe {station.probe}",
        fix="wait for it to end, stop it, or name another station",
        station=station.name,
        pid=pid,
        command=command,
        since=since,
    )
