"""What is plugged in here: stations, how to find them and whether they are ready.

A board type is committed (`harness.boards`); a station is one board on one desk and stays local.
"""

from __future__ import annotations

from harness.bench.check import Finding, check
from harness.bench.discovery import SeenPort, SeenProbe, discover, list_ports, list_probes
from harness.bench.file import load_bench, write_bench
from harness.bench.lock import station_lock
from harness.bench.station import Bench, Station, virtual_bench

__all__ = [
    "Bench",
    "Finding",
    "SeenPort",
    "SeenProbe",
    "Station",
    "check",
    "discover",
    "list_ports",
    "list_probes",
    "load_bench",
    "station_lock",
    "virtual_bench",
    "write_bench",
]
