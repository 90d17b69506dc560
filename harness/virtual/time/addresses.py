"""Derive where a basic block's loads and stores go, from its code alone.

An address is a sum of the core's registers at the start of the block, each times a constant, plus a
constant; a word that the block itself loaded may be a term too. What is not such a sum (a product
of two registers, a division) is unknown until the next block starts, and such an access is left
out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.virtual.native.watch import FIRST_KEPT, MAX_KEPT, MAX_TERMS
from harness.virtual.time.decode import decode_block
from harness.virtual.time.instruction import PC, Instruction, Operand
from harness.virtual.time.mnemonics import PRELOAD

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
        keep: Number under which later addresses refer to what it loaded; 0 for none.
    """

    address: Sum
    store: bool
    bytes: int
    element_bytes: int = 0
    elements: int = 1
    chained: bool = False
    keep: int = 0


def derive(code: bytes, address: int, *, merge: bool = True) -> list[Access]:
    """Return the accesses of the block `code` at `address`.

    Args:
        code: Machine code.
        address: Of its first byte; literal loads are relative to it.
        merge: Join neighbouring accesses of the same kind into one.
    """
    walk = _Walk()
    before: Instruction | None = None
    for instruction in decode_block(code):
        walk.step(instruction, address, before)
        before = instruction
        address += 2 * instruction.halfwords
    found = _number_kept(walk.found)
    return list(_merged(found)) if merge else found


def _signed(value: int) -> int:
    return ((value + (1 << 31)) & _MASK) - (1 << 31)


def _number_kept(found: list[Access]) -> list[Access]:
    """Give numbers to the loads that later addresses use; drop addresses beyond the limits."""
    used = sorted({r for a in found for r, _ in a.address.terms if r >= _LOADED})
    numbers = {register: FIRST_KEPT + n for n, register in enumerate(used[:MAX_KEPT])}
    numbers |= {register: register for register in range(FIRST_KEPT)}
    out: list[Access] = []
    for index, access in enumerate(found, start=_LOADED):
        terms = access.address.terms
        if len(terms) > MAX_TERMS or any(r not in numbers for r, _ in terms):
            numbers.pop(index, None)
            continue
        renamed = tuple((numbers[r], n) for r, n in terms)
        address = Sum(access.address.constant, renamed)
        out.append(replace(access, address=address, keep=numbers.get(index, 0)))
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
        self.found: list[Access] = []
        self.values: dict[int, Sum | None] = {n: Sum(0, ((n, 1),)) for n in range(15)}

    def step(self, instruction: Instruction, at: int, before: Instruction | None) -> None:
        """Account for one instruction at address `at`."""
        if instruction.width:
            self._access(instruction, at, before)
            return
        operands = instruction.operands
        value = self._computed(instruction.name, operands, at) if len(operands) > 1 else None
        for register in instruction.writes:
            if register < PC:
                self.values[register] = None
        if operands and operands[0].register in instruction.writes:
            self.values[operands[0].register] = value

    def _register(self, register: int, at: int) -> Sum | None:
        return Sum((at + 4) & ~3) if register == PC else self.values.get(register)

    def _operand(self, operand: Operand, at: int) -> Sum | None:
        if operand.register < 0:
            return Sum(_signed(operand.immediate))
        value = self._register(operand.register, at)
        if value is None or operand.shift is None:
            return None
        return Sum().plus(value, 1 << operand.shift)

    def _computed(self, name: str, operands: tuple[Operand, ...], at: int) -> Sum | None:
        """Return what an instruction computes, None where it is no sum."""
        if name == "movt":
            low = self.values.get(operands[0].register)
            if low is None or low.terms:
                return None
            return Sum(_signed(low.constant & 0xFFFF | operands[1].immediate << 16))
        if name in ("mov", "movw", "adr"):
            return self._operand(operands[-1], at)
        left, right, *rest = operands[1:] if len(operands) > 2 else operands
        one, two = self._operand(left, at), self._operand(right, at)
        if one is None or two is None:
            return None
        if name == "lsl" and right.register < 0:
            return Sum().plus(one, 1 << right.immediate)
        if name in ("add", "addw"):
            return one.plus(two)
        if name in ("sub", "subw"):
            return one.plus(two, -1)
        if name == "rsb":
            return two.plus(one, -1)
        if name not in ("mul", "mla") or len(operands) < 3 or (one.terms and two.terms):
            return None
        product = Sum().plus(one, two.constant) if one.terms else Sum().plus(two, one.constant)
        addend = self._operand(rest[0], at) if rest else Sum()
        return None if addend is None else addend.plus(product)

    def _access(self, instruction: Instruction, at: int, before: Instruction | None) -> None:
        place = instruction.address
        single = instruction.unit == "load"
        base = self._register(place.base, at) if place is not None else None
        address = None
        if place is not None and base is not None and instruction.name not in PRELOAD:
            address = base.plus(Sum(place.offset))
            if place.index >= 0:
                index = self._register(place.index, at)
                address = None if index is None else address.plus(index, 1 << place.shift)
        number = len(self.found)
        if address is not None:
            chained = (
                single
                and before is not None
                and before.unit == "load"
                and not set(before.writes).intersection(instruction.early)
            )
            several = "multiple" in instruction.unit
            self.found.append(Access(
                address,
                instruction.unit.startswith("store"),
                max(1, instruction.count * 4 if several else instruction.width),
                instruction.width if single and instruction.width > 1 else 0,
                chained=chained,
            ))  # fmt: skip
        if place is not None and place.update is not None:
            self.values[place.base] = None if base is None else base.plus(Sum(place.update))
        loaded = single and instruction.width == 4 and address is not None
        for register in instruction.writes:
            if register < PC:
                self.values[register] = Sum(0, ((_LOADED + number, 1),)) if loaded else None
