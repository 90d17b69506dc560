"""Identification of an STM32: device id, unique id, size of the flash.

RM0385 section 40, RM0390 section 33 (DBGMCU); RM0385 section 41, RM0390 section 34 (signature).
"""

from __future__ import annotations

from harness.boards import Board
from harness.boards.stm32 import stm32_facts
from harness.virtual.chip.bus import Peripheral
from harness.virtual.chip.peripherals.identity import unique_id

JEDEC = (0x20, 0)  # ST's identity code, continuation code


class Dbgmcu(Peripheral):
    """Device id and the debugger's freeze bits."""

    survives_reset = True

    def __init__(self, board: Board, freeze_registers: tuple[tuple[int, str], ...]) -> None:
        chip = stm32_facts(board).chip
        super().__init__("DBGMCU", chip.id_address, "RM0385 40.16, RM0390 33.16, RM0433")
        self.add(0x0, "IDCODE", chip.revision_id << 16 | chip.device_id, writable=0)
        self.add(0x4, "CR", writable=0xFF if chip.id_address >= 0xE000_0000 else 0x1070_01FF)
        self.add_storage(freeze_registers)


class DeviceSignature(Peripheral):
    """96-bit unique id and flash size in system memory."""

    def __init__(self, board: Board, number: int = 1) -> None:
        chip = board.facts.chip
        base = chip.uid_address & ~0x3FF
        super().__init__("device signature", base, "RM0385 41, RM0390 34")
        self.uid = unique_id(board.id if number == 1 else f"{board.id}#{number}")
        for index in range(3):
            word = int.from_bytes(self.uid[4 * index : 4 * index + 4], "little")
            self.add(chip.uid_address - base + 4 * index, f"UID{index}", word, writable=0)
        size = chip.flash_size_address - base
        self.add(size & ~3, "F_SIZE", (board.flash.bytes >> 10) << 8 * (size & 3), writable=0)
