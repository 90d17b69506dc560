"""The model region: a header that the host writes, then the .tflite as it is.

A shared image finds here what an image of one model has linked in: the model, and what
``build_info.h`` declares about it. `firmware_template/runtime/tflm/tflm_region.cpp` has the same
layout and checks both CRCs before it uses any of it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from harness.boards import Board
from harness.boards.model import ModelRegion
from harness.errors import BoardError, RuntimeUnsupported
from harness.models.graph import Tensor, TFLiteModel, printable

MAGIC = 0x314D4854  # "THM1"
MODEL_OFFSET = 512
STAGING_BYTES = 32 * 1024
MAX_TENSORS = 8
# Magic, size and CRC-32 of the model, counts of inputs and outputs, id, name.
_HEAD = struct.Struct("<IIIII20s40s")
_TENSOR = struct.Struct("<IIfi")  # as build_tensor_t: bytes, staging offset, scale, zero point
_CRC_AT = MODEL_OFFSET - 4  # CRC-32 of the header before it
_ALIGNMENT = 16


def model_region(board: Board) -> ModelRegion:
    """Return where models go on a board.

    Raises:
        BoardError: The board declares no model region.
    """
    region = board.model_region
    if region is None:
        raise BoardError(
            f"{board.id} declares no model region",
            where=f"{board.manifest}: harness.model_region",
            expected="an origin and a size, both at flash sector boundaries",
            fix="add it to the manifest, or measure with one image per model",
        )
    return region


def region_symbols(board: Board) -> dict[str, int]:
    """Return the addresses that a shared image is linked with.

    Raises:
        BoardError: The board declares no model region.
    """
    origin = model_region(board).origin
    return {"tflm_region": origin, "tflm_model": origin + MODEL_OFFSET}


def region_content(model: TFLiteModel, board: Board) -> bytes:
    """Return what the host writes to the model region: the header and the model.

    Raises:
        BoardError: The board declares no model region.
        RuntimeUnsupported: The model does not fit it, or its inputs do not fit the staging memory.
    """
    graph, region = model.graph, model_region(board)
    inputs, outputs = graph.input_tensors(), graph.output_tensors()
    staging = sum(_aligned(tensor.bytes) for tensor in inputs)
    if MODEL_OFFSET + len(model.content) > region.bytes:
        raise _too_big(model, "bytes of flash", MODEL_OFFSET + len(model.content), region.bytes)
    if staging > STAGING_BYTES:
        raise _too_big(model, "bytes of input", staging, STAGING_BYTES)
    if max(len(inputs), len(outputs)) > MAX_TENSORS:
        raise _too_big(model, "inputs or outputs", max(len(inputs), len(outputs)), MAX_TENSORS)
    header = _HEAD.pack(
        MAGIC,
        len(model.content),
        zlib.crc32(model.content),
        len(inputs),
        len(outputs),
        model.model_id.encode(),
        printable(model.name, 39).encode(),
    )
    header += _tensors(inputs, staged=True) + _tensors(outputs, staged=False)
    header += bytes(_CRC_AT - len(header))
    return header + zlib.crc32(header).to_bytes(4, "little") + model.content


def _tensors(tensors: Sequence[Tensor], *, staged: bool) -> bytes:
    rows, offset = b"", 0
    for tensor in tensors:
        scale = tensor.scales[0] if tensor.scales else 1.0
        zero = tensor.zero_points[0] if tensor.zero_points else 0
        rows += _TENSOR.pack(tensor.bytes, offset if staged else 0, scale, zero)
        offset += _aligned(tensor.bytes)
    return rows.ljust(MAX_TENSORS * _TENSOR.size, b"\0")


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _too_big(model: TFLiteModel, what: str, needed: int, there: int) -> RuntimeUnsupported:
    return RuntimeUnsupported(
        f"model '{model.name}' needs {needed} {what}; one firmware for many models has {there}",
        where=model.name,
        expected=f"at most {there}",
        fix="measure it with an image of its own (one_firmware = false)",
        needed=needed,
        available=there,
    )
