"""CoreSight identification registers and ROM tables (ARMv7-M ARM B3.2 and appendix B)."""

from __future__ import annotations

import hashlib

from harness.boards import Board
from harness.virtual.chip.bus import Peripheral, ignore_write, read_zero

_JEDEC_ARM = (0x3B, 4)  # identity code, continuation code
_CLASS_GENERIC, _CLASS_ROM, _CLASS_DEBUG = 0xE, 0x1, 0x9

SCS, DWT, FPB, ITM, TPIU = 0xE000_E000, 0xE000_1000, 0xE000_2000, 0xE000_0000, 0xE004_0000


def add_ids(
    block: Peripheral,
    part: int,
    component_class: int = _CLASS_GENERIC,
    jedec: tuple[int, int] = _JEDEC_ARM,
) -> None:
    """Add PIDR0-7 and CIDR0-3 to a block of 4 KiB."""
    code, continuation = jedec
    peripheral = (part & 0xFF, part >> 8 | (code & 0xF) << 4, 0x8 | code >> 4, 0)
    component = (0x0D, component_class << 4, 0x05, 0xB1)
    for index, value in enumerate((continuation, 0, 0, 0, *peripheral, *component)):
        block.add(0xFD0 + 4 * index, f"ID{0xFD0 + 4 * index:x}", value, writable=0)


class RomTable(Peripheral):
    """A table of the components behind the debug port."""

    def __init__(self, base: int, part: int, jedec: tuple[int, int], components: tuple[int, ...]):
        super().__init__(f"ROM table {base:#x}", base, "ARMv7-M ARM B3.2")
        for index, component in enumerate(components):
            entry = (component - base) & 0xFFFF_F000 | 0x3
            self.add(4 * index, f"ENTRY{index}", entry, writable=0)
        # An entry of zero ends the table; the rest up to 0xEFF is reserved and reads as zero.
        for offset in range(4 * len(components), 0xF00, 4):
            self.add(offset, "END", 0, writable=0)
        self.add(0xFCC, "MEMTYPE", 1, writable=0)
        add_ids(self, part, _CLASS_ROM, jedec)


def rom_tables(
    board: Board, identity: tuple[int, tuple[int, int]] | None
) -> tuple[int, list[Peripheral]]:
    """Return the address that the AP's BASE names, and the tables with the trace port.

    The chip's own table has its maker's part number and identity code. The Cortex-M7's components
    are behind two more tables (Cortex-M7 TRM 2.3, RM0385 40.11.1). Without `identity` these are
    all: the chip's own table and the trace port are behind another AP (RM0433, debug).
    """
    ppb = 0xE00F_F000
    components = (SCS, DWT, FPB, ITM)
    if board.facts.core.cpu == "cortex-m4":
        part, jedec = identity or (0, _JEDEC_ARM)
        return ppb, [RomTable(ppb, part, jedec, (*components, TPIU)), Tpiu()]
    chip, processor = 0xE00F_D000, 0xE00F_E000
    core: list[Peripheral] = [
        RomTable(processor, 0x4C8, _JEDEC_ARM, (ppb,)),
        RomTable(ppb, 0x4C7, _JEDEC_ARM, components),
    ]
    if identity is None:
        return processor, core
    return chip, [RomTable(chip, *identity, (processor, TPIU)), *core, Tpiu()]


def unique_id(name: str) -> bytes:
    """Return 96 bits for a virtual chip's id: the same for a name everywhere, and no real chip's.

    They start with ``VIRT``; an STM32's hold wafer coordinates and a lot number in ASCII.
    """
    return b"VIRT" + hashlib.sha256(f"virtual:{name}".encode()).digest()[:8]


class Tpiu(Peripheral):
    """Trace port registers; no trace leaves the virtual chip."""

    def __init__(self) -> None:
        super().__init__("TPIU", TPIU, "ARMv7-M ARM C1.10")
        self.add(0x000, "SSPSR", 0xB, writable=0)
        self.add_storage(((0x004, "CSPSR"), (0x010, "ACPR"), (0x0F0, "SPPR"), (0x304, "FFCR")))
        self.add(0x300, "FFSR", 0x8, writable=0)
        # CoreSight management registers that are not implemented read as zero (ADIv5.2 D1.2).
        for offset in range(0xFA8, 0xFC8, 4):
            self.add(offset, f"RES{offset:x}", 0, writable=0)
        self.add(0xFA0, "CLAIMSET", 0xF, writable=0)
        self.add(0xFA4, "CLAIMCLR", 0, writable=0)
        self.add(0xFC8, "TYPE", 0xCA1, writable=0)
        self.add(0xFCC, "DEVTYPE", 0x11, writable=0)
        add_ids(self, 0x9A1, _CLASS_DEBUG)


class Itm(Peripheral):
    """Instrumentation trace; what is written goes nowhere, as with no listener."""

    def __init__(self, locked: bool) -> None:
        super().__init__("ITM", ITM, "ARMv7-M ARM C1.7")
        for port in range(32):
            self.add(4 * port, f"STIM{port}", 1, writable=0)  # it takes another write
        self.add_storage(((0xE00, "TER"), (0xE40, "TPR"), (0xE80, "TCR")))
        self.add(0xFB0, "LAR", read=read_zero, write=ignore_write)
        self.add(0xFB4, "LSR", 1 if locked else 0, writable=0)
        add_ids(self, 0x001)
