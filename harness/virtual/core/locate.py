"""Find the instruction that makes a register access.

Within a basic block the emulator keeps PC only at the block's start, but every other register is
up to date at an access. So the loads and stores of the block are decoded, and the one whose address
comes out right is the one.
"""

from __future__ import annotations

from collections.abc import Callable


def accessing_pc(
    code: bytes, start: int, address: int, *, write: bool, register: Callable[[int], int]
) -> int | None:
    """Return the PC of the only load (or store) in a block that can have accessed `address`.

    The block is `code` at `start`; `register` returns the value of R0 to R15 by number. None if
    there is no such instruction, or several.
    """
    import capstone
    from capstone import arm

    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    decoder.detail = True
    general = {getattr(arm, f"ARM_REG_R{n}"): n for n in range(13)}
    numbers = general | {arm.ARM_REG_SP: 13, arm.ARM_REG_LR: 14}

    def value(name: int) -> int:
        return register(numbers[name]) if name in numbers else 0

    found: list[int] = []
    for instruction in decoder.disasm(code, start):
        if not instruction.mnemonic.startswith("str" if write else "ldr"):
            continue
        for operand in instruction.operands:
            if operand.type != arm.ARM_OP_MEM:
                continue
            index = value(operand.mem.index) << operand.shift.value
            offset = 0 if instruction.post_index else operand.mem.disp
            # A doubleword's second half is an access of its own.
            if (address - value(operand.mem.base) - index - offset) & 0xFFFF_FFFB == 0:
                found.append(instruction.address)
    return found[0] if len(found) == 1 else None


def tested_bits(code: bytes, start: int) -> list[int]:
    """Return the bits that the code behind the load at `start` tests of what it loads.

    Compilers test a bit by ``tst``, ``ands`` or a shift that moves it into a flag; empty where
    the next few instructions have none of these.
    """
    import capstone
    from capstone import arm

    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    decoder.detail = True
    loaded = None
    for instruction in decoder.disasm(code, start):
        operands, name = instruction.operands, instruction.mnemonic.removesuffix(".w")
        if loaded is None:
            loaded = operands[0].reg if name.startswith("ldr") else 0
            continue
        uses = len(operands) > 1 and loaded in (operands[0].reg, operands[1].reg)
        last = operands[-1] if operands else None
        if not uses or last is None or last.type != arm.ARM_OP_IMM:
            if name.startswith("b"):
                break
            continue
        if name in ("lsls", "lsl"):
            return [31 - last.imm]
        if name in ("tst", "and", "ands"):
            return [bit for bit in range(32) if last.imm >> bit & 1]
    return []
