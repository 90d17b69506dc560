"""Recognise, by their content, the model files of other frameworks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from harness.errors import ModelFormatError

TFLITE = b"TFL3"
"""Identifier of a .tflite, in its bytes 4 to 8."""
_ZIP = b"PK\x03\x04"
_ONNX_VERSIONS = range(3, 32)  # of its format (`ir_version`); it was 10 to 13 in 2025


class _Format(NamedTuple):
    name: str
    fits: Callable[[bytes], bool]
    fix: str  # with the file's name as {file}


_ONNX = "`onnx2tf -i {file} -oiqt` (PyPI: onnx2tf) writes *_full_integer_quant.tflite"
_QUANTISED = (
    "converter.optimizations = [tf.lite.Optimize.DEFAULT], converter.representative_dataset = some "
    "inputs, and TFLITE_BUILTINS_INT8 as the only supported operators"
)
_KERAS = (
    "tf.lite.TFLiteConverter.from_keras_model(keras.models.load_model('{file}')) with " + _QUANTISED
)
_TORCH = (
    "load it in Python and export it: `torch.onnx.export(model, example, 'model.onnx')`, then "
    + _ONNX.format(file="model.onnx")
)
# Names of files stand uncompressed in a zip archive, so that a truncated one is recognised too.
_FORMATS = (
    _Format(
        "a Keras model",
        lambda data: data.startswith(_ZIP) and b"model.weights.h5" in data,
        _KERAS,
    ),
    _Format(
        "an HDF5 file, as Keras writes models or weights",
        lambda data: data.startswith(b"\x89HDF\r\n\x1a\n"),
        _KERAS,
    ),
    _Format(
        "a PyTorch file",
        # The second is PyTorch's magic number as a pickle, which it wrote before version 1.6.
        lambda data: (
            (data.startswith(_ZIP) and (b"/data.pkl" in data or b"/archive_format" in data))
            or data[2:15] == b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
        ),
        _TORCH,
    ),
    _Format("an ExecuTorch program", lambda data: data[4:6] == b"ET", _TORCH),
    _Format(
        "a TensorFlow SavedModel or graph",
        # Version 1 of the schema, then the graphs; or the first node of a frozen graph.
        lambda data: (
            data.startswith(b"\x08\x01\x12") or (data[:1] == b"\n" and b"\x12" in data[:64])
        ),
        f"tf.lite.TFLiteConverter.from_saved_model(folder) with {_QUANTISED}",
    ),
    _Format(
        "an ONNX model",
        # The version of the format, then the producer, its domain, a version, or the graph.
        lambda data: (
            data[:1] == b"\x08"
            and data[1:2] in map(_byte, _ONNX_VERSIONS)
            and data[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x28", b"\x32", b"\x3a", b"\x42")
        ),
        _ONNX,
    ),
)


def _byte(value: int) -> bytes:
    return bytes([value])


def require_tflite(content: bytes, *, where: str) -> None:
    """Refuse what is not a .tflite by its first bytes, and name what it is; see `foreign_format`.

    Raises:
        ModelFormatError: With the conversion to try.
    """
    if content[4:8] == TFLITE:
        return
    refuse_foreign(content, where=where)
    raise ModelFormatError(
        f"{where} is not a TensorFlow Lite model ({len(content)} bytes, "
        f"identifier {content[4:8]!r})",
        where=where,
        expected=f"a flatbuffer with identifier {TFLITE!r}",
        fix="pass a .tflite file as TensorFlow's converter writes it",
    )


def refuse_foreign(content: bytes, *, where: str) -> None:
    """Refuse a model of another framework; anything else passes.

    Raises:
        ModelFormatError: Names the format and the conversion to try.
    """
    for known in _FORMATS:
        if content[4:8] != TFLITE and known.fits(content):
            raise ModelFormatError(
                f"{where} is {known.name}, not a .tflite",
                where=where,
                expected="a full-int8 .tflite file",
                fix=known.fix.format(file=where),
                format=known.name,
            )
