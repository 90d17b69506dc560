"""Turn Thumb machine code into the few facts that a pipeline model needs.

Capstone names the instruction and its operands; this module says which registers it reads early
(address generation, shifted operands), normally or late (store data, accumulators), what it writes,
and which execution unit it takes. Every distinct encoding is decoded once per process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from harness.virtual.time import mnemonics as m
from harness.virtual.time.instruction import FLAGS, LR, PC, SP, Address, Instruction, Operand

_NAMES = {"sb": 9, "sl": 10, "fp": 11, "ip": 12, "sp": SP, "lr": LR, "pc": PC, "fpscr": FLAGS}
_NAMES |= {f"r{i}": i for i in range(16)}
_SINGLE = 32  # s0; d0 is s0 and s1

_TOKEN = re.compile(r"\[[^\]]*\]!?|\{[^}]*\}|[^,\s\[{][^,]*")
_REGISTER = re.compile(r"[a-z][a-z0-9]*")
_IMMEDIATE = re.compile(r"#(-?(?:0x[0-9a-f]+|\d+))")
_FP_UNITS = {
    **dict.fromkeys(m.FP_ALU | {"vcmp", "vcmpe"}, "fp"),
    **dict.fromkeys(m.FP_MAC, "fp-mac"),
    **dict.fromkeys(("vdiv", "vsqrt"), "fp-div"),
}
_SHIFTED = ("lsl", "lsr", "asr", "ror", "rrx")


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
    if instruction.halfwords == 1 and instruction.name not in m.COMPARE:
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
    for _, size, mnemonic, text in _disassembler().disasm_lite(encoding, 0, 1):
        if size == len(encoding):
            operands = [match.strip() for match in _TOKEN.findall(text)]
            name, suffix, flags = _split(mnemonic)
            wrote = (FLAGS,) if flags or name in m.COMPARE else ()
            return _classify(Instruction(name, "unknown", halfwords), operands, suffix, wrote)
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


def _registers(*texts: str) -> tuple[int, ...]:
    """Return the registers named anywhere in `texts`."""
    return tuple(n for text in texts for name in _REGISTER.findall(text) for n in _register(name))


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
    flags = name.endswith("s") and name[:-1] in m.ALU | m.MOVE | m.SHIFT | {"mul"}
    return (name[:-1] if flags else name), suffix.removesuffix(".w"), flags


def _classify(
    plain: Instruction, operands: list[str], suffix: str, wrote: tuple[int, ...]
) -> Instruction:
    """Return `plain`, of which the name is known, with what it does; `wrote` are the flags."""
    name = plain.name
    if name in m.ALU | m.MOVE | m.SHIFT | m.COMPARE | {"movt"}:
        return _data_processing(plain, operands, wrote)
    if name in m.MULTIPLY | m.ACCUMULATE | m.LONG | m.LONG_ACCUMULATE:
        return _multiply(plain, operands, wrote)
    if name in m.XT | m.XTA | m.PACK | m.EARLY_BITS | m.SATURATE | m.PARALLEL | m.BITS:
        return _dsp(plain, operands)
    if name in ("sdiv", "udiv"):
        reads, writes = _registers(*operands[-2:]), _register(operands[0])
        return replace(plain, unit="div", normal=reads, writes=writes)
    if name in m.LOADS | m.STORES:
        return _memory(plain, operands)
    if name in m.LOADS_OF_MANY | m.STORES_OF_MANY:
        return _multiple(plain, operands)
    if name.startswith("v") and name not in m.SYSTEM:
        return _floating(plain, operands, 2 if "f64" in suffix else 1)
    if name in m.DIRECT | m.INDIRECT or (name[:1] == "b" and name[1:] in m.CONDITIONS):
        return _branch(plain, operands)
    for names, unit in ((m.BARRIER, "barrier"), (m.SYSTEM, "system"), (m.HINT, "hint")):
        if name in names:
            writes = _register(operands[0]) if name in ("mrs", "vmrs") and operands else ()
            reads = _registers(operands[-1]) if name in ("msr", "vmsr") and operands else ()
            return replace(plain, unit=unit, normal=reads, writes=writes)
    return plain


def _operands(texts: list[str]) -> tuple[Operand, ...]:
    found: list[Operand] = []
    for text in texts:
        kind = text.split()[0]
        if kind in _SHIFTED:
            amount = _immediate(text) if kind == "lsl" else None
            found[-1] = found[-1]._replace(shift=amount)
        elif text.startswith("#"):
            found.append(Operand(immediate=_immediate(text) or 0))
        else:
            found.append(Operand(_NAMES.get(text, 99)))
    return tuple(found)


def _data_processing(plain: Instruction, texts: list[str], wrote: tuple[int, ...]) -> Instruction:
    name = plain.name
    target = _register(texts[0])
    shift = texts[-1].split()[0] in _SHIFTED and len(texts) > 1
    sources = texts[1:-1] if shift else texts[1:]
    reads = list(_registers(*sources))
    two_operand = len(sources) == 1 and name not in m.MOVE | {"rrx"}
    if name in m.COMPARE or name == "movt" or two_operand:
        reads = [*target, *reads]
    if name in m.CARRY:
        reads.append(FLAGS)
    early: tuple[int, ...] = ()
    operand2 = "simple"
    if shift and name in m.MOVE:
        name = texts[-1].split()[0] if name == "mov" else name
        reads += _registers(*texts[-1].split()[1:])
        operand2 = "simple" if name in m.SHIFT else "shifted-register"
    elif shift:
        operand2 = "shifted-register"
        early = tuple(reads[-1:])
        reads = reads[:-1]
    elif plain.halfwords == 2 and name not in m.SHIFT | {"addw", "subw", "movw", "movt", "adr"}:
        value = (_immediate(texts[-1]) or 0) & 0xFFFF_FFFF
        if value > 0xFF and not _is_pattern(value):
            operand2 = "shifted-constant"
    return replace(
        plain,
        name=name,
        unit="shift" if name in m.SHIFT else "alu",
        early=early,
        normal=tuple(r for r in reads if r != PC),
        writes=wrote if name in m.COMPARE else (*target, *wrote),
        operand2=operand2,
        operands=_operands(texts),
        branch="indirect" if PC in target and name not in m.COMPARE else "",
    )


def _multiply(plain: Instruction, texts: list[str], wrote: tuple[int, ...]) -> Instruction:
    plain = replace(plain, unit="mac", operands=_operands(texts))
    registers = tuple(_register(text)[0] for text in texts)
    if plain.name in m.LONG:
        return replace(plain, normal=registers[2:], writes=registers[:2])
    if plain.name in m.LONG_ACCUMULATE:
        both = registers[:2]
        return replace(plain, normal=registers[2:], late=both, writes=both)
    if plain.name in m.ACCUMULATE:
        return replace(plain, normal=registers[1:3], late=registers[3:], writes=registers[:1])
    sources = registers if len(registers) == 2 else registers[1:]
    return replace(plain, normal=sources, writes=(registers[0], *wrote))


def _dsp(plain: Instruction, texts: list[str]) -> Instruction:
    name, target = plain.name, _register(texts[0])
    sources = _registers(*texts[1:])
    if len(texts) == 2 and name in m.PARALLEL | m.PACK | m.XTA:
        sources = (*target, *sources)
    early: tuple[int, ...] = ()
    if name in m.EARLY_BITS | m.SATURATE | {"pkhtb"}:
        early, sources = sources, ()
    elif name in m.XTA or name == "pkhbt":
        early, sources = sources[-1:], sources[:-1]
    elif name == "bfi":
        early, sources = sources, target
    elif name == "bfc":
        sources = target
    elif name == "sel":
        sources = (*sources, FLAGS)
    return replace(plain, unit="dsp", early=early, normal=sources, writes=target)


def _memory(plain: Instruction, texts: list[str]) -> Instruction:
    """Return a load or store of one element, or of the two of ``ldrd`` and of a double."""
    name = plain.name
    place = next((i for i, text in enumerate(texts) if text.startswith("[")), None)
    if place is None:
        return plain
    data = tuple(n for text in texts[:place] for n in _register(text))
    inside, post = texts[place], texts[place + 1 :]
    inner, _, shift = inside.partition("lsl")
    named = _registers(inner)
    registers = tuple(n for n in named if n != PC)
    written_back = inside.endswith("!") or bool(post)
    offset = _immediate(inner) or 0
    moved = (_immediate(post[0]) or 0) if post else offset
    address = None
    if named:
        address = Address(
            named[0],
            0 if post else offset,
            named[1] if len(named) > 1 else -1,
            _immediate(shift) or 0,
            moved if written_back else None,
        )
    floating = name in ("vldr", "vstr")
    words = len(data) if floating or name in ("ldrd", "strd") else 1
    if address is not None and ((floating and words > 1) or name in m.STORE_EXCLUSIVE):
        # Offsets of these are left out, in version 1 of the pipeline models.
        address = Address(address.base) if registers else None
    element = "" if floating else "".join(letter for letter in name[3:] if letter in "bh")[:1]
    several = "-multiple" if words > 1 or name in m.STORE_EXCLUSIVE else ""
    plain = replace(
        plain,
        unit=("load" if name in m.LOADS else "store") + several,
        early=registers,
        updates=registers[:1] if written_back else (),
        width={"b": 1, "h": 2}.get(element, 4),
        count=words,
        address=address,
    )
    if name in m.LOADS:
        return replace(plain, writes=data, branch="indirect" if PC in data else "")
    if name in m.STORE_EXCLUSIVE:
        return replace(plain, late=data[1:], writes=data[:1])
    return replace(plain, late=data)


def _multiple(plain: Instruction, texts: list[str]) -> Instruction:
    name, registers = plain.name, _registers(texts[-1])
    down = "db" in name or name in ("push", "vpush")
    if name in ("push", "pop", "vpush", "vpop"):
        base, updates = SP, True
    else:
        base = (_register(texts[0].rstrip("!"))[:1] or (SP,))[0]
        updates = texts[0].endswith("!")
    size = 4 * len(registers) * (-1 if down else 1)
    plain = replace(
        plain,
        early=(base,),
        updates=(base,) if updates else (),
        width=4,
        count=len(registers),
        address=Address(base, min(size, 0), update=size if updates else None),
    )
    if name in m.STORES_OF_MANY:
        return replace(plain, unit="store-multiple", late=registers)
    branch = "indirect" if PC in registers else ""
    return replace(plain, unit="load-multiple", writes=registers, branch=branch)


def _floating(plain: Instruction, texts: list[str], words: int) -> Instruction:
    name = plain.name
    sets = [_register(text) for text in texts]
    first, rest = _joined(sets[:1]), _joined(sets[1:])
    if name == "vmov":
        # Two core registers and one double or two singles, in either direction.
        half = 1 if len(sets) < 3 or (len(sets) == 3 and len(first) == 2) else 2
        reads, writes, count = _joined(sets[half:]), _joined(sets[:half]), len(sets) - 1
        return replace(plain, unit="fp-move", normal=reads, writes=writes, count=count)
    unit = _FP_UNITS.get(name)
    if unit is None:
        return plain
    compares = name.startswith("vcmp")
    if compares or (len(texts) == 2 and name in ("vadd", "vsub", "vmul", "vnmul")):
        rest = (*first, *rest)
    return replace(
        plain,
        unit=unit,
        normal=(*rest, FLAGS) if name.startswith("vsel") else rest,
        late=first if unit == "fp-mac" else (),
        writes=(FLAGS,) if compares else first,
        count=words,
    )


def _joined(groups: list[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(register for group in groups for register in group)


def _branch(plain: Instruction, texts: list[str]) -> Instruction:
    name, displacement = plain.name, _immediate(texts[-1]) if texts else None
    if name in m.INDIRECT:
        # The table of tbb and tbh follows them, so PC is there at any time.
        address = tuple(n for n in _registers(texts[0].split("lsl")[0]) if n != PC)
        writes = (LR,) if name.startswith("blx") else ()
        return replace(plain, unit="branch", early=address, writes=writes, branch="indirect")
    if displacement is not None:
        # Decoded at address 0, so the target is the displacement, written modulo 2**32 or 2**64.
        displacement = (displacement + (1 << 31)) % (1 << 32) - (1 << 31)
    plain = replace(plain, unit="branch", displacement=displacement)
    if name == "b":
        return replace(plain, branch="direct")
    if name == "bl":
        return replace(plain, writes=(LR,), branch="call")
    if name in ("cbz", "cbnz"):
        return replace(plain, normal=_register(texts[0]), branch="conditional")
    return replace(plain, name="bcond", normal=(FLAGS,), branch="conditional")
