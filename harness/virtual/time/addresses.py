"""Derive where a basic block's loads and stores go, from its code alone.

An address is a sum of the core's registers at the start of the block, each times a constant, plus a
constant; a word that the block itself loaded may be a term too. What is not such a sum (a product
of two registers, a division) is unknown until the next block starts, and such an access is left
out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from harness.virtual.time.decode import PC, Instruction, decode, decode_block

SP = 13
MAX_TERMS = 6
MAX_KEPT = 8
_LOADED = 100  # terms from here on are the results of the block's own loads, by access
_MASK = 0xFFFF_FFFF
_MERGED_BYTES = 64


@dataclass(frozen=True, slots=True)
class Sum:
    """A constant plus registers times constants, modulo 2**32.

    Attributes:
        constant: The constant part.
        terms: Pairs of register (or load, from `_LOADED` on) and factor, ordered.
    """

    constant: int = 0
    terms: tuple[tuple[int, int], ...] = ()

    def plus(self, other: Sum, factor: int = 1) -> Sum:
        """Return this plus `other` times `factor`."""
        terms = dict(self.terms)
        for register, times in other.terms:
            terms[register] = _signed(terms.get(register, 0) + times * factor)
        kept = tuple(sorted((r, n) for r, n in terms.items() if n))
        return Sum(_signed(self.constant + other.constant * factor), kept)


@dataclass(frozen=True, slots=True)
class Access:
    """A load or store of a block.

    Attributes:
        address: Of its first byte.
        store: Whether it stores.
        bytes: From the first byte to the last.
        element_bytes: Of each aligned unit; 0 where alignment costs nothing.
        elements: Units.
        chained: Whether it is a load that the core pipelines with the load before it.
        keep: Number (from 1) under which later addresses refer to what it loaded; 0 for none.
    """

    address: Sum
    store: bool
    bytes: int
    element_bytes: int = 0
    elements: int = 1
    chained: bool = False
    keep: int = 0


@dataclass(slots=True)
class Addresses:
    """The accesses of a block in order, and how many could not be derived."""

    accesses: list[Access] = field(default_factory=list)
    unknown: int = 0


def derive(code: bytes, address: int, *, merge: bool = True) -> Addresses:
    """Return the accesses of the block `code` at `address`.

    Args:
        code: Machine code.
        address: Of its first byte; literal loads are relative to it.
        merge: Join neighbouring accesses of the same kind into one.
    """
    walk = _Walk()
    before: Instruction | None = None
    position = 0
    for instruction in decode_block(code):
        size = 2 * instruction.halfwords
        walk.step(instruction, code[position : position + size], address + position, before)
        before = instruction
        position += size
    found = _number_kept(walk.found)
    if merge:
        found.accesses = list(_merged(found.accesses))
    return found


def _signed(value: int) -> int:
    return ((value + (1 << 31)) & _MASK) - (1 << 31)


def _number_kept(found: Addresses) -> Addresses:
    """Give numbers to the loads that later addresses use; drop addresses beyond the limits."""
    used = sorted({r for a in found.accesses for r, _ in a.address.terms if r >= _LOADED})
    numbers = {register: n + 1 for n, register in enumerate(used[:MAX_KEPT])}
    out = Addresses(unknown=found.unknown)
    dropped: set[int] = set()
    for index, access in enumerate(found.accesses):
        terms = access.address.terms
        unreachable = any(r >= _LOADED and (r not in numbers or r in dropped) for r, _ in terms)
        if unreachable or len(terms) > MAX_TERMS:
            out.unknown += 1
            dropped.add(_LOADED + index)
            continue
        renamed = tuple((15 + numbers[r] if r >= _LOADED else r, n) for r, n in terms)
        keep = numbers.get(_LOADED + index, 0)
        address = Sum(access.address.constant, renamed)
        out.accesses.append(replace(access, address=address, keep=keep))
    return out


def _merged(accesses: list[Access]) -> Iterator[Access]:
    """Join accesses that continue each other; the order of others does not change."""
    open_: list[Access] = []
    for access in accesses:
        for index, earlier in enumerate(open_):
            if _continues(earlier, access):
                open_[index] = replace(
                    earlier,
                    bytes=earlier.bytes + access.bytes,
                    elements=earlier.elements + access.elements,
                )
                break
        else:
            open_.append(access)
    yield from open_


def _continues(earlier: Access, access: Access) -> bool:
    return (
        earlier.address.terms == access.address.terms
        and earlier.address.constant + earlier.bytes == access.address.constant
        and (earlier.store, earlier.element_bytes) == (access.store, access.element_bytes)
        and not (earlier.keep or access.keep or earlier.chained or access.chained)
        and earlier.bytes + access.bytes <= _MERGED_BYTES
    )


class _Walk:
    """The block's registers as sums, instruction by instruction."""

    def __init__(self) -> None:
        self.found = Addresses()
        self.values: dict[int, Sum | None] = {n: Sum(0, ((n, 1),)) for n in range(15)}

    def step(
        self, instruction: Instruction, code: bytes, at: int, before: Instruction | None
    ) -> None:
        """Account for one instruction."""
        unit = instruction.unit
        if unit in ("load", "store", "load-multiple", "store-multiple"):
            self._memory(instruction, code, at, before)
            return
        operands = _operands(code)
        value = self._computed(instruction, operands, at)
        for register in instruction.writes:
            if register < 15:
                self.values[register] = None
        if operands and operands[0][0] == "r" and operands[0][1] in instruction.writes:
            self.values[operands[0][1]] = value

    def _register(self, register: int, at: int) -> Sum | None:
        if register == PC:
            return Sum((at + 4) & ~3)
        return self.values.get(register)

    def _operand(self, operand: tuple[Any, ...], at: int) -> Sum | None:
        """Return the value of an operand: ("r", register, left shift or None) or ("i", value)."""
        if operand[0] == "i":
            return Sum(_signed(operand[1]))
        if operand[0] != "r" or operand[2] is None:
            return None
        value = self._register(operand[1], at)
        return None if value is None else Sum().plus(value, 1 << operand[2])

    def _computed(
        self, instruction: Instruction, operands: tuple[tuple[Any, ...], ...], at: int
    ) -> Sum | None:
        name = instruction.name
        if name == "movt" and len(operands) == 2:
            low = self.values.get(operands[0][1])
            if low is not None and not low.terms:
                return Sum(_signed(low.constant & 0xFFFF | operands[1][1] << 16))
            return None
        if len(operands) < 2:
            return None
        sources = operands[1:] if len(operands) > 2 else operands
        if name in ("mov", "movw", "adr"):
            return self._operand(operands[-1], at)
        if name == "lsl" and operands[-1][0] == "i":
            value = self._operand(sources[0] if len(operands) > 2 else operands[0], at)
            return None if value is None else Sum().plus(value, 1 << operands[-1][1])
        if name in ("add", "addw", "sub", "subw", "rsb"):
            left, right = self._operand(sources[0], at), self._operand(sources[1], at)
            if left is None or right is None:
                return None
            if name == "rsb":
                left, right = right, left
            return left.plus(right, 1 if name.startswith("add") else -1)
        if name in ("mul", "mla") and len(operands) >= 3:
            return self._product(name, operands, at)
        return None

    def _product(self, name: str, operands: tuple[tuple[Any, ...], ...], at: int) -> Sum | None:
        one, two = self._operand(operands[1], at), self._operand(operands[2], at)
        if one is None or two is None or (one.terms and two.terms):
            return None
        if one.terms:
            one, two = two, one
        product = Sum().plus(two, one.constant)
        if name == "mul":
            return product
        addend = self._operand(operands[3], at)
        return None if addend is None else addend.plus(product)

    def _memory(
        self, instruction: Instruction, code: bytes, at: int, before: Instruction | None
    ) -> None:
        place = _place(code)
        count = instruction.count * 4 if "multiple" in instruction.unit else instruction.width
        store = instruction.unit.startswith("store")
        address = None if place is None else self._address(place, at)
        if instruction.name in ("pld", "pli", "pldw"):
            address = None
        chained = (
            instruction.unit == "load"
            and before is not None
            and before.unit == "load"
            and not set(before.writes).intersection(instruction.early)
        )
        index = len(self.found.accesses)
        if address is not None:
            width = instruction.width if instruction.unit == "load" else 0
            access = Access(
                address, store, max(1, count), width if width > 1 else 0, chained=chained
            )
            self.found.accesses.append(access)
        elif instruction.name not in ("pld", "pli", "pldw"):
            self.found.unknown += 1
        if place is not None and place.update is not None:
            base = self._register(place.base, at)
            moved = self._moved(place, at)
            self.values[place.base] = None if base is None or moved is None else base.plus(moved)
        for register in instruction.writes:
            if register < 15:
                simple = instruction.unit == "load" and instruction.width == 4
                self.values[register] = (
                    Sum(0, ((_LOADED + index, 1),)) if simple and address is not None else None
                )

    def _address(self, place: Place, at: int) -> Sum | None:
        base = self._register(place.base, at)
        if base is None:
            return None
        base = base.plus(Sum(place.offset))
        if place.index < 0:
            return base
        index = self._register(place.index, at)
        return None if index is None else base.plus(index, 1 << place.shift)

    def _moved(self, place: Place, at: int) -> Sum | None:
        if place.update_register >= 0:
            return self._register(place.update_register, at)
        return Sum(place.update or 0)


@dataclass(frozen=True, slots=True)
class Place:
    """The address operand of an instruction; `update` is what its base changes by, if it does."""

    base: int
    offset: int = 0
    index: int = -1
    shift: int = 0
    update: int | None = None
    update_register: int = -1


@lru_cache(maxsize=1)
def _disassembler() -> Any:
    import capstone

    mode = capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8
    engine = capstone.Cs(capstone.CS_ARCH_ARM, mode)
    engine.detail = True
    return engine


def _number(instruction: Any, register: int) -> int:
    """Return the number of a core register, 99 for any other."""
    from harness.virtual.time.decode import _NAMES

    return _NAMES.get(instruction.reg_name(register) or "", 99)


@lru_cache(maxsize=1 << 16)
def _operands(code: bytes) -> tuple[tuple[Any, ...], ...]:
    """Return the operands of an instruction that is no load or store."""
    from capstone import arm

    for instruction in _disassembler().disasm(code, 0, 1):
        found: list[tuple[Any, ...]] = []
        for operand in instruction.operands:
            if operand.type == arm.ARM_OP_REG:
                shift: int | None = 0
                if operand.shift.type == arm.ARM_SFT_LSL:
                    shift = operand.shift.value
                elif operand.shift.type != 0:
                    shift = None
                found.append(("r", _number(instruction, operand.reg), shift))
            elif operand.type == arm.ARM_OP_IMM:
                found.append(("i", operand.imm))
            else:
                found.append(("?",))
        return tuple(found)
    return ()


@lru_cache(maxsize=1 << 16)
def _place(code: bytes) -> Place | None:
    """Return the address operand of a load or store."""
    from capstone import arm

    decoded = decode(code)
    for instruction in _disassembler().disasm(code, 0, 1):
        if "multiple" in decoded.unit and decoded.name not in ("ldrd", "strd"):
            return _multiple(decoded)
        operands = instruction.operands
        for n, operand in enumerate(operands):
            if operand.type != arm.ARM_OP_MEM:
                continue
            memory = operand.mem
            offset = memory.disp
            index = _number(instruction, memory.index) if memory.index else -1
            base = _number(instruction, memory.base)
            post = operands[n + 1 :]
            if decoded.updates:
                if post and post[0].type == arm.ARM_OP_REG:
                    return Place(base, update=0, update_register=_number(instruction, post[0].reg))
                if post or _post_indexed(code):
                    return Place(base, update=post[0].imm if post else offset)
                return Place(base, offset, index, _shift(operand), update=offset)
            if index == 99 or base == 99:
                return None
            return Place(base, offset, index, _shift(operand))
    return None


def _shift(operand: Any) -> int:
    return int(operand.shift.value or operand.mem.lshift)


def _post_indexed(code: bytes) -> bool:
    """Tell a post-indexed access by its P bit (ARMv7-M ARM A7.7: T4 of LDR, T1 of LDRD)."""
    first, second = code[0] | code[1] << 8, code[2] | code[3] << 8
    if first >> 9 == 0x74:  # LDRD, STRD: P is bit 8 of the first half word
        return not first & 0x100
    return bool(second & 0x800) and not second & 0x400


def _multiple(decoded: Instruction) -> Place | None:
    size = 4 * decoded.count
    name = decoded.name
    if name in ("push", "vpush"):
        return Place(SP, -size, update=-size)
    if name in ("pop", "vpop"):
        return Place(SP, 0, update=size)
    if not decoded.early:
        return None
    base, updates = decoded.early[0], bool(decoded.updates)
    if "db" in name:
        return Place(base, -size, update=-size if updates else None)
    return Place(base, 0, update=size if updates else None)
