"""STM32F7 as the STM32F746 (RM0385) and the STM32F767 (RM0410) have it."""

from __future__ import annotations

from harness.boards import Board
from harness.virtual.chip.families import Blocks
from harness.virtual.chip.families.stm32f import put_together
from harness.virtual.chip.memory import MemoryMap
from harness.virtual.chip.peripherals.flash import Invalidate
from harness.virtual.chip.peripherals.usart import UsartF7
from harness.virtual.ports.console import Console
from harness.virtual.time.counting import BlockCounter

_INTERRUPTS = {0x449: 98, 0x451: 110}  # by DBGMCU device id
_PORTS = "ABCDEFGHIJK"
_BOOT = 0x0020_0000  # BOOT0 low: from flash through ITCM


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
        usart=UsartF7,
        ports=_PORTS,
        interrupts=_INTERRUPTS[board.facts.chip.device_id],
        boot_address=_BOOT,
    )
