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
    """One operator, ready to be emitted.

    Attributes:
        operator: Where it comes from.
        kernel: C function name without ``aot_``.
        block: C parameter type without ``aot_`` and ``_t``.
        fields: Values of the parameter block by field name.
        scratch_bytes: Scratch buffer that it needs.
        checks_scratch: Whether the kernel has a ``_scratch`` twin.
    """

    operator: Operator
    kernel: str
    block: str
    fields: Mapping[str, Value]
    scratch_bytes: int = 0
    checks_scratch: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """All steps in execution order.

    Attributes:
        steps: One per operator.
        aliases: Output tensor to the input tensor whose memory it shares.
    """

    steps: Sequence[Step]
    aliases: Mapping[int, int] = field(default_factory=dict)
