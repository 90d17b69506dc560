"""Shared by the lowerings: access to the graph, common fields, and refusing an operator."""

from __future__ import annotations

from dataclasses import dataclass

from harness.models.graph import Graph, Operator, Tensor
from harness.runtimes.aot import quantize
from harness.runtimes.aot.program import Pointer, Value


class Refused(Exception):
    """The runtime cannot take an operator; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Context:
    """A graph and the kernel set that it is lowered for."""

    graph: Graph
    kernels: str

    def input(self, operator: Operator, position: int) -> Tensor:
        """Return an input that must be there."""
        tensor = self.optional(operator, position)
        if tensor is None:
            raise Refused(f"input {position} is missing")
        return tensor

    def int8(self, operator: Operator) -> tuple[Tensor, Tensor]:
        """Return the first input and the only output; both must be int8."""
        source, target = self.input(operator, 0), self.output(operator)
        require_int8(source, target)
        return source, target

    def optional(self, operator: Operator, position: int) -> Tensor | None:
        """Return an input that may be absent."""
        if position >= len(operator.inputs) or operator.inputs[position] < 0:
            return None
        return self.graph.tensors[operator.inputs[position]]

    def output(self, operator: Operator) -> Tensor:
        """Return the only output."""
        if len(operator.outputs) != 1:
            raise Refused(f"it has {len(operator.outputs)} outputs, not one")
        return self.graph.tensors[operator.outputs[0]]


def between(source: Tensor, target: Tensor, **fields: Value) -> dict[str, Value]:
    """Return the fields of a parameter block that reads `source` and writes `target`."""
    return {"input": Pointer(source.index), "output": Pointer(target.index), **fields}


def require_int8(*tensors: Tensor) -> None:
    """Refuse a tensor that is not int8 with one scale and zero point in range."""
    for tensor in tensors:
        if tensor.dtype != "int8":
            raise Refused(f"tensor {tensor.index} '{tensor.name}' is {tensor.dtype}, not int8")
        if not -128 <= tensor.zero_point <= 127:
            raise Refused(f"tensor {tensor.index} has zero point {tensor.zero_point}")


def clamp_range(operator: Operator, target: Tensor) -> tuple[int, int]:
    """Return the int8 range of the operator's fused activation."""
    name = operator.options.get("fused_activation", "NONE")
    try:
        return quantize.activation_range(name, target)
    except KeyError:
        raise Refused(f"the fused activation {name} is not a clamp") from None
