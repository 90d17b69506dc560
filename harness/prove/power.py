"""Switch a board's supply off and on by the station's own command."""

from __future__ import annotations

import time
from contextlib import closing

from harness import protocol
from harness.bench import Station
from harness.bench.port import open_port
from harness.bench.power import cycle_power
from harness.boards import Board
from harness.capture.console import Console
from harness.errors import BenchError, HarnessError
from harness.prove.steps import Found

_COMMAND_S, _BACK_S, _PAUSE_S = 60.0, 30.0, 0.5


def power_cycle(station: Station, board: Board) -> Found:
    """Run the station's command, wait for the console, and ask the device how long it has been up.

    Raises:
        BenchError: There is no command, or it fails; the board does not come back, or was on all
            the time.
    """
    begun = time.monotonic()
    cycle_power(station)
    up = _up_seconds(station, board, begun)
    elapsed = time.monotonic() - begun
    if up > elapsed:
        raise BenchError(
            f"the device is up for {up:.1f} s, and the command began {elapsed:.1f} s ago",
            expected="a device that was off in between",
            fix="check that the command switches the port of this board (a hub may not be able "
            "to, or the board has another supply)",
        )
    return f"back after {elapsed:.1f} s, up for {up:.1f} s", {"back_s": elapsed, "up_s": up}


def _up_seconds(station: Station, board: Board, begun: float) -> float:
    """Return how long the device has run by its own timer."""
    failure: HarnessError | None = None
    while time.monotonic() < begun + _COMMAND_S + _BACK_S:
        try:
            with closing(open_port(station.serial, board.facts.console.baud)) as port:
                console = Console(port, where=station.name)
                console.clear()
                if console.answers(1.0):
                    time_since = console.ask_for(protocol.TIME, protocol.Time, what="the time")
                    return time_since.ticks / 1e6
        except HarnessError as gone:
            failure = gone
        time.sleep(_PAUSE_S)
    raise BenchError(
        "the device does not come back after its supply was switched",
        where=failure.what if failure else None,
        expected=f"an answer on the console within {_BACK_S:.0f} s",
        fix="check that the command switches the supply on again",
    )
