"""Keep virtual time from running ahead of the host's: a virtual board that waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_STEP_S = 0.02  # how often a running core is looked at


class Pace:
    """How far a core is ahead of the host's clock.

    It never makes up for time that the emulator took longer than the board would have.

    Args:
        cycles: Returns the modelled cycles since power-on; they include waiting for input.
        clock_hz: Returns the clock that they are of, which may change.
    """

    def __init__(self, cycles: Callable[[], int], clock_hz: Callable[[], int]) -> None:
        self._read, self._clock_hz = cycles, clock_hz
        self._cycles = cycles()
        self._reached = time.monotonic()  # when a real board would have got there

    def ahead(self) -> float:
        """Return by how many seconds the core is ahead; 0 if it is not."""
        cycles, now = self._read(), time.monotonic()
        self._reached += (cycles - self._cycles) / self._clock_hz()
        self._cycles = cycles
        self._reached = max(self._reached, now)
        return self._reached - now


def tick(act: Callable[[], None], ended: Callable[[], bool]) -> None:
    """Do something at a regular pace, in a thread, until it has `ended`."""

    def run() -> None:
        while not ended():
            act()
            time.sleep(_STEP_S)

    threading.Thread(target=run, name="pace", daemon=True).start()
