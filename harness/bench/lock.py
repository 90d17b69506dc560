"""One user at a time of a station."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import re
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.bench.labgrid import held_place
from harness.bench.station import Station
from harness.errors import BenchError, StationLocked

ENVIRONMENT = "HARNESS_LOCKS"
_NAME = "tinyml-harness"
_USUAL = Path("/run/lock")

_own: dict[str, dict[str, Any]] = {}  # virtual boards in use in this process, with their holder
_own_lock = threading.Lock()


@contextlib.contextmanager
def station_lock(station: Station) -> Iterator[None]:
    """Hold a station for the length of the block.

    A real one is locked by its probe for every process of this host, of whichever user, so that two
    bench files cannot hand out one board twice; each process has its own virtual boards. The lock
    is the operating system's: it is free when its holder is killed. Raises `StationLocked` if the
    station is in use (says by whom since when), `BenchError` if the folder of locks is not safe.
    """
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {"pid": os.getpid(), "user": _user(), "command": " ".join(sys.argv), "since": since}
    hold = _hold_own if station.virtual else _hold_file
    with hold(station, holder), held_place(station):
        yield


@contextlib.contextmanager
def _hold_own(station: Station, holder: dict[str, Any]) -> Iterator[None]:
    name = station.probe.removesuffix("#1")
    with _own_lock:
        if name in _own:
            raise _locked(station, json.dumps(_own[name]))
        _own[name] = holder
    try:
        yield
    finally:
        with _own_lock:
            del _own[name]


@contextlib.contextmanager
def _hold_file(station: Station, holder: dict[str, Any]) -> Iterator[None]:
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", station.probe)
    # Never truncated on open: the content names the holder to the next who wants the station.
    with os.fdopen(_open_file(lock_folder() / f"{name}.lock"), "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _locked(station, file.read()) from None
        file.truncate(0)
        file.write(json.dumps(holder))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
            fcntl.flock(file, fcntl.LOCK_UN)


def lock_folder() -> Path:
    """Return the folder of locks that all users of this host share, made where it is missing.

    ``$HARNESS_LOCKS``, else in ``/run/lock``, else in ``/tmp``. Raises `BenchError` if it is no
    folder that others cannot replace.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        folder = Path(named).expanduser()
        folder.parent.mkdir(parents=True, exist_ok=True)
    else:
        # Not $TMPDIR, which may be a user's own.
        usual = (_USUAL, Path("/tmp"), Path(tempfile.gettempdir()))
        folder = next((one for one in usual if os.access(one, os.W_OK)), usual[-1]) / _NAME
    try:
        folder.mkdir(exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            folder.chmod(0o1777)  # past the umask: every user may lock, none replaces a file
    except OSError as failure:
        raise _unsafe(folder, f"cannot be used: {failure.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise _unsafe(folder, "is a link or a file")
    return folder


def _open_file(path: Path) -> int:
    """Open a lock file for reading and writing; never through a link."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        try:
            # Without O_CREAT first: Linux refuses it for another user's file in a sticky folder.
            file = os.open(path, flags)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
                os.fchmod(file, 0o666)
                return file
            file = os.open(path, flags)  # another process was quicker
    except OSError as failure:
        raise _unsafe(path, f"cannot be opened: {failure.strerror}") from None
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(file)
        raise _unsafe(path, "is not an ordinary file")
    return file


def _unsafe(path: Path, what: str) -> BenchError:
    return BenchError(
        f"the station's lock {path} {what}",
        expected="a folder of lock files that all users of this host may write",
        fix=f"remove it, or name another folder with {ENVIRONMENT}; all users need the same one",
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def _locked(station: Station, content: str) -> StationLocked:
    try:
        holder = json.loads(content)
        pid, command, since = int(holder["pid"]), str(holder["command"]), str(holder["since"])
        user = str(holder["user"])
    except (ValueError, KeyError, TypeError):
        # The holder has not written its name yet, or is just leaving.
        pid, command, since, user = 0, "unknown", "just now", "unknown"
    who = f"process {pid} of {user} ({command})"
    if pid == os.getpid():
        who = "another thread of this process"
    return StationLocked(
        f"station '{station.name}' is used by {who} since {since}",
        where=f"probe {station.probe}",
        fix="wait for it (--wait), stop it, or name another station",
        station=station.name,
        pid=pid,
        user=user,
        command=command,
        since=since,
    )
