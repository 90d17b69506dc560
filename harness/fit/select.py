"""Select the rows of a fit: one configuration, one row per job, a fixed holdout."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from harness.errors import FitError
from harness.fit.model import Fingerprint
from harness.results.record import Measurement, Status, best_per_key

HOLDOUT_SHARE = 0.2

_CONFIGURATION = tuple(spec.name for spec in fields(Fingerprint))
COLUMNS = (
    "key", "created_at", "status", "architecture", "model_sha256", "ops", "latency_us",
    "parameters", "working_memory_bytes", "flash_total_bytes", "arena_min_bytes",
    "arena_used_bytes", "arena_planned_bytes", "ram_other_bytes", "stack_bytes", *_CONFIGURATION,
)  # fmt: skip
"""Fields of a row that a fit and its plot use."""

_NEEDED = ("runtime", "kernels", "clock_hz", "optimization")
_configuration = attrgetter(*_CONFIGURATION)
_sorted_json = json.JSONEncoder(sort_keys=True).encode


def architecture_id(row: Measurement) -> str:
    """Return the identity of a row's architecture, which depends on neither weights nor board.

    Two models of one architecture are not independent, so they are held out together. A user's
    own .tflite has no architecture; its content identifies it.

    Raises:
        FitError: The row names neither.
    """
    if row.architecture is not None:
        return network_id(row.backbone, row.architecture)
    if row.model_sha256 is None:
        raise FitError(
            f"row {row.key[:12]} names neither an architecture nor a model",
            expected="rows of measured models",
        )
    return row.model_sha256


def network_id(backbone: str | None, architecture: Mapping[str, Any]) -> str:
    """Return the identity of a sampled architecture, as rows hold it."""
    return hashlib.sha256(_sorted_json([backbone, architecture]).encode()).hexdigest()


def held_out(architecture: str, share: float = HOLDOUT_SHARE) -> bool:
    """Return whether an architecture belongs to the fixed holdout.

    That depends on the architecture alone, so rows added later (a search adds some) never move
    an architecture into or out of the holdout.
    """
    digest = hashlib.sha256(b"harness-holdout:" + architecture.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def select_rows(
    rows: Iterable[Measurement], *, degraded: bool = False
) -> tuple[list[Measurement], tuple[str, ...]]:
    """Return the rows a fit may use, one per job in the order of their keys, and their statuses."""
    statuses = (Status.VALID, Status.DEGRADED) if degraded else (Status.VALID,)
    kept = best_per_key(row for row in rows if row.status in statuses)
    # The order in which a bench finished its jobs must not change a bit of the fit.
    return sorted(kept, key=lambda row: row.key), tuple(status.value for status in statuses)


def group_rows(
    rows: Iterable[Measurement], *, degraded: bool = False
) -> dict[Fingerprint, list[Measurement]]:
    """Return the usable rows by the configuration they were measured in."""
    groups: dict[object, list[Measurement]] = {}
    for row in select_rows(rows, degraded=degraded)[0]:
        groups.setdefault(_configuration(row), []).append(row)
    return {Fingerprint.of(members[0]): members for members in groups.values()}


def common_fingerprint(rows: Sequence[Measurement], pooled: bool) -> Fingerprint:
    """Return the configuration that all `rows`, at least one, were measured in.

    Where `pooled`, the backbone may differ; the result then names none.

    Raises:
        FitError: They differ, or lack a fact that every fit needs.
    """
    distinct = {_configuration(row): row for row in rows}
    first = shared_fingerprint(
        map(Fingerprint.of, distinct.values()),
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
