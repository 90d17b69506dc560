"""What lowering produces: one step per operator, with the values of its parameter block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from harness.models.graph import Operator


@dataclass(frozen=True, slots=True)
class Pointer:
    """Address of a tensor, in the arena or in the weights; `tensor` -1 is NULL."""

    tensor: int
    ctype: str = "int8_t"


@dataclass(frozen=True, slots=True)
class Scratch:
    """Address of the step's scratch buffer."""

    ctype: str = "void"


@dataclass(frozen=True, slots=True)
class Table:
    """A constant array of its own: numbers or pointers."""

    values: tuple[int | Pointer, ...]


@dataclass(frozen=True, slots=True)
class Braces:
    """A nested struct or array, by position."""

    values: tuple[int, ...]


Value: TypeAlias = int | float | Pointer | Scratch | Table | Braces


@dataclass(frozen=True, slots=True)
class Step:
    """One operator, ready to be emitted."""

    operator: Operator  # where it comes from
    kernel: str  # c function name without ``aot_``
    block: str  # c parameter type without ``aot_`` and ``_t``
    fields: Mapping[str, Value]  # values of the parameter block by field name
    scratch_bytes: int = 0  # scratch buffer that it needs
    checks_scratch: bool = False  # whether the kernel has a ``_scratch`` twin


@dataclass(frozen=True, slots=True)
class Program:
    """All steps in execution order."""

    steps: Sequence[Step]  # one per operator
    # Output tensor to the tensor that owns the memory it shares.
    aliases: Mapping[int, int] = field(default_factory=dict)
