"""Assemble a board's peripherals."""

from __future__ import annotations

from harness.virtual.chip.bus import Bus
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families import build
from harness.virtual.chip.peripherals.clocks import ResetCause
from harness.virtual.chip.peripherals.dwt import Dwt
from harness.virtual.chip.peripherals.exti import Exti, Syscfg
from harness.virtual.chip.peripherals.fpb import Fpb
from harness.virtual.chip.peripherals.identity import (
    Dbgmcu,
    DeviceSignature,
    Itm,
    Tpiu,
    rom_tables,
)
from harness.virtual.chip.peripherals.lptim import LowPowerTimer
from harness.virtual.chip.peripherals.nvic import Source
from harness.virtual.chip.peripherals.rtc import Rtc
from harness.virtual.chip.peripherals.scs import Scs
from harness.virtual.chip.peripherals.timer import Timer, timers


class Chip:
    """All register blocks of a board, on one bus."""

    def __init__(self, to: Connections) -> None:
        own = build(to)
        self.flash, self.rcc, self.pins, self.usart = own.flash, own.rcc, own.pins, own.usart
        self.scs = Scs(to, own.boot_address, own.interrupts)
        nvic, family = self.scs.nvic, to.board.family
        self.usart.nvic = nvic
        counting: tuple[Timer | LowPowerTimer, ...] = timers(own.rcc, nvic, to.counter)
        if family != "stm32f4":
            counting = *counting, LowPowerTimer(family, own.rcc, nvic, to.counter)
        exti = Exti(family, nvic, Rtc.interrupts(family))
        rtc = Rtc(family, own.rcc, exti, to.counter)
        self.dwt = Dwt(to)
        self.signature = DeviceSignature(to.board, to.number)
        #: What may interrupt the core.
        self.sources: tuple[Source, ...] = (self.scs.systick, self.usart, *counting, rtc)
        self.rom_address, tables = rom_tables(to.board)
        self.bus = Bus(
            (
                *(own.flash, *own.others, own.rcc, *own.pins.ports, own.usart),
                *(*counting, rtc, exti, Syscfg(family, own.rcc)),
                *(self.scs, Fpb(to), self.dwt, self.signature),
                Dbgmcu(to.board, own.freeze_registers),
                Itm(to.board.facts.cycle_counter == "dwt-lock"),
                Tpiu(),
                *tables,
            ),
            bit_band=to.board.facts.core.cpu == "cortex-m4",
        )

    def reset(self, cause: ResetCause) -> None:
        """Reset every block."""
        for block in self.bus.peripherals:
            if not block.survives_reset:
                block.reset()
        if cause & (ResetCause.POWER_ON | ResetCause.BOR):
            self.flash.power_on()
        # Reset flags survive until the firmware removes them.
        self.rcc.causes |= cause
