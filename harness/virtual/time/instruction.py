"""What the timing models know of one instruction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

FLAGS = 16  # APSR as a pseudo register
SP, LR, PC = 13, 14, 15


class Operand(NamedTuple):
    """An operand of data processing or a multiply.

    Attributes:
        register: -1 for an immediate.
        immediate: Of an immediate.
        shift: Bits that a register is shifted left by; None where it is shifted otherwise.
    """

    register: int = -1
    immediate: int = 0
    shift: int | None = 0


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a load or store, and what its base register changes by.

    Attributes:
        base: Register.
        offset: Added to it.
        index: Register that is added too, -1 for none.
        shift: Bits that the index is shifted left by.
        update: What the base changes by; None where it stays.
    """

    base: int
    offset: int = 0
    index: int = -1
    shift: int = 0
    update: int | None = None


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
        operands: Of data processing and multiplies.
        address: Of a load or store, where it has one.
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
    operands: tuple[Operand, ...] = ()
    address: Address | None = None
    branch: str = ""
    displacement: int | None = None
