"""What a chip is connected to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.boards import Board
from harness.virtual.chip.memory import MemoryMap
from harness.virtual.ports.console import Console
from harness.virtual.time.counting import BlockCounter

if TYPE_CHECKING:
    from harness.virtual.core.run import Core
    from harness.virtual.time.observer import Observer


@dataclass(frozen=True, slots=True)
class Connections:
    """What register blocks act on and learn from."""

    board: Board
    memory: MemoryMap
    console: Console
    counter: BlockCounter
    observer: Observer | None
    core: Callable[[], Core]  # looked up when it is called, as the chip is built first
    number: int = 1  # which of several boards of this type
