"""STM32F4 as the STM32F446 has it (RM0390)."""

from __future__ import annotations

from harness.boards import Board
from harness.virtual.console import Console
from harness.virtual.counting import BlockCounter
from harness.virtual.families import Blocks
from harness.virtual.memory import MemoryMap
from harness.virtual.peripherals.flash import FlashController
from harness.virtual.peripherals.gpio import Pins
from harness.virtual.peripherals.pwr import Pwr
from harness.virtual.peripherals.rcc import AHB1ENR, APB1ENR, Rcc
from harness.virtual.peripherals.timer import Tim2
from harness.virtual.peripherals.usart import UsartF4

_GPIO = 0x4002_0000
_INTERRUPTS = 97
_PORTS = "ABCDEFGH"


def build(board: Board, memory: MemoryMap, console: Console, counter: BlockCounter) -> Blocks:
    """Put the chip's blocks together."""
    flash = FlashController(board, memory, counter)
    pwr = Pwr(board)
    rcc = Rcc(board, flash, pwr)
    pins = Pins(_PORTS, _GPIO, rcc, AHB1ENR)
    usart = UsartF4(board, console, rcc, pins)
    timer = Tim2(rcc, counter, APB1ENR)
    return Blocks(
        flash=flash,
        rcc=rcc,
        pins=pins,
        usart=usart,
        peripherals=(flash, pwr, rcc, *pins.ports.values(), usart, timer),
        interrupts=_INTERRUPTS,
    )
