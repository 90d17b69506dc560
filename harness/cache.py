"""The cache of what can be made again: what it holds, and its bound.

What was used longest ago is removed first. A build in progress keeps its project folder (it holds
the folder's lock), and while any process uses the cache, whatever was used in the last hour stays,
as an image may be waiting for its board. So the cache may exceed its bound by an hour's work.

Downloads (libraries, compiler packages) and state (flash of served boards, locks, disabled
stations) lie in the same folder and are never removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

from harness.errors import ConfigError
from harness.paths import cache_dir

KINDS = {
    "images": "images/[!.]*",
    "build folders": "build/*-[0-9]",
    "compiled objects": "platformio/objects/??/*",
    "models": "models/??/*",
    "reference outputs": "references/??/*",
    "images beside a shared runtime": "shared/[!.]*",
    "training data": "data/[!.]*",
}
"""Kinds of entries, each with the pattern of its files or folders."""

GB = 10**9
_DEFAULT_GB = 5.0
_GONE = ".gone-"
_GRACE_S = 3600.0
_EVERY_S = 600.0


class Size(NamedTuple):
    """Number of entries and their bytes."""

    entries: int
    bytes: int


class Pruned(NamedTuple):
    """What was removed, and what was to be but is in use."""

    removed: Size
    in_use: Size


class _Entry(NamedTuple):
    used: float  # time of the last use
    path: Path
    bytes: int


def bound_bytes() -> int:
    """Return the bound of the cache (``HARNESS_CACHE_GB``, by default 5).

    Raises:
        ConfigError: The variable is no number, or below zero.
    """
    text = os.environ.get("HARNESS_CACHE_GB") or str(_DEFAULT_GB)
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < float("inf"):
            return int(float(text) * GB)
    raise ConfigError(
        f"HARNESS_CACHE_GB is {text!r}", expected="a number of gigabytes, such as 5 or 0.5"
    )


def sizes(root: Path | None = None) -> dict[str, Size]:
    """Return what the cache holds, by kind."""
    found = {}
    for kind, pattern in KINDS.items():
        entries = list(_entries(root or cache_dir(), pattern))
        found[kind] = Size(len(entries), sum(entry.bytes for entry in entries))
    return found


def prune(most_bytes: int, root: Path | None = None) -> Pruned:
    """Remove entries, those used longest ago first, until the cache holds at most `most_bytes`.

    An entry that is in use stays. Other processes may go on using the cache meanwhile.
    """
    root = root or cache_dir()
    for left in root.glob(f"*/{_GONE}*"):  # a process was killed while it removed it
        shutil.rmtree(left, ignore_errors=True)
    found = sorted(e for pattern in KINDS.values() for e in _entries(root, pattern))
    over = sum(entry.bytes for entry in found) - most_bytes
    removed, kept = Size(0, 0), Size(0, 0)
    with _alone(root) as alone:
        oldest_kept = float("inf") if alone else time.time() - _GRACE_S
        for entry in found:
            if removed.bytes >= over:
                break
            if entry.used < oldest_kept and _remove(entry.path):
                removed = Size(removed.entries + 1, removed.bytes + entry.bytes)
            else:
                kept = Size(kept.entries + 1, kept.bytes + entry.bytes)
    return Pruned(removed, kept)


def keep_bounded(root: Path) -> None:
    """Prune the cache to its bound, unless that was done a short while ago."""
    stamp = root / "pruned"
    with contextlib.suppress(OSError):
        if time.time() - stamp.stat().st_mtime < _EVERY_S:
            return
    with contextlib.suppress(OSError):
        stamp.touch()
        prune(bound_bytes(), root)


@lru_cache(maxsize=8)
def hold(root: Path) -> IO[str] | None:
    """Let `prune` know, until this process ends, that it uses the cache at `root`."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / "in-use.lock").open("a")
    except OSError:
        return None  # a cache that cannot be written is not pruned either
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


def touch(path: Path) -> None:
    """Note that an entry is used now."""
    with contextlib.suppress(OSError):
        os.utime(path)


def read(path: Path) -> bytes | None:
    """Return the content of an entry that is a file, or None if there is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    touch(path)
    return content


def _entries(root: Path, pattern: str) -> Iterator[_Entry]:
    for path in root.glob(pattern):
        # Another process may remove it meanwhile.
        with contextlib.suppress(OSError):
            used = path.stat().st_mtime
            if path.is_dir():
                lock = _lock_of(path)
                used = max(used, lock.stat().st_mtime if lock.exists() else 0.0)
                files = [file for file in path.rglob("*") if file.is_file()]
            else:
                files = [path]
            yield _Entry(used, path, sum(file.stat().st_size for file in files))


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[bool]:
    """Yield whether no process uses the cache; then none begins to before the block ends."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "in-use.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _remove(path: Path) -> bool:
    """Remove an entry in one step, as a reader may be about to open it; return whether it is gone.

    A build folder whose lock is held stays.
    """
    with contextlib.ExitStack() as stack:
        if (lock := _lock_of(path)).exists():
            held = stack.enter_context(lock.open("r"))
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        try:
            if not path.is_dir():
                path.unlink(missing_ok=True)
                return True
            gone = path.rename(path.with_name(f"{_GONE}{uuid.uuid4().hex}"))
        except OSError:
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True
