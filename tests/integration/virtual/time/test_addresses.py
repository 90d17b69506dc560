"""Addresses that are derived from a block's code, against what the code really accesses."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from harness.virtual.time.addresses import Access, Sum, derive
from support import needs

FLASH, RAM = 0x0800_0000, 0x2000_0000
PROGRAMS = [
    "ldr r0, [r1], #4; ldr r2, [r1], #4; ldr r3, [r4, #-8]!; str r0, [r4]; ldrsb r5, [r4, #1]",
    "ldr.w r0, [r1, r2, lsl #2]; add.w r3, r1, r2, lsl #1; ldrh r4, [r3], #2; strb r4, [r3]",
    "push {r4, r5, lr}; sub sp, #16; str r0, [sp, #4]; pop {r4, r5}; ldmia r1!, {r3, r6, r7}; "
    "ldr r9, [r1]",
    "ldr r0, [r1]; ldr r3, [r0, #8]; ldrd r6, r7, [sp, #8]; strd r6, r7, [sp], #16; str r0, [sp]",
    "movw r0, #0x1234; movt r0, #0x2000; ldr r3, [r0, #4]; vldmia r4!, {s0-s3}; vldr s4, [r4, #8]",
    "adds r7, r4, r2; ldr r3, [r7]; mov r8, r7; subs r8, #12; ldrsb.w r9, [r8], #1; "
    "ldrsb.w r9, [r8, #-2]; lsls r3, r2, #3; ldrb r6, [r4, r3]; stmdb r4!, {r6, r7, r8}",
]


def assemble(text: str, folder: Path) -> bytes:
    source, obj, binary = folder / "a.s", folder / "a.o", folder / "a.bin"
    head = [".syntax unified", ".thumb", ".cpu cortex-m7", ".fpu fpv5-sp-d16"]
    source.write_text("\n".join([*head, *text.split("; ")]) + "\n")
    subprocess.run(["arm-none-eabi-as", str(source), "-o", str(obj)], check=True)
    copy = ["arm-none-eabi-objcopy", "-O", "binary", str(obj), str(binary)]
    subprocess.run(copy, check=True)
    return binary.read_bytes()


@needs.emulator
@needs.compiler
@pytest.mark.parametrize("program", PROGRAMS)
def test_derived_addresses_are_those_accessed(program: str, tmp_path: Path) -> None:
    import unicorn
    from unicorn import arm_const as arm

    code = assemble(program, tmp_path)
    engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
    engine.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M7)
    engine.mem_map(FLASH, 0x1000)
    engine.mem_map(RAM, 0x4000)
    engine.mem_write(FLASH, code)
    # Every word of RAM is an address in RAM, so that loaded words can be followed.
    words = random.Random(1).choices(range(RAM + 0x400, RAM + 0x3000, 4), k=0x1000)
    engine.mem_write(RAM, b"".join(w.to_bytes(4, "little") for w in words))
    registers = [getattr(arm, f"UC_ARM_REG_R{n}") for n in range(13)]
    registers += [arm.UC_ARM_REG_SP, arm.UC_ARM_REG_LR]
    values = [RAM + 0x800 + 64 * n for n in range(15)]
    values[2] = 20
    for register, value in zip(registers, values, strict=True):
        engine.reg_write(register, value)
    seen: set[tuple[bool, int]] = set()

    def note(_e: object, kind: int, address: int, size: int, *_rest: object) -> None:
        seen.update((kind == unicorn.UC_MEM_WRITE, address + n) for n in range(size))

    engine.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, note)
    before = bytes(engine.mem_read(RAM, 0x4000))
    engine.emu_start(FLASH | 1, FLASH + len(code))
    for merge in (False, True):
        found = derive(code, FLASH, merge=merge)
        assert _bytes(found, values, before) == seen


def _bytes(accesses: list[Access], values: list[int], ram: bytes) -> set[tuple[bool, int]]:
    """Return the bytes that the accesses touch, with `values` in the registers."""
    known = dict(enumerate(values))
    touched: set[tuple[bool, int]] = set()
    for access in accesses:
        terms = sum(known[register] * factor for register, factor in access.address.terms)
        address = (access.address.constant + terms) & 0xFFFF_FFFF
        touched.update((access.store, address + n) for n in range(access.bytes))
        if access.keep:
            at = address - RAM
            known[access.keep] = int.from_bytes(ram[at : at + 4], "little")
    return touched


def test_products_of_registers_are_unknown() -> None:
    # mul r0, r1, r2; ldr r3, [r0]
    assert derive(bytes.fromhex("01fb02f00368"), FLASH) == []


def test_literals_are_known_without_registers() -> None:
    # ldr r0, [pc, #4]
    assert derive(bytes.fromhex("0148"), FLASH)[0].address == Sum(FLASH + 8)


def test_neighbours_are_one_access() -> None:
    # ldr r0, [r1], #4; ldr r2, [r1], #4
    code = bytes.fromhex("51f8040b51f8042b")
    chained = derive(code, FLASH)
    assert [a.chained for a in chained] == [False, True]
    # strb r0, [r1]; strb r0, [r1, #1]
    assert [a.bytes for a in derive(bytes.fromhex("08704870"), FLASH)] == [2]
