from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from harness.boards import Board, load_board
from harness.errors import VirtualError
from harness.virtual.time import timing_model
from harness.virtual.time.decode import decode, decode_block
from harness.virtual.time.instruction import FLAGS, PC, SP, Address, Operand

BOARDS = {"cortex-m7": "nucleo_f746zg", "cortex-m4": "nucleo_f446re"}


def test_splits_16_and_32_bit_encodings() -> None:
    # ldr r0, [r1]; add.w r2, r3, r0, lsl #2; bx lr
    block = list(decode_block(bytes.fromhex("086803eb80027047")))
    assert [i.name for i in block] == ["ldr", "add", "bx"]
    assert [i.halfwords for i in block] == [1, 2, 1]


def test_it_block_makes_instructions_conditional() -> None:
    # ite eq; addeq r0, r0, r1; movne r0, r2; adds r3, r3, r4
    block = list(decode_block(bytes.fromhex("0cbf401810461b19")))
    assert [i.unit for i in block] == ["hint", "alu", "alu", "alu"]
    assert FLAGS in block[1].normal
    assert FLAGS not in block[1].writes  # 16-bit instructions keep the flags inside an IT block
    assert FLAGS in block[2].normal
    assert FLAGS in block[3].writes
    assert FLAGS not in block[3].normal


def test_registers_by_when_they_are_needed() -> None:
    store = decode(bytes.fromhex("41f82300"))  # str.w r0, [r1, r3, lsl #2]
    assert (store.unit, store.early, store.late) == ("store", (1, 3), (0,))
    assert store.address == Address(1, index=3, shift=2)
    load = decode(bytes.fromhex("52f8043b"))  # ldr r3, [r2], #4
    assert (load.early, load.updates, load.writes) == ((2,), (2,), (3,))
    assert load.address == Address(2, update=4)
    smlad = decode(bytes.fromhex("21fb0200"))  # smlad r0, r1, r2, r0
    assert (smlad.unit, smlad.normal, smlad.late, smlad.writes) == ("mac", (1, 2), (0,), (0,))
    smlal = decode(bytes.fromhex("c7fb0856"))  # smlal r5, r6, r7, r8
    assert (smlal.normal, smlal.late, smlal.writes) == ((7, 8), (5, 6), (5, 6))
    pkhbt = decode(bytes.fromhex("c1ea0240"))  # pkhbt r0, r1, r2, lsl #16
    assert (pkhbt.unit, pkhbt.early, pkhbt.normal) == ("dsp", (2,), (1,))
    literal = decode(bytes.fromhex("0148"))  # ldr r0, [pc, #4]
    assert (literal.unit, literal.early) == ("load", ())
    assert literal.address == Address(PC, 4)
    push = decode(bytes.fromhex("70b5"))  # push {r4, r5, r6, lr}
    assert push.address == Address(SP, -16, update=-16)
    shifted = decode(bytes.fromhex("01eb8200"))  # add.w r0, r1, r2, lsl #2
    assert shifted.operands == (Operand(0), Operand(1), Operand(2, shift=2))


def test_width_of_accesses() -> None:
    widths = {"0868": 4, "0878": 1, "0888": 2, "91f90000": 1, "b1f90000": 2}
    for code, width in widths.items():
        assert decode(bytes.fromhex(code)).width == width, code


def test_double_registers_are_two_singles() -> None:
    move = decode(bytes.fromhex("51ec100b"))  # vmov r0, r1, d0
    assert (move.unit, move.normal, move.writes) == ("fp-move", (32, 33), (0, 1))
    multiple = decode(bytes.fromhex("b0ec040b"))  # vldmia r0!, {d0, d1}
    assert (multiple.unit, multiple.count) == ("load-multiple", 4)


def test_branches_know_their_displacement() -> None:
    assert decode(bytes.fromhex("fcd1")).displacement == -4  # bne .-4
    assert decode(bytes.fromhex("00f002f8")).branch == "call"
    assert decode(bytes.fromhex("70bd")).branch == "indirect"  # pop {r4, r5, r6, pc}
    assert decode(bytes.fromhex("10b1")).branch == "conditional"  # cbz r0


def test_unknown_encodings_cost_the_default() -> None:
    for core in ("cortex-m7", "cortex-m4"):
        model = timing_model(load_board(BOARDS[core]), "issue")
        # An MVE vector load, which neither core has, then half of a 32-bit instruction.
        assert model.block_cycles(bytes.fromhex("90ed000e"), 0) >= 1
        assert model.block_cycles(bytes.fromhex("086800eb"), 0) >= 1
        assert model.block_cycles(bytes.fromhex("f0ec02d1"), 0) == 1


def test_no_model_for_other_cores() -> None:
    facts = SimpleNamespace(core=SimpleNamespace(cpu="cortex-m33"))
    with pytest.raises(VirtualError, match="cortex-m33"):
        timing_model(cast(Board, SimpleNamespace(id="other", facts=facts)))
