"""Write .tflite files without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.models.schema import OPTIONS, enumeration_value, field_key, operator_code, tensor_type

_DEFAULTS: dict[str, Any] = {"dilation_w_factor": 1, "dilation_h_factor": 1, "beta": 1.0}


class ModelWriter:
    """Collects tensors and operators in execution order, then writes the flatbuffer.

    Args:
        description: Text in the file.
    """

    def __init__(self, description: str = "") -> None:
        import flatbuffers

        self._description = description

        self._builder = flatbuffers.Builder(1 << 16)
        self._buffers = [self._buffer(None)]  # by convention buffer 0 is empty
        self._tensors: list[int] = []
        self._operators: list[int] = []
        self._codes: dict[tuple[str, int], int] = {}

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "int8",
        *,
        scale: float | Sequence[float] | None = None,
        zero_point: int = 0,
        axis: int = 0,
        data: npt.ArrayLike | None = None,
        name: str | None = None,
    ) -> int:
        """Add a tensor and return its index.

        Args:
            shape: Dimensions.
            dtype: numpy's name of the element type.
            scale: One scale, or one per channel of `axis`; None for no quantisation.
            zero_point: Zero point of all scales.
            axis: Quantised dimension.
            data: Value of a constant.
            name: Name in the file.
        """
        import tflite

        builder = self._builder
        buffer = 0
        if data is not None:
            buffer = len(self._buffers)
            content = np.ascontiguousarray(np.asarray(data, dtype=dtype)).tobytes()
            self._buffers.append(self._buffer(content))
        scales = [] if scale is None else list(np.atleast_1d(np.asarray(scale, np.float32)))
        quantization = self._quantization(scales, zero_point, axis) if scales else 0
        label = builder.CreateString(name or f"tensor_{len(self._tensors)}")
        dimensions = builder.CreateNumpyVector(np.asarray(shape, np.int32))
        tflite.TensorStart(builder)
        tflite.TensorAddShape(builder, dimensions)
        tflite.TensorAddType(builder, tensor_type(dtype))
        tflite.TensorAddBuffer(builder, buffer)
        tflite.TensorAddName(builder, label)
        tflite.TensorAddHasRank(builder, True)
        if scales:
            tflite.TensorAddQuantization(builder, quantization)
        self._tensors.append(tflite.TensorEnd(builder))
        return len(self._tensors) - 1

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        *,
        version: int = 1,
        **options: Any,
    ) -> None:
        """Add an operator with the options that `harness.models.graph.Operator` documents."""
        import tflite

        builder = self._builder
        table, kind = self._options(name, options)
        code = self._codes.setdefault((name, version), len(self._codes))
        sources = builder.CreateNumpyVector(np.asarray(inputs, np.int32))
        targets = builder.CreateNumpyVector(np.asarray(outputs, np.int32))
        tflite.OperatorStart(builder)
        tflite.OperatorAddOpcodeIndex(builder, code)
        tflite.OperatorAddInputs(builder, sources)
        tflite.OperatorAddOutputs(builder, targets)
        if table:
            tflite.OperatorAddBuiltinOptionsType(builder, kind)
            tflite.OperatorAddBuiltinOptions(builder, table)
        self._operators.append(tflite.OperatorEnd(builder))

    def finish(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Write the file and return its content."""
        import tflite

        builder = self._builder
        codes = [self._code(name, version) for name, version in self._codes]
        tensors = self._vector(self._tensors)
        operators = self._vector(self._operators)
        sources = builder.CreateNumpyVector(np.asarray(inputs, np.int32))
        targets = builder.CreateNumpyVector(np.asarray(outputs, np.int32))
        label = builder.CreateString("main")
        tflite.SubGraphStart(builder)
        tflite.SubGraphAddName(builder, label)
        tflite.SubGraphAddTensors(builder, tensors)
        tflite.SubGraphAddInputs(builder, sources)
        tflite.SubGraphAddOutputs(builder, targets)
        tflite.SubGraphAddOperators(builder, operators)
        subgraphs = self._vector([tflite.SubGraphEnd(builder)])
        code_vector = self._vector(codes)
        buffers = self._vector(self._buffers)
        description = builder.CreateString(self._description)
        tflite.ModelStart(builder)
        tflite.ModelAddVersion(builder, 3)
        tflite.ModelAddOperatorCodes(builder, code_vector)
        tflite.ModelAddSubgraphs(builder, subgraphs)
        tflite.ModelAddDescription(builder, description)
        tflite.ModelAddBuffers(builder, buffers)
        builder.Finish(tflite.ModelEnd(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _buffer(self, content: bytes | None) -> int:
        import tflite

        data = None
        if content is not None:
            # Readers cast the data to its element type in place; 16 is what TensorFlow writes.
            self._builder.StartVector(1, len(content), 16)
            self._builder.head -= len(content)
            self._builder.Bytes[self._builder.head : self._builder.head + len(content)] = content
            data = self._builder.EndVector()
        tflite.BufferStart(self._builder)
        if data is not None:
            tflite.BufferAddData(self._builder, data)
        return int(tflite.BufferEnd(self._builder))

    def _quantization(self, scales: list[Any], zero_point: int, axis: int) -> int:
        import tflite

        builder = self._builder
        scale_vector = builder.CreateNumpyVector(np.asarray(scales, np.float32))
        zeros = builder.CreateNumpyVector(np.full(len(scales), zero_point, np.int64))
        tflite.QuantizationParametersStart(builder)
        tflite.QuantizationParametersAddScale(builder, scale_vector)
        tflite.QuantizationParametersAddZeroPoint(builder, zeros)
        tflite.QuantizationParametersAddQuantizedDimension(builder, axis)
        return int(tflite.QuantizationParametersEnd(builder))

    def _options(self, name: str, options: dict[str, Any]) -> tuple[int, int]:
        import tflite

        if name not in OPTIONS:
            return 0, 0
        class_name, fields = OPTIONS[name]
        getattr(tflite, f"{class_name}Start")(self._builder)
        for field in fields:
            key = field_key(field)
            value = options.get(key, _DEFAULTS.get(key, 0))
            if isinstance(value, str):
                value = enumeration_value(key, value)
            getattr(tflite, f"{class_name}Add{field}")(self._builder, value)
        table = getattr(tflite, f"{class_name}End")(self._builder)
        return int(table), int(getattr(tflite.BuiltinOptions, class_name))

    def _code(self, name: str, version: int) -> int:
        import tflite

        number = operator_code(name)
        tflite.OperatorCodeStart(self._builder)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(self._builder, min(number, 127))
        tflite.OperatorCodeAddBuiltinCode(self._builder, number)
        tflite.OperatorCodeAddVersion(self._builder, version)
        return int(tflite.OperatorCodeEnd(self._builder))

    def _vector(self, offsets: Sequence[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return int(self._builder.EndVector())
