"""Independent watchdog of the STM32H743, which nobody starts, and addresses that are reserved.

Flash algorithms that are made for the dual-core chips too write to the second core's watchdogs.
"""

from __future__ import annotations

from harness.virtual.chip.bus import Master, Peripheral, ignore_write, read_zero

_IWDG1, _IWDG2, _WWDG2 = 0x5800_4800, 0x5800_4C00, 0x4000_2C00
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


def reserved() -> tuple[Peripheral, ...]:
    """Return what is in place of the second core's watchdogs: accesses have no effect."""
    found = []
    for name, base in (("IWDG2", _IWDG2), ("WWDG2", _WWDG2)):
        block = Peripheral(f"reserved ({name} of the dual-core chips)", base, "RM0433 2.3.2")
        for offset in range(0, 0x10, 4):
            block.add(offset, f"RES{offset:x}", read=read_zero, write=ignore_write)
        found.append(block)
    return tuple(found)
