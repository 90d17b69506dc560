"""STM32F7 as the STM32F746 (RM0385) and the STM32F767 (RM0410) have it."""

from __future__ import annotations

from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families import Blocks
from harness.virtual.chip.families.stm32.usart import UsartF7
from harness.virtual.chip.families.stm32f import put_together

_INTERRUPTS = {0x449: 98, 0x451: 110}  # by DBGMCU device id
_BOOT = 0x0020_0000  # BOOT0 low: from flash through ITCM


def build(to: Connections) -> Blocks:
    """Put the chip's blocks together."""
    interrupts = _INTERRUPTS[to.board.facts.chip.device_id]
    return put_together(to, usart=UsartF7, ports=11, interrupts=interrupts, boot_address=_BOOT)
