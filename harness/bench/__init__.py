"""What is plugged in here: stations, how to find them and whether they are ready.

A board type is committed (`harness.boards`); a station is one board on one desk and stays local.
"""

from __future__ import annotations

from harness.bench.check import check
from harness.bench.discovery import discover
from harness.bench.file import load_bench, write_bench
from harness.bench.lock import station_lock
from harness.bench.station import Bench, Station, virtual_bench

__all__ = [
    "Bench",
    "Station",
    "check",
    "discover",
    "load_bench",
    "station_lock",
    "virtual_bench",
    "write_bench",
]
