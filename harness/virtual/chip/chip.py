"""Assemble a board's peripherals."""

from __future__ import annotations

from collections.abc import Callable
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
from harness.virtual.chip.peripherals.scs import CoreControl, Scs
from harness.virtual.core.cpu import Cpu
from harness.virtual.ports.console import Console
from harness.virtual.time.counting import BlockCounter


class ChipControl(CoreControl, Protocol):
    """What the peripherals need of the machine."""

    def trace_enabled(self) -> bool:
        """DEMCR.TRCENA."""


class Chip:
    """All register blocks of a board, on one bus."""

    def __init__(
        self,
        board: Board,
        memory: MemoryMap,
        console: Console,
        counter: BlockCounter,
        control: ChipControl,
    ) -> None:
        own = build(board, memory, console, counter)
        self.flash, self.rcc, self.pins, self.usart = own.flash, own.rcc, own.pins, own.usart
        self.rcc.on_change = self.usart.slow_down
        self.scs = Scs(board, control, own.boot_address, own.interrupts)
        self.fpb = Fpb(board)
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

    def connect(self, cpu: Cpu, breakpoints: Callable[[list[int]], None]) -> None:
        """Tell the blocks that act on the core where it is."""
        self.flash.invalidate = cpu.invalidate
        self.fpb.on_change = breakpoints

    def reset(self, cause: ResetCause) -> None:
        """Reset every block."""
        for block in self.bus.peripherals:
            block.reset()
        self.rcc.note(cause)

    def decodes(self, address: int) -> bool:
        """Return whether a register block answers at `address`."""
        return any(p.base <= address < p.base + p.size for p in self.bus.peripherals)
