"""Assemble a board's peripherals."""

from __future__ import annotations

from typing import Protocol

from harness.boards import Board
from harness.virtual.chip.bus import Bus, Peripheral
from harness.virtual.chip.families import build
from harness.virtual.chip.memory import MemoryMap
from harness.virtual.chip.peripherals.clocks import ResetCause
from harness.virtual.chip.peripherals.dwt import Dwt
from harness.virtual.chip.peripherals.fpb import Fpb
from harness.virtual.chip.peripherals.identity import (
    Dbgmcu,
    DeviceSignature,
    Itm,
    Tpiu,
    rom_tables,
)
from harness.virtual.chip.peripherals.scs import Scs, ScsControl
from harness.virtual.ports.console import Console
from harness.virtual.time.counting import BlockCounter


class CoreControl(ScsControl, Protocol):
    """What the register blocks do to the core."""

    def trace_enabled(self) -> bool:
        """Return DEMCR.TRCENA."""

    def invalidate(self, start: int, end: int) -> None:
        """Drop what is remembered of code in [start, end), which is about to change."""

    def set_breakpoints(self, addresses: list[int]) -> None:
        """Stop at these addresses and no others."""


class Chip:
    """All register blocks of a board, on one bus."""

    def __init__(
        self,
        board: Board,
        memory: MemoryMap,
        console: Console,
        counter: BlockCounter,
        control: CoreControl,
    ) -> None:
        own = build(board, memory, console, counter, control.invalidate)
        self.flash, self.rcc, self.pins, self.usart = own.flash, own.rcc, own.pins, own.usart
        self.rcc.on_change = self.usart.slow_down
        self.scs = Scs(board, control, own.boot_address, own.interrupts)
        self.fpb = Fpb(board, control.set_breakpoints)
        self.signature = DeviceSignature(board)
        self.rom_address, tables = rom_tables(board)
        self.dwt = Dwt(board, counter, control.trace_enabled)
        blocks: list[Peripheral] = [
            *own.peripherals,
            self.scs,
            self.fpb,
            self.dwt,
            self.signature,
            Dbgmcu(board, own.freeze_registers),
            Itm(board.facts.cycle_counter == "dwt-lock"),
            Tpiu(),
            *tables,
        ]
        self.bus = Bus(blocks)

    def reset(self, cause: ResetCause) -> None:
        """Reset every block."""
        for block in self.bus.peripherals:
            block.reset()
        self.rcc.note(cause)
