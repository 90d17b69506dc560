"""STM32F4 as the STM32F446 has it (RM0390)."""

from __future__ import annotations

from harness.boards import Board
from harness.virtual.chip.families import Blocks
from harness.virtual.chip.families.stm32f import put_together
from harness.virtual.chip.memory import MemoryMap
from harness.virtual.chip.peripherals.flash import Invalidate
from harness.virtual.chip.peripherals.usart import UsartF4
from harness.virtual.ports.console import Console
from harness.virtual.time.counting import BlockCounter

_INTERRUPTS = 97
_PORTS = "ABCDEFGH"


def build(
    board: Board,
    memory: MemoryMap,
    console: Console,
    counter: BlockCounter,
    invalidate: Invalidate,
) -> Blocks:
    """Put the chip's blocks together."""
    return put_together(
        board,
        memory,
        console,
        counter,
        invalidate,
        usart=UsartF4,
        ports=_PORTS,
        interrupts=_INTERRUPTS,
    )
