"""STM32F4 as the STM32F446 (RM0390) has it."""

from __future__ import annotations

from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families import Blocks
from harness.virtual.chip.families.stm32.usart import UsartF4
from harness.virtual.chip.families.stm32f import put_together


def build(to: Connections) -> Blocks:
    """Put the chip's blocks together."""
    return put_together(to, usart=UsartF4, ports=8, interrupts=97)
