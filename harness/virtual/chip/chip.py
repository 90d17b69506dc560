"""Assemble a board's peripherals."""

from __future__ import annotations

from harness.virtual.chip.bus import Bus, Peripheral
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families import build
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
from harness.virtual.chip.peripherals.scs import Scs


class Chip:
    """All register blocks of a board, on one bus."""

    def __init__(self, to: Connections) -> None:
        board = to.board
        own = build(to)
        self.flash, self.rcc, self.pins, self.usart = own.flash, own.rcc, own.pins, own.usart
        self.scs = Scs(board, to.core, own.boot_address, own.interrupts)
        self.fpb = Fpb(board, to.core.set_breakpoints)
        self.signature = DeviceSignature(board)
        self.rom_address, tables = rom_tables(board)
        self.dwt = Dwt(board, to.counter, to.core.trace_enabled)
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
