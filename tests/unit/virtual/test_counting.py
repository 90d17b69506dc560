"""Cycles of basic blocks do not depend on where Unicorn's pages end."""

from __future__ import annotations

import struct
from typing import Any

import pytest

pytest.importorskip(
    "unicorn", reason="the virtual boards need `pip install tinyml-harness[virtual]`"
)

# movs r0, #50; loop: add.w r1, r1, r2; muls r3, r2, r3; add.w r4, r4, r3; it eq; addeq r5, #1;
# subs r0, #1; bne loop; bkpt
CODE = struct.pack(
    "<11H",
    *(0x2032, 0xEB01, 0x0102, 0x4353, 0xEB04, 0x0403, 0xBF08, 0x3501, 0x3801),
    *(0xD1F6, 0xBE00),
)
PAGE = 1024


def cycles(machine: Any, offset: int) -> int:
    """Return the modelled cycles of the code at an offset in flash."""
    flash = machine.memory.flash
    origin = flash.origins[0]
    machine.cpu.invalidate(origin, origin + 2 * PAGE)
    flash.data[offset : offset + len(CODE)] = CODE
    before = machine.cpu.counter.elapsed()
    machine.cpu.pc = origin + offset
    machine.cpu.counter.clear_stop()
    machine.cpu.run()
    return int(machine.cpu.counter.elapsed()) - before


@pytest.mark.parametrize("board_id", ["nucleo_f746zg", "nucleo_f446re"])
def test_a_loop_costs_the_same_wherever_a_page_ends(board_id: str) -> None:
    from harness.boards import load_board
    from harness.virtual.machine import VirtualMachine

    machine = VirtualMachine(load_board(board_id))
    machine.halt()
    within = cycles(machine, PAGE // 2)
    assert within > 3 * 50
    placed = {n: cycles(machine, n) for n in range(PAGE - len(CODE), PAGE + 4, 2)}
    assert placed == dict.fromkeys(placed, within)
    machine.close()
