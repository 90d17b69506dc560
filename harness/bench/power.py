"""Switch a board's supply by its station's own command."""

from __future__ import annotations

import shlex
import subprocess
import time

from harness.bench.station import Station
from harness.errors import BenchError

ACTION = "{action}"
"""In a command: replaced by ``off``, and in a second call by ``on``."""
OFF_S = 2.0  # between both calls: what charges the capacitors of a Nucleo board is gone by then
_COMMAND_S = 60.0


def cycle_power(station: Station) -> None:
    """Switch the supply of a station that has a `power` command off and on.

    Raises:
        BenchError: It has none, or the command does not run or fails.
    """
    if station.power is None:
        raise BenchError(
            f"station '{station.name}' has no 'power' command",
            fix="name one in bench.toml: docs/bench.md",
        )
    if ACTION not in station.power:
        _run(station, station.power)
        return
    _run(station, station.power.replace(ACTION, "off"))
    time.sleep(OFF_S)
    _run(station, station.power.replace(ACTION, "on"))


def _run(station: Station, command: str) -> None:
    try:
        done = subprocess.run(
            shlex.split(command), capture_output=True, text=True, timeout=_COMMAND_S, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as failure:
        raise _refused(station, command, f"does not run: {failure}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise _refused(station, command, f"failed ({done.returncode}): {' '.join(said)}")


def _refused(station: Station, command: str, what: str) -> BenchError:
    return BenchError(
        f"the 'power' command {what}",
        where=f"station '{station.name}': {command}",
        fix="correct 'power' of the station in bench.toml",
    )
