"""WDT, which is never started: pyOCD's flash algorithm reloads it all the same.

nRF52840 Product Specification v1.7, chapter WDT.
"""

from __future__ import annotations

from harness.virtual.chip.bus import Peripheral, ignore_write, read_zero
from harness.virtual.chip.families.nrf52.block import BYTES

_CHANNELS = 8


class Watchdog(Peripheral):
    """Status and reload requests."""

    def __init__(self) -> None:
        super().__init__("WDT", 0x4001_0000, "nRF52840 PS, WDT")
        self.size = BYTES
        self.add(0x000, "TASKS_START", read=read_zero, refuse=(1, "start of the watchdog"))
        self.add(0x400, "RUNSTATUS", writable=0)
        self.add(0x404, "REQSTATUS", 1, writable=0)
        self.add(0x504, "CRV", 0xFFFF_FFFF)
        self.add(0x508, "RREN", 1, writable=0xFF)
        self.add(0x50C, "CONFIG", 1, writable=9)
        for n in range(_CHANNELS):
            self.add(0x600 + 4 * n, f"RR{n}", read=read_zero, write=ignore_write)
