"""Measurements: the record and the store, which loads only when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.results.record import (
    LayerCycles,
    Measurement,
    Source,
    Status,
    best_per_key,
    gap,
    summarise_cycles,
)

if TYPE_CHECKING:
    from pathlib import Path

    from harness.results.store import Store

__all__ = [
    "LayerCycles",
    "Measurement",
    "Source",
    "Status",
    "best_per_key",
    "gap",
    "open_store",
    "summarise_cycles",
]


def open_store(url: str | Path, *, create: bool = True) -> Store:
    """Open a results store; see `harness.results.store.Store.open`."""
    from harness.results.store import Store

    return Store.open(url, create=create)
