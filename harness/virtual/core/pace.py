"""Keep virtual time from running ahead of the host's: a virtual board that waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_STEP_S = 0.02  # how often a running core is looked at


@dataclass(slots=True)
class Work:
    """Something that takes a real board time.

    Attributes:
        done: Returns how much was done since power-on.
        each_s: Returns the seconds that one more takes now.
    """

    done: Callable[[], int]
    each_s: Callable[[], float]
    before: int = 0  # how much of it was reckoned with


class Pace:
    """How far a core is ahead of the host's clock.

    It never makes up for time that the emulator took longer than the board would have.

    Args:
        works: What takes time; cycles include waiting for input.
    """

    def __init__(self, *works: Work) -> None:
        self._works = works
        self._reached = time.monotonic()  # when a real board would have got there
        for work in works:
            work.before = work.done()

    def ahead(self) -> float:
        """Return by how many seconds the core is ahead; 0 if it is not."""
        for work in self._works:
            before, work.before = work.before, work.done()
            self._reached += (work.before - before) * work.each_s()
        now = time.monotonic()
        self._reached = max(self._reached, now)
        return self._reached - now


def tick(act: Callable[[], None], ended: Callable[[], bool]) -> None:
    """Do something at a regular pace, in a thread, until it has `ended`."""

    def run() -> None:
        while not ended():
            act()
            time.sleep(_STEP_S)

    threading.Thread(target=run, name="pace", daemon=True).start()
