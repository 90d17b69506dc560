"""Blocks of the STM32H743 of which little is modelled, and addresses that are reserved.

Nobody starts the watchdog, and no external memory is connected; ST's start-up code switches off the
bank of it that is on after reset, with or without its clock. Flash algorithms that are made for the
dual-core chips too write to the second core's watchdogs.
"""

from __future__ import annotations

from harness.virtual.chip.bus import Master, Peripheral, ignore_write, read_zero

_IWDG1, _IWDG2, _WWDG2 = 0x5800_4800, 0x5800_4C00, 0x4000_2C00
_FMC, _MBKEN = 0x5200_4000, 1
_START = 0xCCCC


def watchdog() -> Peripheral:
    """Return IWDG1 (RM0433, IWDG registers): its registers are stored, and it does not run."""
    block = Peripheral("IWDG1", _IWDG1, "RM0433, IWDG registers")

    def write_key(value: int, _master: Master) -> None:
        if value & 0xFFFF == _START:
            raise block.unmodelled(0, "start of the watchdog by write")

    block.add(0x00, "KR", read=read_zero, write=write_key)
    block.add(0x04, "PR", writable=0x7)
    block.add(0x08, "RLR", 0xFFF, writable=0xFFF)
    block.add(0x0C, "SR", writable=0)
    block.add(0x10, "WINR", 0xFFF, writable=0xFFF)
    return block


def external_memory() -> Peripheral:
    """Return FMC (RM0433, FMC registers) with the control of its first bank, which may go off."""
    block = Peripheral("FMC", _FMC, "RM0433, FMC registers")
    block.add(0x00, "BCR1", 0x30DB, refuse=(_MBKEN, "use of external memory"))
    return block


def reserved() -> tuple[Peripheral, ...]:
    """Return what is in place of the second core's watchdogs: accesses have no effect."""
    found = []
    for name, base in (("IWDG2", _IWDG2), ("WWDG2", _WWDG2)):
        block = Peripheral(f"reserved ({name} of the dual-core chips)", base, "RM0433 2.3.2")
        for offset in range(0, 0x10, 4):
            block.add(offset, f"RES{offset:x}", read=read_zero, write=ignore_write)
        found.append(block)
    return tuple(found)
