"""Measurements: the record and the store, which loads only when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from harness.results.store import Store


def open_store(url: str | Path, *, create: bool = True) -> Store:
    """Open a results store; see `harness.results.store.Store.open`."""
    from harness.results.store import Store

    return Store.open(url, create=create)
