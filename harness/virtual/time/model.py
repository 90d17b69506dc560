"""What every timing model does, and what those have in common that look at a block's code alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from harness.virtual.time.decode import decode_block
from harness.virtual.time.instruction import Instruction

if TYPE_CHECKING:
    from harness.boards import Board


class TimingModel(ABC):
    """Cycles of basic blocks and of what happens in them, on one board's core.

    Attributes:
        name: Recorded with every row that it counted.
        version: Changes whenever any cost may change.
        observes: Whether events have a cost; the emulator counts them only then.
    """

    name: str
    version: str
    observes = False

    def __init__(self, board: Board) -> None:
        self.board = board
        self._known: dict[bytes, int] = {}

    @property
    def identity(self) -> str:
        """Name and version, as a row says them."""
        return f"{self.name}/{self.version}"

    @property
    def kind(self) -> str:
        """``issue`` or ``pipeline``, as `harness.virtual.time.timing_model` takes it."""
        return self.name.rpartition("-")[2]

    @abstractmethod
    def issue(self, block: list[Instruction]) -> int:
        """Return the cycles to issue `block` once, from its instructions alone."""

    def block_cycles(self, code: bytes, address: int) -> int:
        """Return the cycles of one execution of the block `code` at `address`, 0 if it is empty.

        Deterministic: a function of the arguments alone. The block may end without a branch.
        """
        del address  # the fetch unit is for a model that has one
        cycles = self._known.get(code)
        if cycles is None:
            cycles = self._known[code] = self.issue(list(decode_block(code)))
        return cycles

    def event_cycles(self, code: bytes, address: int) -> tuple[int, ...]:
        """Return the cycles of each kind of event of that block (`time.events`), if any has."""
        del code, address
        return ()
