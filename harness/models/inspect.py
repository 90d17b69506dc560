"""Summarise a model for people and for `--json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.models.graph import Layer, Tensor, TFLiteModel


@dataclass(frozen=True, slots=True)
class TensorSummary:
    """A model input or output.

    Attributes:
        name: Name in the file.
        shape: Dimensions.
        dtype: Element type.
        bytes: Size.
        scale: Quantisation scale, None when it has none.
        zero_point: Its zero point.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """What a model is and costs; sizes in bytes, one multiply-accumulate is two ops.

    Attributes:
        name: Name for people.
        sha256: Hash of the file.
        file_bytes: Size of the file.
        operators: Number of operators by TFLite name.
        macs: Multiply-accumulates of one inference.
        ops: Twice as many.
        macs_by_operator: Multiply-accumulates by TFLite name.
        parameters: Weights and biases.
        weights_bytes: Their size.
        working_memory_bytes: Maximum over operators of their inputs and outputs.
        inputs: Model inputs.
        outputs: Model outputs.
        layers: Every operator with its cost.
    """

    name: str
    sha256: str
    file_bytes: int
    operators: Mapping[str, int]
    macs: int
    ops: int
    macs_by_operator: Mapping[str, int]
    parameters: int
    weights_bytes: int
    working_memory_bytes: int
    inputs: tuple[TensorSummary, ...]
    outputs: tuple[TensorSummary, ...]
    layers: tuple[Layer, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, strings and numbers, ready for JSON."""
        return dataclasses.asdict(self)


def summarize(model: TFLiteModel) -> ModelSummary:
    """Summarise `model`."""
    graph = model.graph
    return ModelSummary(
        name=model.name,
        sha256=model.sha256,
        file_bytes=len(model.content),
        operators=graph.operator_counts(),
        macs=graph.macs,
        ops=graph.ops,
        macs_by_operator=graph.macs_by_operator(),
        parameters=graph.parameters,
        weights_bytes=graph.weights_bytes,
        working_memory_bytes=graph.working_memory_bytes,
        inputs=tuple(map(_tensor, graph.input_tensors())),
        outputs=tuple(map(_tensor, graph.output_tensors())),
        layers=graph.layers(),
    )


def _tensor(tensor: Tensor) -> TensorSummary:
    single = len(tensor.scales) == 1
    return TensorSummary(
        name=tensor.name,
        shape=tensor.shape,
        dtype=tensor.dtype,
        bytes=tensor.bytes,
        scale=tensor.scale if single else None,
        zero_point=tensor.zero_point if single else None,
    )
