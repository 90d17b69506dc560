"""Pages that the emulator asks for: stores change code in RAM, and nothing else is disturbed."""

from __future__ import annotations

import struct

import pytest

from support.board import BOARDS, power_on

# strh r1, [r2, #32]; strh r1, [r2]; bx r3
CHANGE = struct.pack("<3H", 0x8411, 0x8011, 0x4718)
CODE = struct.pack("<2H", 0x2000, 0xBE00)  # movs r0, #0; bkpt
# cmp r0, #1; itte ls; ldrls r1, [r2]; ldrls r5, [r6]; movhi r3, #2
IT_BLOCK = 0x2801, 0xBF9A, 0x6811, 0x6835, 0x2302
# cmp r6, #0; bne next; adds r4, #1; bkpt
LOADS = struct.pack("<9H", *IT_BLOCK, 0x2E00, 0xD1FF, 0x3401, 0xBE00)


@pytest.mark.parametrize("board_id", BOARDS)
@pytest.mark.parametrize("same_page", [True, False])
def test_code_in_ram_is_executed_as_a_store_changed_it(board_id: str, same_page: bool) -> None:
    machine = power_on(board_id)
    try:
        cpu, flash = machine.cpu, machine.memory.flash
        ram = next(m for m in machine.memory.memories if m.kind != "flash").origins[0] + 0x400
        machine.core.reset()
        machine.core.halt()
        flash.data[: len(CHANGE)] = CHANGE
        store = flash.origins[0]
        if same_page:  # the store is in the page that it changes
            store = ram + 0x40
            machine.memory.write_ram(store, CHANGE)
        machine.memory.write_ram(ram, CODE)
        for number in (1, 2, 3):
            cpu.registers[1], cpu.registers[2], cpu.registers[3] = 0x2000 | number, ram, ram | 1
            cpu.registers[15] = store
            cpu.counter.clear_stop()
            cpu.run()
            cpu._pages.forget(0, 0)  # as if other pages had taken the places of these two
            assert (cpu.registers[0], cpu.registers[15]) == (number, ram + 2)
    finally:
        machine.close()


def test_no_instruction_is_skipped_behind_an_it_block_that_loads_from_a_new_page() -> None:
    machine = power_on(BOARDS[0])
    try:
        cpu, flash = machine.cpu, machine.memory.flash
        machine.core.reset()
        machine.core.halt()
        flash.data[: len(LOADS)] = LOADS
        ram = next(m for m in machine.memory.memories if m.kind != "flash").origins[0]
        cpu.registers[0], cpu.registers[4] = 0, 7
        cpu.registers[2], cpu.registers[6] = ram + 0x800, ram + 0xC00
        cpu.registers[15] = flash.origins[0]
        cpu.counter.clear_stop()
        cpu.run()
        assert cpu.registers[4] == 8
    finally:
        machine.close()
