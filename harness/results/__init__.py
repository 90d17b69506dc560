"""Measurements: the record and the store, which loads only when it is opened."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from harness.errors import ConfigError
from harness.paths import state_dir

if TYPE_CHECKING:
    from pathlib import Path

    from harness.results.store import Store


def open_store(url: str | Path, *, create: bool = True) -> Store:
    """Open a results store; see `harness.results.store.Store.open`.

    With `create` it is open for writing: it rides out outages of a server, of at most
    ``HARNESS_STORE_WAIT`` seconds [150], and delivers what an earlier run had to keep. Raises
    `ConfigError` if that is no number of seconds.
    """
    from harness.results.store import Store

    if not create:
        return Store.open(url, create=False)
    return Store.open(url, spool=state_dir() / "spool", wait_s=_wait_s())


def _wait_s() -> float:
    text = os.environ.get("HARNESS_STORE_WAIT", "").strip() or "150"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigError(
            f"HARNESS_STORE_WAIT is '{text}'",
            expected="seconds to wait for a database server that is away, such as 150",
        )
    return seconds
