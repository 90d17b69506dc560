"""What rows are grouped by: the network, and the configuration that it was measured in.

The store keeps both beside each row, so that a query of many rows has no JSON to parse, and reads
the facts of a configuration once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from harness.results.record import Measurement

CONFIGURATION = (
    "board", "source", "timing_model", "backbone", "runtime", "runtime_version", "kernels",
    "kernels_version", "one_firmware", "optimization", "flags", "toolchain", "clock_hz", "icache",
    "dcache", "art",
)  # fmt: skip
"""Fields of a row that are its configuration."""

DERIVED = ("network", "configuration")
"""Columns of the store that are no fields of a row."""

_sorted_json = json.JSONEncoder(sort_keys=True).encode


def network_id(backbone: str | None, architecture: Mapping[str, Any]) -> str:
    """Return the identity of a sampled architecture, which depends on neither weights nor board."""
    return hashlib.sha256(_sorted_json([backbone, architecture]).encode()).hexdigest()


def configuration_id(facts: Mapping[str, Any]) -> int:
    """Return a number for the facts of `CONFIGURATION`: 64 bits of their hash, signed."""
    text = _sorted_json([facts[name] for name in CONFIGURATION])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def facts_of(row: Measurement) -> dict[str, Any]:
    """Return the configuration of a row."""
    return {**{name: getattr(row, name) for name in CONFIGURATION}, "source": row.source.value}


def derived(row: Measurement) -> dict[str, Any]:
    """Return `DERIVED` of a row; a user's own model has no network, its content identifies it."""
    sampled = row.architecture
    return {
        "network": None if sampled is None else network_id(row.backbone, sampled),
        "configuration": configuration_id(facts_of(row)),
    }
