"""The supply of a virtual board, which another process can switch.

Its state is a file of this host and user, as a board that latched up is dead for every process.
"""

from __future__ import annotations

from harness.files import draft_of
from harness.paths import cache_dir

_DEAD, _OFF = "dead", "off"


class Supply:
    """The supply of one virtual board, and whether the board is dead until it is switched."""

    def __init__(self, board_id: str, number: int) -> None:
        self._file = cache_dir() / "supply" / f"{board_id}-{number}"

    @property
    def works(self) -> bool:
        """Whether the board has power and is not latched up."""
        return self._state() is None

    def latch_up(self) -> None:
        """Make the board dead until its supply was off and is on again."""
        self._write(_DEAD)

    def switch(self, *, on: bool) -> None:
        """Switch the supply; only one that was off revives a dead board."""
        if not on:
            self._write(_OFF)
        elif self._state() == _OFF:
            self._file.unlink(missing_ok=True)

    def _state(self) -> str | None:
        try:
            return self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def _write(self, state: str) -> None:
        with draft_of(self._file) as draft:
            draft.write_text(state, encoding="utf-8")
