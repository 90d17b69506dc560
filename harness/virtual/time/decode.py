"""Turn Thumb machine code into the few facts that a pipeline model needs.

Capstone names the instruction and its operands; this module says which registers it reads early
(address generation, shifted operands), normally or late (store data, accumulators), what it writes,
and which execution unit it takes. Every distinct encoding is decoded once per process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from harness.virtual.time.mnemonics import (
    ACCUMULATE,
    ALU,
    BARRIER,
    BITS,
    CARRY,
    COMPARE,
    CONDITIONS,
    EARLY_BITS,
    FP_ALU,
    FP_LOAD_MULTIPLE,
    FP_MAC,
    FP_STORE_MULTIPLE,
    HINT,
    LOAD_MULTIPLE,
    LOAD_PART,
    LOAD_WORD,
    LONG,
    LONG_ACCUMULATE,
    MOVE,
    MULTIPLY,
    PACK,
    PARALLEL,
    PRELOAD,
    SATURATE,
    SHIFT,
    STORE,
    STORE_EXCLUSIVE,
    STORE_MULTIPLE,
    SYSTEM,
    XT,
    XTA,
)

FLAGS = 16  # APSR as a pseudo register
PC = 15
_NAMES = {"sb": 9, "sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14, "pc": PC, "fpscr": FLAGS}
_NAMES |= {f"r{i}": i for i in range(16)}
_SINGLE = 32  # s0; d0 is s0 and s1

_TOKEN = re.compile(r"\[[^\]]*\]!?|\{[^}]*\}|[^,\s\[{][^,]*")
_REGISTER = re.compile(r"[a-z][a-z0-9]*")
_IMMEDIATE = re.compile(r"#(-?(?:0x[0-9a-f]+|\d+))")


@dataclass(frozen=True, slots=True)
class Instruction:
    """What one instruction asks of the pipeline.

    Attributes:
        name: Mnemonic without condition, width and flag suffixes.
        unit: Execution class: ``alu``, ``shift``, ``dsp``, ``mac``, ``div``, ``load``, ``store``,
            ``load-multiple``, ``store-multiple``, ``branch``, ``fp``, ``fp-mac``, ``fp-div``,
            ``fp-move``, ``barrier``, ``system``, ``hint`` or ``unknown``.
        halfwords: Encoded size in 16-bit units.
        early: Registers needed a cycle early: addresses, inline-shifted and extracted operands.
        normal: Registers needed by the ALU stage.
        late: Registers needed last: store data, accumulators.
        writes: Registers written with the unit's latency.
        updates: Base registers written by address generation.
        width: Bytes per loaded or stored element; 0 where there is none.
        count: Registers transferred (multiples) or 32-bit FP words involved.
        operand2: ``simple``, ``shifted-constant`` or ``shifted-register``.
        base: Base register of an immediate-offset access, else -1.
        offset: Offset from `base` that is accessed.
        indexed: Whether the address has a register offset.
        branch: ``""``, ``direct``, ``conditional``, ``call`` or ``indirect`` (any write of PC).
        displacement: Branch target minus the address of the instruction; None when not encoded.
    """

    name: str
    unit: str
    halfwords: int
    early: tuple[int, ...] = ()
    normal: tuple[int, ...] = ()
    late: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    updates: tuple[int, ...] = ()
    width: int = 0
    count: int = 0
    operand2: str = "simple"
    base: int = -1
    offset: int = 0
    indexed: bool = False
    branch: str = ""
    displacement: int | None = None


def decode_block(code: bytes) -> Iterator[Instruction]:
    """Decode the instructions of `code` in order.

    A trailing half of a 32-bit instruction (a translation block never has one) and every encoding
    that Capstone does not know come out with unit ``unknown``.
    """
    position = 0
    conditional = 0
    while position + 1 < len(code):
        first = code[position] | code[position + 1] << 8
        # The five top bits tell a 32-bit encoding (ARMv7-M ARM, A5.1).
        size = 4 if first >> 11 >= 0x1D else 2
        instruction = decode(code[position : position + size])
        position += size
        if conditional:
            conditional -= 1
            instruction = _in_it_block(instruction)
        elif first & 0xFF00 == 0xBF00 and first & 0xF:
            # IT: the lowest set bit of the mask ends the block (ARMv7-M ARM, A7.7.38).
            mask = first & 0xF
            conditional = 4 - ((mask & -mask).bit_length() - 1)
        yield instruction


@lru_cache(maxsize=1 << 16)
def _in_it_block(instruction: Instruction) -> Instruction:
    """Return `instruction` as it behaves under a condition: reads flags and its old result."""
    writes = instruction.writes
    if instruction.halfwords == 1 and instruction.name not in COMPARE:
        # 16-bit data processing does not set flags inside an IT block (ARMv7-M ARM, A4.1.2).
        writes = tuple(r for r in writes if r != FLAGS)
    return replace(instruction, normal=(*instruction.normal, FLAGS), writes=writes)


@lru_cache(maxsize=1)
def _disassembler() -> Any:
    import capstone

    mode = capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS
    return capstone.Cs(capstone.CS_ARCH_ARM, mode | capstone.CS_MODE_V8)


@lru_cache(maxsize=1 << 16)
def decode(encoding: bytes) -> Instruction:
    """Decode one encoding of two or four bytes, outside of any IT block."""
    halfwords = max(1, len(encoding) // 2)
    first = int.from_bytes(encoding[:2], "little")
    if first & 0xFF00 == 0xBF00 and first & 0xF:
        return Instruction("it", "hint", 1)  # predicts, so it does not wait for the flags
    for _, size, mnemonic, operands in _disassembler().disasm_lite(encoding, 0, 1):
        if size == len(encoding):
            return _classify(mnemonic, operands, halfwords)
    return Instruction(f"undecodable:{encoding.hex()}", "unknown", halfwords)


def _register(text: str) -> tuple[int, ...]:
    """Return the numbers of the register named by `text`; a double is two singles."""
    if text in _NAMES:
        return (_NAMES[text],)
    if text[:1] in ("s", "d") and text[1:].isdigit():
        number = int(text[1:])
        if text[0] == "s":
            return (_SINGLE + number,)
        return (_SINGLE + 2 * number, _SINGLE + 2 * number + 1)
    return (FLAGS,) if text.startswith("apsr") else ()


def _registers(text: str) -> tuple[int, ...]:
    return tuple(n for name in _REGISTER.findall(text) for n in _register(name))


def _register_list(text: str) -> tuple[int, ...]:
    """Return the registers of ``{r4, r5, lr}``."""
    return _registers(text.strip("{}"))


def _immediate(text: str) -> int | None:
    found = _IMMEDIATE.search(text)
    return int(found.group(1), 0) if found else None


def _is_pattern(value: int) -> bool:
    """Tell whether a modified immediate repeats a byte (ARMv7-M ARM, A5.3.2)."""
    low, high = value & 0xFF, value >> 8 & 0xFF
    return value in (low * 0x0001_0001, high * 0x0100_0100, low * 0x0101_0101)


def _split(mnemonic: str) -> tuple[str, str, bool]:
    """Return (name, FP type suffix, sets flags)."""
    name, _, suffix = mnemonic.partition(".")
    if suffix in ("w", "n"):
        suffix = ""
    flags = name.endswith("s") and name[:-1] in ALU | MOVE | SHIFT | {"mul"}
    return (name[:-1] if flags else name), suffix.removesuffix(".w"), flags


def _classify(mnemonic: str, text: str, halfwords: int) -> Instruction:
    name, suffix, flags = _split(mnemonic)
    operands = [match.strip() for match in _TOKEN.findall(text)]
    wrote = (FLAGS,) if flags or name in COMPARE else ()

    if name in ALU or name in MOVE or name in SHIFT or name in COMPARE or name == "movt":
        return _data_processing(name, operands, halfwords, wrote)
    if name in MULTIPLY or name in ACCUMULATE or name in LONG or name in LONG_ACCUMULATE:
        return _multiply(name, operands, halfwords, wrote)
    if name in XT | XTA | PACK | EARLY_BITS | SATURATE | PARALLEL | BITS:
        return _dsp(name, operands, halfwords)
    if name in ("sdiv", "udiv"):
        reads = _registers(" ".join(operands[-2:]))
        return Instruction(name, "div", halfwords, normal=reads, writes=_register(operands[0]))
    memory = _memory(name, operands, halfwords)
    if memory is not None:
        return memory
    if name.startswith("v"):
        floating = _floating(name, suffix, operands, halfwords)
        if floating is not None:
            return floating
    branch = _branch(name, operands, halfwords)
    if branch is not None:
        return branch
    for names, unit in ((BARRIER, "barrier"), (SYSTEM, "system"), (HINT, "hint")):
        if name in names:
            writes = _register(operands[0]) if name in ("mrs", "vmrs") and operands else ()
            reads = _registers(operands[-1]) if name in ("msr", "vmsr") and operands else ()
            return Instruction(name, unit, halfwords, normal=reads, writes=writes)
    return Instruction(name, "unknown", halfwords)


def _data_processing(
    name: str, operands: list[str], halfwords: int, wrote: tuple[int, ...]
) -> Instruction:
    target = _register(operands[0])
    shift = operands[-1].split()[0] in ("lsl", "lsr", "asr", "ror", "rrx") and len(operands) > 1
    sources = operands[1:-1] if shift else operands[1:]
    writes = wrote if name in COMPARE else (*target, *wrote)
    reads = [n for operand in sources for n in _registers(operand)]
    two_operand = len(sources) == 1 and name not in MOVE and name not in ("rrx",)
    if name in COMPARE or name == "movt" or two_operand:
        reads = [*target, *reads]
    if name in CARRY:
        reads.append(FLAGS)
    early: tuple[int, ...] = ()
    operand2 = "simple"
    if shift and name in MOVE:
        name = operands[-1].split()[0] if name == "mov" else name
        reads += _registers(" ".join(operands[-1].split()[1:]))
        operand2 = "simple" if name in SHIFT else "shifted-register"
    elif shift:
        operand2 = "shifted-register"
        early = tuple(reads[-1:])
        reads = reads[:-1]
    elif halfwords == 2 and name not in ("addw", "subw", "movw", "movt", "adr"):
        value = _immediate(operands[-1]) if name not in SHIFT else None
        if value is not None:
            value &= 0xFFFF_FFFF
            if value > 0xFF and not _is_pattern(value):
                operand2 = "shifted-constant"
    indirect = "indirect" if PC in target and name not in COMPARE else ""
    unit = "shift" if name in SHIFT else "alu"
    return Instruction(
        name,
        unit,
        halfwords,
        early=early,
        normal=tuple(r for r in reads if r != PC),
        writes=writes,
        operand2=operand2,
        branch=indirect,
    )


def _multiply(
    name: str, operands: list[str], halfwords: int, wrote: tuple[int, ...]
) -> Instruction:
    registers = [_register(operand)[0] for operand in operands]
    if name in LONG:
        return Instruction(
            name, "mac", halfwords, normal=tuple(registers[2:]), writes=tuple(registers[:2])
        )
    if name in LONG_ACCUMULATE:
        both = tuple(registers[:2])
        return Instruction(
            name, "mac", halfwords, normal=tuple(registers[2:]), late=both, writes=both
        )
    if name in ACCUMULATE:
        return Instruction(
            name,
            "mac",
            halfwords,
            normal=tuple(registers[1:3]),
            late=tuple(registers[3:]),
            writes=(registers[0],),
        )
    sources = registers if len(registers) == 2 else registers[1:]
    return Instruction(name, "mac", halfwords, normal=tuple(sources), writes=(registers[0], *wrote))


def _dsp(name: str, operands: list[str], halfwords: int) -> Instruction:
    target = _register(operands[0])
    sources = [n for operand in operands[1:] for n in _registers(operand)]
    if len(operands) == 2 and name in PARALLEL | PACK | XTA:
        sources = [*target, *sources]
    early: list[int] = []
    if name in EARLY_BITS or name in SATURATE or (name == "pkhtb"):
        early, sources = sources, []
    elif name in XTA or name == "pkhbt":
        early, sources = sources[-1:], sources[:-1]
    elif name == "bfi":
        early, sources = sources, list(target)
    elif name == "bfc":
        sources = list(target)
    elif name == "sel":
        sources.append(FLAGS)
    writes = target
    return Instruction(
        name, "dsp", halfwords, early=tuple(early), normal=tuple(sources), writes=writes
    )


def _memory(name: str, operands: list[str], halfwords: int) -> Instruction | None:
    if name in LOAD_MULTIPLE | STORE_MULTIPLE | FP_LOAD_MULTIPLE | FP_STORE_MULTIPLE:
        return _multiple(name, operands, halfwords)
    floating = name in ("vldr", "vstr")
    pair = name in ("ldrd", "strd")
    load = name in LOAD_WORD | LOAD_PART | PRELOAD or name in ("ldrd", "vldr")
    store = name in STORE | STORE_EXCLUSIVE or name in ("strd", "vstr")
    if not (load or store):
        return None
    place = next((i for i, operand in enumerate(operands) if operand.startswith("[")), None)
    if place is None:
        return Instruction(name, "unknown", halfwords)
    data = tuple(n for operand in operands[:place] for n in _register(operand))
    inside = operands[place]
    address = tuple(n for n in _registers(inside.split("lsl")[0]) if n != PC)
    post = operands[place + 1 :]
    literal = "pc" in _REGISTER.findall(inside)
    indexed = not literal and len(_registers(inside.split("lsl")[0])) > 1
    updates = address[:1] if inside.endswith("!") or post else ()
    base = PC if literal else address[0] if address else -1
    offset = 0 if post else (_immediate(inside) or 0)
    words = len(data) if floating or pair else 1
    element = re.search(r"[bh]", name[3:]) if not floating else None
    common: dict[str, Any] = {
        "early": address,
        "updates": updates,
        "width": {"b": 1, "h": 2}.get(element.group() if element else "", 4),
        "base": -1 if indexed else base,
        "offset": offset,
        "indexed": indexed,
    }
    if load:
        unit = "load-multiple" if words > 1 else "load"
        branch = "indirect" if PC in data else ""
        return Instruction(name, unit, halfwords, writes=data, count=words, branch=branch, **common)
    if name in STORE_EXCLUSIVE:
        return Instruction(
            name, "store-multiple", halfwords, late=data[1:], writes=data[:1], count=1, **common
        )
    unit = "store-multiple" if words > 1 else "store"
    return Instruction(name, unit, halfwords, late=data, count=words, **common)


def _multiple(name: str, operands: list[str], halfwords: int) -> Instruction:
    registers = _register_list(operands[-1])
    base: tuple[int, ...]
    updates: tuple[int, ...]
    if name in ("push", "pop", "vpush", "vpop"):
        base, updates = (13,), (13,)
    else:
        base = _register(operands[0].rstrip("!"))[:1] or (13,)
        updates = base if operands[0].endswith("!") else ()
    if name in LOAD_MULTIPLE | FP_LOAD_MULTIPLE:
        return Instruction(
            name,
            "load-multiple",
            halfwords,
            early=base,
            writes=registers,
            updates=updates,
            width=4,
            count=len(registers),
            branch="indirect" if PC in registers else "",
        )
    return Instruction(
        name,
        "store-multiple",
        halfwords,
        early=base,
        late=registers,
        updates=updates,
        width=4,
        count=len(registers),
    )


def _floating(name: str, suffix: str, operands: list[str], halfwords: int) -> Instruction | None:
    sets = [_register(operand) for operand in operands]
    first = sets[0] if sets else ()
    rest = tuple(n for group in sets[1:] for n in group)
    double = 2 if "f64" in suffix else 1
    if name == "vmov":
        reads = rest
        writes = first
        if len(operands) >= 3:
            # Two core registers and one double or two singles, in either direction.
            half = len(operands) // 2 if len(operands) == 4 else (1 if len(first) == 2 else 2)
            writes = tuple(n for group in sets[:half] for n in group)
            reads = tuple(n for group in sets[half:] for n in group)
        return Instruction(
            name, "fp-move", halfwords, normal=reads, writes=writes, count=len(operands) - 1
        )
    if name in ("vcmp", "vcmpe"):
        reads = (*first, *rest)
        return Instruction(name, "fp", halfwords, normal=reads, writes=(FLAGS,), count=double)
    if name in ("vdiv", "vsqrt"):
        return Instruction(name, "fp-div", halfwords, normal=rest, writes=first, count=double)
    if name in FP_MAC:
        return Instruction(
            name, "fp-mac", halfwords, normal=rest, late=first, writes=first, count=double
        )
    if name in FP_ALU:
        two_operand = len(operands) == 2 and name in ("vadd", "vsub", "vmul", "vnmul")
        reads = (*first, *rest) if two_operand else rest
        if name.startswith("vsel"):
            reads = (*reads, FLAGS)
        return Instruction(name, "fp", halfwords, normal=reads, writes=first, count=double)
    return None


def _branch(name: str, operands: list[str], halfwords: int) -> Instruction | None:
    displacement = _immediate(operands[-1]) if operands else None
    if displacement is not None:
        # Decoded at address 0, so the target is the displacement, written modulo 2**32 or 2**64.
        displacement = (displacement + (1 << 31)) % (1 << 32) - (1 << 31)
    if name == "b":
        return Instruction(name, "branch", halfwords, branch="direct", displacement=displacement)
    if name in ("cbz", "cbnz"):
        return Instruction(
            name,
            "branch",
            halfwords,
            normal=_register(operands[0]),
            branch="conditional",
            displacement=displacement,
        )
    if name == "bl":
        return Instruction(
            name, "branch", halfwords, writes=(14,), branch="call", displacement=displacement
        )
    if name in ("bx", "blx", "bxns", "blxns"):
        writes = (14,) if name.startswith("blx") else ()
        return Instruction(
            name,
            "branch",
            halfwords,
            early=_registers(operands[0]),
            writes=writes,
            branch="indirect",
        )
    if name in ("tbb", "tbh"):
        address = tuple(n for n in _registers(operands[0].split("lsl")[0]) if n != PC)
        return Instruction(name, "branch", halfwords, early=address, branch="indirect")
    if name[:1] == "b" and name[1:] in CONDITIONS:
        return Instruction(
            "b" + "cond",
            "branch",
            halfwords,
            normal=(FLAGS,),
            branch="conditional",
            displacement=displacement,
        )
    return None
