"""Assemble a board's peripherals."""

from __future__ import annotations

from harness.virtual.chip.bus import Bus
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families import build
from harness.virtual.chip.peripherals.clock import ResetCause
from harness.virtual.chip.peripherals.dwt import Dwt
from harness.virtual.chip.peripherals.fpb import Fpb
from harness.virtual.chip.peripherals.identity import Itm, rom_tables
from harness.virtual.chip.peripherals.nvic import Source


class Chip:
    """All register blocks of a board, on one bus."""

    def __init__(self, to: Connections) -> None:
        own = build(to)
        self.scs, self.flash, self.clock, self.console = own.scs, own.flash, own.clock, own.console
        self.dwt = Dwt(to)
        self.uid, self.access_ports, self.locked = own.uid, own.access_ports, own.locked
        #: What may interrupt the core.
        self.sources: tuple[Source, ...] = (self.scs.systick, own.console, *own.sources)
        self.rom_address, tables = rom_tables(to.board, own.rom_identity)
        self.bus = Bus(
            (
                *(own.flash, own.clock, own.console, *own.others),
                *(self.scs, Fpb(to), self.dwt),
                Itm(to.board.facts.cycle_counter == "dwt-lock"),
                *tables,
            ),
            bit_band=own.bit_band,
        )

    def reset(self, cause: ResetCause) -> None:
        """Reset every block."""
        for block in self.bus.peripherals:
            if not block.survives_reset:
                block.reset()
        if cause & (ResetCause.POWER_ON | ResetCause.BOR):
            self.flash.power_on()
        # Reset flags survive until the firmware removes them.
        self.clock.causes |= cause
