"""Cycles of basic blocks do not depend on where Unicorn's pages end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest

from support import needs

pytestmark = needs.emulator

# movs r0, #50; loop: add.w r1, r1, r2; muls r3, r2, r3; add.w r4, r4, r3; it eq; addeq r5, #1;
# subs r0, #1; bne loop; bkpt
CODE = struct.pack(
    "<11H",
    *(0x2032, 0xEB01, 0x0102, 0x4353, 0xEB04, 0x0403, 0xBF08, 0x3501, 0x3801),
    *(0xD1F6, 0xBE00),
)
PAGE = 1024


BOARDS = pytest.mark.parametrize("board_id", ["nucleo_f746zg", "nucleo_f446re"])


def cycles(machine: Any, offset: int) -> int:
    """Return the modelled cycles of the code at an offset in flash, from empty caches."""
    write(machine, offset, CODE)
    return run(machine, offset)


def write(machine: Any, offset: int, code: bytes) -> None:
    """Put code into flash."""
    flash = machine.memory.flash
    machine.core.reset()
    machine.core.halt()
    for origin in flash.origins:
        machine.cpu.invalidate(origin + offset, origin + offset + len(code))
    flash.data[offset : offset + len(code)] = code


def run(machine: Any, offset: int) -> int:
    """Return the modelled cycles of what is at an offset in flash, from empty caches."""
    origin = machine.memory.flash.origins[0]
    machine.core.reset()
    machine.core.halt()
    if machine.observer is not None:
        machine.observer.forget_history()
    before = machine.cpu.counter.elapsed()
    machine.cpu.registers[15] = origin + offset
    machine.cpu.counter.clear_stop()
    machine.cpu.run()
    return int(machine.cpu.counter.elapsed()) - before


@pytest.fixture
def machine(board_id: str, timing: str) -> Iterator[Any]:
    from harness.boards import load_board
    from harness.virtual.machine import VirtualMachine
    from harness.virtual.time import timing_model

    board = load_board(board_id)
    machine = VirtualMachine(board, model=timing_model(board, timing))
    yield machine
    machine.close()


@BOARDS
@pytest.mark.parametrize("timing", ["issue"])
def test_a_loop_costs_the_same_wherever_a_page_ends(machine: Any) -> None:
    within = cycles(machine, PAGE // 2)
    assert within > 3 * 50
    placed = {n: cycles(machine, n) for n in range(PAGE - len(CODE), PAGE + 4, 2)}
    assert placed == dict.fromkeys(placed, within)


@BOARDS
@pytest.mark.parametrize("timing", ["pipeline"])
def test_with_memory_it_costs_what_its_alignment_costs(machine: Any) -> None:
    for offset in range(PAGE - len(CODE), PAGE + 4, 2):
        assert cycles(machine, offset) == pytest.approx(
            cycles(machine, offset - PAGE // 2), rel=0.01
        )


@BOARDS
@pytest.mark.parametrize("timing", ["pipeline"])
@pytest.mark.parametrize("room", [True, False])
def test_code_that_changes_is_priced_anew_and_other_code_is_not(
    machine: Any, room: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.virtual.native import blocks

    if not room:  # then all is dropped, so that the table never fills up
        monkeypatch.setattr(blocks, "MAX_SLOTS", 4)
    counter, origin, other = machine.cpu.counter, machine.memory.flash.origins[0], 16 * PAGE
    write(machine, other, CODE)
    first, elsewhere = cycles(machine, 0), run(machine, other)
    twice = struct.pack("<H", 0x2064) + CODE[2:]  # movs r0, #100
    before = counter.elapsed()
    write(machine, 0, twice)
    assert counter.elapsed() == before
    assert not counter.executed(origin)
    assert bool(counter.executed(origin + other)) == room
    assert run(machine, 0) == pytest.approx(2 * first, rel=0.1)
    assert (run(machine, other), cycles(machine, 0)) == (elsewhere, first)
    assert {block.count for block in counter.snapshot() if block.address == origin} == {1}
