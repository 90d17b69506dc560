"""Contents of a .tflite: tensors, operators and their cost.

The records are plain facts; `harness.models.schema` parses the flatbuffer into them. Costs follow
MicroNets (Banbury et al., MLSys 2021): one multiply-accumulate is two ops, and working memory is
the maximum over operators of the bytes of their activations, inputs plus outputs.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError

if TYPE_CHECKING:
    import numpy.typing as npt

_NAME_LENGTH = 40

# Item sizes of the tensor types that a microcontroller model may hold.
DTYPE_BYTES: Mapping[str, int] = {
    **dict.fromkeys(("int8", "uint8", "bool"), 1),
    **dict.fromkeys(("float16", "int16", "uint16"), 2),
    **dict.fromkeys(("float32", "int32", "uint32"), 4),
    **dict.fromkeys(("float64", "int64", "uint64"), 8),
}


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One tensor of the graph."""

    index: int  # its place in the file
    name: str  # name that the converter gave it
    shape: tuple[int, ...]  # dimensions; a dynamic batch is what the file's `shape` says (1)
    dtype: str  # numpy's name of the element type; other types as the schema calls them
    # Quantisation scales, one or one per channel; empty when not quantised.
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()  # as many as `scales`
    quantized_dimension: int = 0  # axis of the per-channel scales
    data: npt.NDArray[Any] | None = None  # read-only array of a constant, else None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return self.elements * DTYPE_BYTES.get(self.dtype, 1)

    @property
    def is_constant(self) -> bool:
        """Whether the file holds its value."""
        return self.data is not None

    @property
    def scale(self) -> float:
        """The per-tensor scale; ModelError if it is not quantised per tensor."""
        return self._quantisation()[0]

    @property
    def zero_point(self) -> int:
        """The per-tensor zero point; ModelError if it is not quantised per tensor."""
        return self._quantisation()[1]

    def _quantisation(self) -> tuple[float, int]:
        if len(self.scales) == 1:
            return self.scales[0], self.zero_points[0]
        found = f"{len(self.scales)} scales" if self.scales else "no quantisation"
        raise ModelError(
            f"tensor {self.index} '{self.name}' has {found}",
            expected="one scale and zero point",
            fix="convert the model with full int8 quantisation",
            tensor=self.index,
        )


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator in execution order."""

    index: int  # its place in the file
    name: str  # TFLite builtin name, e.g. ``CONV_2D``.
    version: int
    inputs: tuple[int, ...]  # tensor indices, -1 for an optional input that is absent
    outputs: tuple[int, ...]  # tensor indices
    # Builtin options in snake case; enumerations by name (``padding: "SAME"``).
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator of a model as profiles and rows name it."""

    index: int  # operator index, which is the row in a per-layer profile
    name: str  # from the tensor that it writes: at most 40 printable characters, no space
    operator: str  # TFLite builtin name
    macs: int  # multiply-accumulates


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Tensors and operators of the model's only subgraph."""

    tensors: tuple[Tensor, ...]  # by index
    operators: tuple[Operator, ...]  # in execution order
    inputs: tuple[int, ...]  # tensor indices of the model's inputs
    outputs: tuple[int, ...]  # tensor indices of the model's outputs

    def input_tensors(self) -> tuple[Tensor, ...]:
        """Return the model's inputs in order."""
        return tuple(self.tensors[i] for i in self.inputs)

    def output_tensors(self) -> tuple[Tensor, ...]:
        """Return the model's outputs in order."""
        return tuple(self.tensors[i] for i in self.outputs)

    def operator_macs(self, operator: Operator) -> int:
        """Count the multiply-accumulates of one operator (padding counts as computed)."""
        if operator.name not in _MACS:
            return 0
        index = operator.inputs[2] if operator.name == "TRANSPOSE_CONV" else operator.outputs[0]
        weights = self.tensors[operator.inputs[1]].shape[_MACS[operator.name]]
        return self.tensors[index].elements * math.prod(weights)

    def macs_by_operator(self) -> dict[str, int]:
        """Sum multiply-accumulates by operator name, largest first, without the zeros."""
        sums: Counter[str] = Counter()
        for operator in self.operators:
            sums[operator.name] += self.operator_macs(operator)
        found = ((name, macs) for name, macs in sums.items() if macs)
        return dict(sorted(found, key=lambda item: (-item[1], item[0])))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(self.operator_macs(operator) for operator in self.operators)

    @property
    def ops(self) -> int:
        """Ops of one inference: two per multiply-accumulate."""
        return 2 * self.macs

    @property
    def parameters(self) -> int:
        """Weights and biases, each shared tensor once."""
        return sum(tensor.elements for tensor in self._weights())

    @property
    def weights_bytes(self) -> int:
        """Size of weights and biases, each shared tensor once."""
        return sum(tensor.bytes for tensor in self._weights())

    @property
    def working_memory_bytes(self) -> int:
        """Maximum over operators of their activations, inputs plus outputs."""
        return max(map(self._activation_bytes, self.operators), default=0)

    def layer(self, operator: Operator) -> Layer:
        """Return what names and measures one operator in a profile."""
        # Converters join the names of fused layers by ';', most specific last part first.
        name = self.tensors[operator.outputs[0]].name.split(";", 1)[0]
        name = re.sub(r"[^A-Za-z0-9_.:/-]", "_", name).strip("/")[-_NAME_LENGTH:].lstrip("/")
        macs = self.operator_macs(operator)
        return Layer(operator.index, name or f"layer_{operator.index}", operator.name, macs)

    def layers(self) -> tuple[Layer, ...]:
        """Return every operator's layer, in execution order."""
        return tuple(map(self.layer, self.operators))

    def _activation_bytes(self, operator: Operator) -> int:
        used = {i for i in (*operator.inputs, *operator.outputs) if i >= 0}
        return sum(self.tensors[i].bytes for i in used if not self.tensors[i].is_constant)

    def _weights(self) -> list[Tensor]:
        # Shapes, axes and paddings are constants too, but have no quantisation.
        used = {i for operator in self.operators for i in operator.inputs if i >= 0}
        found = (self.tensors[i] for i in sorted(used))
        return [t for t in found if t.is_constant and (t.scales or "float" in t.dtype)]


@dataclass(frozen=True, slots=True)
class TFLiteModel:
    """A model file and its graph; equal when the bytes are."""

    name: str = field(compare=False)  # for people; the file's stem unless given
    content: bytes = field(compare=False, repr=False)  # the .tflite itself
    sha256: str  # hash of `content`, hexadecimal
    graph: Graph = field(compare=False, repr=False)  # what is in it

    @property
    def model_id(self) -> str:
        """First 16 hexadecimal digits of the hash, as the firmware reports it."""
        return self.sha256[:16]

    def __reduce__(self) -> tuple[object, ...]:
        # The graph has views that other processes cannot be sent; the bytes say it all.
        return read_model, (self.content, self.name)


def printable(name: str, length: int = 48) -> str:
    """Return a model's name as the firmware may print it."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)[:length]


def read_model(source: str | Path | bytes, name: str | None = None) -> TFLiteModel:
    """Read a .tflite from a path or from memory; its name is the file's stem by default.

    Raises:
        ModelError: The file is missing, truncated, not a .tflite or inconsistent.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        content, where = bytes(source), name or "model"
    else:
        path = Path(source)
        where, name = str(path), name or path.stem
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise ModelError(f"no such model file: {where}", fix="check the path") from None
        except OSError as failure:
            reason = failure.strerror or failure
            raise ModelError(f"cannot read {where}: {reason}", fix="check the file") from None
    from harness.models.schema import parse

    graph = parse(content, where=where)
    return TFLiteModel(name or "model", content, hashlib.sha256(content).hexdigest(), graph)


def require_int8(model: TFLiteModel) -> None:
    """Refuse a model that does not compute in int8.

    Float tensors are allowed only where a QUANTIZE reads them or a DEQUANTIZE writes them, so
    that a model with float inputs and outputs around an int8 core can be measured.

    Raises:
        ModelError: Names the first tensor at fault.
    """
    graph = model.graph
    for operator in graph.operators:
        for indices, converter in ((operator.inputs, "QUANTIZE"), (operator.outputs, "DEQUANTIZE")):
            for tensor in (graph.tensors[i] for i in indices if i >= 0):
                computed = tensor.dtype in ("uint8", "int16") and not tensor.is_constant
                if computed or ("float" in tensor.dtype and operator.name != converter):
                    raise ModelError(
                        f"model '{model.name}' is not int8: tensor {tensor.index} '{tensor.name}' "
                        f"of operator {operator.index} {operator.name} is {tensor.dtype}",
                        where=model.name,
                        expected="a model with int8 weights and activations",
                        fix="convert it with full int8 quantisation (a representative data set and "
                        "supported_ops = [TFLITE_BUILTINS_INT8])",
                        tensor=tensor.index,
                        dtype=tensor.dtype,
                    )


# Dimensions of the weights whose product is the multiply-accumulates of one element of the output
# (of TRANSPOSE_CONV: of the input).
_MACS = {
    "CONV_2D": slice(1, 4),
    "DEPTHWISE_CONV_2D": slice(1, 3),
    "FULLY_CONNECTED": slice(-1, None),
    "TRANSPOSE_CONV": slice(0, 3),
}
