"""Select the rows of a fit: one configuration, one row per job, a fixed holdout.

Here rows are a table of `COLUMNS`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

import numpy as np

from harness.errors import FitError
from harness.fit.model import Fingerprint
from harness.results.record import Measurement, Status
from harness.results.table import Table, table_of

HOLDOUT_SHARE = 0.2

COLUMNS = (
    "key", "status", "network", "model_sha256", "ops", "latency_us",
    "parameters", "working_memory_bytes", "flash_total_bytes", "arena_min_bytes",
    "arena_used_bytes", "arena_planned_bytes", "ram_other_bytes", "stack_bytes",
)  # fmt: skip
"""Columns that a fit and its plot use."""
LAYER_COLUMNS = (*COLUMNS, "architecture")
"""Columns that a fit to the layers uses."""

_NEEDED = ("runtime", "kernels", "clock_hz", "optimization")


def architecture_id(row: Measurement) -> str:
    """Return the identity of a row's architecture, which depends on neither weights nor board.

    Two models of one architecture are not independent, so they are held out together. A user's
    own .tflite has no architecture; its content identifies it.

    Raises:
        FitError: The row names neither.
    """
    return architecture_ids(table_of([row], LAYER_COLUMNS))[0]


def architecture_ids(table: Table) -> list[str]:
    """Return `architecture_id` of each row."""
    ids: list[Any] = table["network"].tolist()
    if None in ids:
        contents = table["model_sha256"].tolist()
        ids = [network or sha256 for network, sha256 in zip(ids, contents, strict=True)]
    if None in ids:
        key = table["key"][ids.index(None)]
        raise FitError(
            f"row {key[:12]} names neither an architecture nor a model",
            expected="rows of measured models",
        )
    return ids


@lru_cache(maxsize=100_000)  # a network is measured in many configurations
def held_out(architecture: str, share: float = HOLDOUT_SHARE) -> bool:
    """Return whether an architecture belongs to the fixed holdout.

    That depends on the architecture alone, so rows added later (a search adds some) never move
    an architecture into or out of the holdout.
    """
    digest = hashlib.sha256(b"harness-holdout:" + architecture.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def select_rows(
    rows: Iterable[Measurement] | Table, *, degraded: bool = False
) -> tuple[Table, tuple[str, ...]]:
    """Return the rows a fit may use, one per job in the order of their keys, and their statuses."""
    statuses = (Status.VALID.value, *((Status.DEGRADED.value,) if degraded else ()))
    # Of one job the store has one row of each status; of records there may be more.
    table = table_of(rows, ("created_at", *LAYER_COLUMNS))
    kept = np.logical_or.reduce([table["status"] == status for status in statuses])
    if not kept.all():
        table = table.take(kept)
    keys = table["key"].astype("S64")
    if (keys[:-1] < keys[1:]).all():
        return table, statuses  # selected before
    order = np.argsort(keys, kind="stable")
    last_of_key = np.append(keys[order[:-1]] != keys[order[1:]], True)
    if not last_of_key.all():
        # Valid after degraded, as in the alphabet, then the newest. The order in which a bench
        # finished its jobs must not change a bit of the fit.
        columns = [name for name in ("key", "status", "created_at") if name in table.cells]
        attempts = list(table.lines(*columns))
        order = np.array(sorted(range(len(attempts)), key=attempts.__getitem__))
    return table.take(order[last_of_key]), statuses


def group_rows(
    rows: Iterable[Measurement] | Table, *, degraded: bool = False
) -> dict[Fingerprint, Table]:
    """Return the usable rows by the configuration they were measured in."""
    table, _ = select_rows(rows, degraded=degraded)
    found: dict[Fingerprint, list[int]] = {}
    for number in dict.fromkeys(table["configuration"].tolist()):
        found.setdefault(Fingerprint(**table.configurations[number]), []).append(number)
    return {
        fingerprint: table.take(np.isin(table["configuration"], numbers))
        for fingerprint, numbers in found.items()
    }


def common_fingerprint(table: Table, pooled: bool) -> Fingerprint:
    """Return the configuration that all rows, at least one, were measured in.

    Where `pooled`, the backbone may differ; the result then names none.

    Raises:
        FitError: They differ, or lack a fact that every fit needs.
    """
    numbers = table["configuration"].tolist()
    first = shared_fingerprint(
        (Fingerprint(**table.configurations[number]) for number in dict.fromkeys(numbers)),
        pooled,
        "these rows were measured in different configurations",
        "choose one, for example with --board, --backbone, --runtime or --kernels",
    )
    unknown = [name for name in _NEEDED if getattr(first, name) is None]
    if unknown:
        raise FitError(
            f"these rows do not say their {', '.join(unknown)}",
            expected="rows that a campaign or `harness measure` stored",
            fix="measure them again",
        )
    return first


def shared_fingerprint(
    fingerprints: Iterable[Fingerprint], pooled: bool, what: str, fix: str
) -> Fingerprint:
    """Return the one of `fingerprints`; where `pooled`, without its backbone.

    Raises:
        FitError: They differ: `what`, each field with its values, and `fix`.
    """
    seen = list(dict.fromkeys(replace(f, backbone=None) if pooled else f for f in fingerprints))
    values = {
        spec.name: list(dict.fromkeys(getattr(item, spec.name) for item in seen))
        for spec in fields(Fingerprint)
    }
    differing = {name: found for name, found in values.items() if len(found) > 1}
    if differing:
        lines = [
            f"{name}: {', '.join('unknown' if v is None else str(v) for v in found)}"
            for name, found in differing.items()
        ]
        raise FitError(
            f"{what}:\n  " + "\n  ".join(lines),
            expected="one value of each",
            fix=fix,
            differing=differing,
        )
    return seen[0]
