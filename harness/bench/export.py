"""Offer the stations of this host to others, with the lines of their bench files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from harness.bench.lock import station_lock
from harness.bench.port import open_port
from harness.bench.probe import find_probe
from harness.bench.remote import TIMING_MODEL
from harness.bench.serve import check_host, serve_console, serve_probe
from harness.bench.station import Station
from harness.boards import load_board


@contextmanager
def exported(
    stations: Sequence[Station], host: str, port: int, *, unauthenticated: bool = False
) -> Iterator[tuple[Station, ...]]:
    """Serve stations for the length of the block; yield them as another host names them.

    Args:
        stations: Of this host; they are locked.
        host: Name or address to listen on.
        port: First of the TCP ports, two for each station; 0 for any free ones.
        unauthenticated: Whether `host` may let other machines in.

    Raises:
        ConfigError: `host` lets other machines in, and nobody asked for that.
        StationLocked: Another process uses a station.
        ProbeNotFound, SerialUnavailable: A probe or port is not there.
        BenchError: A TCP port is taken.
    """
    check_host(host, unauthenticated=unauthenticated)
    about: list[dict[str, Any]] = []
    served = []
    with ExitStack() as stack:
        for number, station in enumerate(stations):
            first = port + 2 * number if port else 0
            served.append(_serve(stack, station, host, first, about))
        yield tuple(served)


def _serve(
    stack: ExitStack, station: Station, host: str, port: int, about: list[dict[str, Any]]
) -> Station:
    stack.enter_context(station_lock(station))
    baud = load_board(station.board).facts.console.baud
    open_port(station.serial, baud).close()  # a virtual board is switched on by it
    probe = find_probe(station.probe)
    model = getattr(probe, TIMING_MODEL, None)  # of a virtual board
    greeting = f"virtual {station.board}: emulated, timing model {model}" if model else ""

    def opened() -> closing[Any]:
        return closing(open_port(station.serial, baud))

    console = stack.enter_context(serve_console(opened, host, port and port + 1, greeting=greeting))
    found = stack.enter_context(serve_probe(probe, host, port, about=about))
    facts = station.model_dump(include={"name", "board", "tags", "baud", "emulated"})
    if model:
        # The other side has virtual stations of its own.
        name = re.sub("^virtual-", "served-", station.name)
        facts |= {"name": name, "emulated": probe.harness_timing}
    remote = Station.model_validate(
        facts | {"probe": f"remote:{host}:{found}", "serial": f"rfc2217://{host}:{console}"}
    )
    about.append(facts | {"probe_port": found, "console_port": console})
    return remote
