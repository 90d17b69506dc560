"""What a chip is connected to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.boards import Board
from harness.virtual.chip.memory import MemoryMap
from harness.virtual.ports.console import Console
from harness.virtual.time.counting import BlockCounter

if TYPE_CHECKING:
    from harness.virtual.core.effects import Effects


@dataclass(frozen=True, slots=True)
class Connections:
    """What register blocks act on and learn from.

    Attributes:
        board: Facts of the board.
        memory: Its memories.
        console: Wire to the console UART.
        counter: Counts executed blocks and cycles.
        core: What writes to registers do to the core.
    """

    board: Board
    memory: MemoryMap
    console: Console
    counter: BlockCounter
    core: Effects
