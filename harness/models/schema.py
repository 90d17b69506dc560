"""Parse the .tflite flatbuffer into `harness.models.graph` records, trusting nothing in it.

The generated readers of PyPI's `tflite` follow offsets unchecked. Reads outside the buffer surface
as a handful of exception types, which `parse` turns into `ModelError` in one place; counts are
bounded before they are looped over, and everything that the rest of the harness relies on (indices,
shapes, buffer sizes, execution order) is verified here.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.errors import ModelError
from harness.models.formats import require_tflite
from harness.models.graph import DTYPE_BYTES, Graph, Operator, Tensor

# What the generated readers raise on offsets that lead out of the buffer.
_DAMAGE = (struct.error, IndexError, ValueError, TypeError, OverflowError, MemoryError)
_MAX_COUNT = 20_000  # tensors, operators or buffers: far above any model for a microcontroller
_MAX_RANK = 8
_MAX_ELEMENTS = 1 << 28

# Options class and its fields by operator; the order of fields is the schema's.
_CONV = ("Padding", "StrideW", "StrideH", "FusedActivationFunction")
_POOL = ("Padding", "StrideW", "StrideH", "FilterWidth", "FilterHeight", "FusedActivationFunction")
_DILATION = ("DilationWFactor", "DilationHFactor")
OPTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
    "CONV_2D": ("Conv2DOptions", (*_CONV, *_DILATION)),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (*_CONV, "DepthMultiplier", *_DILATION)),
    "FULLY_CONNECTED": (
        "FullyConnectedOptions",
        ("FusedActivationFunction", "WeightsFormat", "KeepNumDims"),
    ),
    "MAX_POOL_2D": ("Pool2DOptions", _POOL),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
    "MUL": ("MulOptions", ("FusedActivationFunction",)),
    "SOFTMAX": ("SoftmaxOptions", ("Beta",)),
    "SUB": ("SubOptions", ("FusedActivationFunction",)),
}

# Options that are enumerations of the schema.
_ENUMERATIONS: Mapping[str, str] = {
    "padding": "Padding",
    "fused_activation": "ActivationFunctionType",
    "weights_format": "FullyConnectedOptionsWeightsFormat",
}


def parse(content: bytes, *, where: str) -> Graph:
    """Parse the content of a .tflite; `where` is its name for messages.

    Raises:
        ModelError: Not a .tflite, truncated, or inconsistent in a way named in the message.
    """
    require_tflite(content, where=where)
    try:
        return _Parser(content, where).graph()
    except _DAMAGE as failure:
        raise ModelError(
            f"{where} is truncated or damaged: {type(failure).__name__} while parsing it "
            f"({len(content)} bytes)",
            where=where,
            expected="a complete TensorFlow Lite flatbuffer",
            fix="copy or convert the file again",
        ) from failure


class _Parser:
    """Walk one flatbuffer; `where` is for messages."""

    def __init__(self, content: bytes, where: str) -> None:
        self._content = content
        self._where = where

    def graph(self) -> Graph:
        import tflite

        model = tflite.Model.GetRootAs(self._content, 0)
        if model.Version() != 3:
            raise self._bad(f"schema version {model.Version()}", "version 3")
        subgraphs = self._count(model.SubgraphsLength(), "subgraphs")
        if subgraphs != 1:
            raise self._bad(f"{subgraphs} subgraphs", "one (no control flow)")
        subgraph = model.Subgraphs(0)
        buffers = self._count(model.BuffersLength(), "buffers")
        tensors = tuple(
            self._tensor(model, subgraph.Tensors(i), i, buffers)
            for i in range(self._count(subgraph.TensorsLength(), "tensors"))
        )
        operators = tuple(
            self._operator(model, subgraph.Operators(i), i, len(tensors))
            for i in range(self._count(subgraph.OperatorsLength(), "operators"))
        )
        inputs = self._indices(subgraph.InputsAsNumpy(), len(tensors), "model inputs")
        outputs = self._indices(subgraph.OutputsAsNumpy(), len(tensors), "model outputs")
        graph = Graph(tensors, operators, inputs, outputs)
        self._check_order(graph)
        for operator in operators:
            self._check_ranks(graph, operator)
        return graph

    def _tensor(self, model: Any, raw: Any, index: int, buffers: int) -> Tensor:
        label = f"tensor {index}"
        shape = tuple(int(n) for n in _numbers(raw.ShapeAsNumpy()))
        if len(shape) > _MAX_RANK or any(n < 0 for n in shape) or math.prod(shape) > _MAX_ELEMENTS:
            raise self._bad(f"{label} has shape {shape}", "sensible static dimensions")
        dtype = _names("TensorType").get(raw.Type(), "").lower()
        if not dtype:
            raise self._bad(f"{label} has element type {raw.Type()}", "a type of the schema")
        if raw.IsVariable():
            raise self._bad(f"{label} is a variable (state between inferences)", "no state")
        scales, zero_points, axis = self._quantization(raw, label, shape)
        number = raw.Buffer()
        if not 0 <= number < max(buffers, 1):
            raise self._bad(f"{label} names buffer {number} of {buffers}", "an existing buffer")
        return Tensor(
            index=index,
            name=(raw.Name() or b"").decode("utf-8", "replace"),
            shape=shape,
            dtype=dtype,
            scales=scales,
            zero_points=zero_points,
            quantized_dimension=axis,
            data=self._data(model.Buffers(number), label, shape, dtype) if buffers else None,
        )

    def _quantization(
        self, raw: Any, label: str, shape: tuple[int, ...]
    ) -> tuple[tuple[float, ...], tuple[int, ...], int]:
        quantization = raw.Quantization()
        if quantization is None:
            return (), (), 0
        scales = tuple(map(float, _numbers(quantization.ScaleAsNumpy())))
        if not scales:
            return (), (), 0
        if not all(math.isfinite(s) and s > 0 for s in scales):
            raise self._bad(f"{label} has a scale that is not a positive number", "scales above 0")
        zero_points = tuple(map(int, _numbers(quantization.ZeroPointAsNumpy()))) or (0,)
        if len(zero_points) == 1:
            zero_points *= len(scales)
        axis = int(quantization.QuantizedDimension())
        channels = shape[axis] if 0 <= axis < len(shape) else -1
        if len(zero_points) != len(scales) or (len(scales) > 1 and len(scales) != channels):
            raise self._bad(
                f"{label} of shape {shape} has {len(scales)} scales and {len(zero_points)} zero "
                f"points on axis {axis}",
                "one, or one per channel",
            )
        if any(not -(1 << 31) <= z < 1 << 31 for z in zero_points):
            raise self._bad(f"{label} has a zero point beyond 32 bits", "zero points in range")
        return scales, zero_points, axis

    def _data(self, buffer: Any, label: str, shape: tuple[int, ...], dtype: str) -> Any:
        length = buffer.DataLength()
        if length == 0:
            if buffer.Offset() > 1:
                raise self._bad(f"{label} is stored outside the flatbuffer", "a file below 2 GB")
            return None
        if dtype not in DTYPE_BYTES:
            return np.frombuffer(buffer.DataAsNumpy(), dtype=np.uint8)
        expected = math.prod(shape) * DTYPE_BYTES[dtype]
        if length != expected:
            raise self._bad(
                f"{label} ({dtype} {shape}) has a buffer of {length} bytes", f"{expected} bytes"
            )
        array = np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype=np.dtype(dtype))
        return array.reshape(shape)

    def _operator(self, model: Any, raw: Any, index: int, tensors: int) -> Operator:
        label = f"operator {index}"
        codes = self._count(model.OperatorCodesLength(), "operator codes")
        if not 0 <= raw.OpcodeIndex() < codes:
            raise self._bad(f"{label} names operator code {raw.OpcodeIndex()}", f"below {codes}")
        code = model.OperatorCodes(raw.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = _names("BuiltinOperator").get(number)
        if name is None:
            raise self._bad(f"{label} has builtin code {number}", "a code of the schema")
        if name == "CUSTOM":
            name = f"CUSTOM:{(code.CustomCode() or b'').decode('utf-8', 'replace')}"
        outputs = self._indices(raw.OutputsAsNumpy(), tensors, f"outputs of {label}")
        if not outputs:
            raise self._bad(f"{label} {name} has no output", "at least one")
        return Operator(
            index=index,
            name=name,
            version=code.Version(),
            inputs=self._indices(raw.InputsAsNumpy(), tensors, f"inputs of {label}", lowest=-1),
            outputs=outputs,
            options=self._options(raw, name, label),
        )

    def _options(self, raw: Any, name: str, label: str) -> Mapping[str, Any]:
        import tflite

        if name not in OPTIONS:
            return MappingProxyType({})
        class_name, fields = OPTIONS[name]
        table = raw.BuiltinOptions()
        if table is None:
            if name in ("ADD", "SUB", "MUL", "MEAN", "SOFTMAX"):
                return MappingProxyType({})
            raise self._bad(f"{label} {name} has no options", class_name)
        if raw.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, class_name):
            raise self._bad(
                f"{label} {name} has options of type {raw.BuiltinOptionsType()}", class_name
            )
        options = getattr(tflite, class_name)()
        options.Init(table.Bytes, table.Pos)
        values: dict[str, Any] = {}
        for field in fields:
            value = getattr(options, field)()
            key = field_key(field)
            if key in _ENUMERATIONS:
                value = _names(_ENUMERATIONS[key]).get(value)
                if value is None:
                    raise self._bad(f"{label} {name} has an unknown {key}", "a known one")
            values[key] = value
        for key in ("stride_w", "stride_h", "filter_width", "filter_height"):
            if key in values and not 0 < values[key] <= 4096:
                raise self._bad(f"{label} {name} has {key} {values[key]}", "1 to 4096")
        return MappingProxyType(values)

    def _check_order(self, graph: Graph) -> None:
        ready = {t.index for t in graph.tensors if t.is_constant} | set(graph.inputs)
        for operator in graph.operators:
            for index in operator.inputs:
                if index >= 0 and index not in ready:
                    raise self._bad(
                        f"operator {operator.index} {operator.name} reads tensor {index}, "
                        "which nothing before it writes",
                        "operators in execution order",
                    )
            if ready.intersection(operator.outputs):
                raise self._bad(
                    f"operator {operator.index} {operator.name} writes a tensor that is "
                    "already written",
                    "every tensor written once",
                )
            ready.update(operator.outputs)
        if not graph.operators or not graph.inputs or not graph.outputs:
            raise self._bad("the model has no operators, inputs or outputs", "all three")
        for index in graph.outputs:
            if index not in ready:
                raise self._bad(f"nothing writes output tensor {index}", "an operator that does")

    def _check_ranks(self, graph: Graph, operator: Operator) -> None:
        """Check what the cost model and the runtimes index without looking."""
        ranks = _RANKS.get(operator.name)
        if ranks is None:
            return
        if len(operator.inputs) < len(ranks) or min(operator.inputs[: len(ranks)]) < 0:
            raise self._bad(
                f"operator {operator.index} {operator.name} has {len(operator.inputs)} inputs",
                f"at least {len(ranks)}",
            )
        for index, rank in zip(operator.inputs, ranks, strict=False):
            shape = graph.tensors[index].shape
            if rank is not None and (len(shape) != rank or 0 in shape):
                raise self._bad(
                    f"operator {operator.index} {operator.name} reads tensor {index} "
                    f"of shape {shape}",
                    f"rank {rank}, no dimension 0",
                )

    def _indices(self, values: Any, limit: int, label: str, *, lowest: int = 0) -> tuple[int, ...]:
        indices = tuple(int(i) for i in _numbers(values))
        if any(not lowest <= i < limit for i in indices):
            raise self._bad(f"{label} are {indices[:8]}", f"tensor indices below {limit}")
        return indices

    def _count(self, count: int, label: str) -> int:
        if not 0 <= count <= min(_MAX_COUNT, len(self._content) // 4):
            raise self._bad(f"the file claims {count} {label}", f"at most {_MAX_COUNT}")
        return count

    def _bad(self, what: str, expected: str) -> ModelError:
        return ModelError(
            f"{self._where}: {what}",
            where=self._where,
            expected=expected,
            fix="convert the model again; if it came over a network, compare its checksum",
        )


_RANKS: Mapping[str, tuple[int | None, ...]] = {
    "ADD": (None, None),
    "AVERAGE_POOL_2D": (4,),
    "CONV_2D": (4, 4),
    "DEPTHWISE_CONV_2D": (4, 4),
    "FULLY_CONNECTED": (None, 2),
    "MAX_POOL_2D": (4,),
    "MEAN": (None, None),
    "RESHAPE": (None,),
    "SOFTMAX": (None,),
    "TRANSPOSE_CONV": (1, 4, 4),
}


def _numbers(values: Any) -> Any:
    """Return a flatbuffer vector as an iterable; the generated readers give 0 for an absent one."""
    return values if isinstance(values, np.ndarray) else ()


def field_key(field: str) -> str:
    """Return the key of a schema field in `Operator.options`: ``StrideW`` is ``stride_w``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", field).lower().removesuffix("_function")


def tensor_type(dtype: str) -> int:
    """Return the schema's number of an element type."""
    return _number("TensorType", dtype.upper())


def operator_code(name: str) -> int:
    """Return the schema's number of an operator."""
    return _number("BuiltinOperator", name)


def enumeration_value(key: str, name: str) -> int:
    """Return the schema's number of an enumerated option."""
    return _number(_ENUMERATIONS[key], name)


def _number(class_name: str, wanted: str) -> int:
    return next(number for number, name in _names(class_name).items() if name == wanted)


@cache
def _names(class_name: str) -> Mapping[int, str]:
    import tflite

    constants = vars(getattr(tflite, class_name))
    return {value: name for name, value in constants.items() if isinstance(value, int)}
