"""The model region of the flash: a header that the host writes, then what the runtime runs.

A firmware for many models finds here what an image of one model has linked in: the model (for
`tflm` the .tflite as it is, for `aot` the graph), and what ``build_info.h`` declares about it.
`firmware_template/runtime/region/model_region.c` has the same layout and checks both CRCs.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from harness.boards import Board
from harness.boards.model import ModelRegion
from harness.errors import BoardError, RuntimeUnsupported
from harness.models.graph import Tensor, TFLiteModel
from harness.models.mlperf import InputFormat, benchmark_for, runner_name
from harness.paths import data_dir

MAGIC = 0x314D4854  # "THM1"
CONTENT_OFFSET = 512
STAGING_BYTES = 32 * 1024
MAX_TENSORS = 8
# Magic, size and CRC-32 of the model, counts of inputs and outputs, id, name.
_HEAD = struct.Struct("<IIIII20s40s")
_TENSOR = struct.Struct("<IIfi")  # as build_tensor_t: bytes, staging offset, scale, zero point
_CRC_AT = CONTENT_OFFSET - 4  # CRC-32 of the header before it
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


def region_place(board: Board, *aliases: str) -> str:
    """Return assembler that defines the symbols of the region, and more names for its content.

    Raises:
        BoardError: The board declares no model region.
    """
    origin = model_region(board).origin
    symbols = {"model_region": origin}
    symbols |= dict.fromkeys(("model_content", *aliases), origin + CONTENT_OFFSET)
    lines = ["/* Generated: what the host writes into the model region. */"]
    for name, address in symbols.items():
        lines += [f".global {name}", f".set {name}, 0x{address:08X}"]
    return "\n".join([*lines, '.section .note.GNU-stack,"",%progbits', ""])


def region_files() -> dict[str, str]:
    """Return the firmware's sources that read the region."""
    folder = data_dir("firmware_template") / "runtime" / "region"
    names = ("model_region.h", "model_region.c")
    return {f"runtime/region/{name}": (folder / name).read_text("utf-8") for name in names}


def staging_bytes(model: TFLiteModel) -> int:
    """Return the memory that copies of a model's inputs take."""
    benchmark = benchmark_for(model)
    window = benchmark.file_bytes if benchmark and benchmark.format is InputFormat.FP32 else 0
    return window + sum(_aligned(tensor.bytes) for tensor in model.graph.input_tensors())


def region_segment(model: TFLiteModel, board: Board, content: bytes) -> tuple[int, bytes]:
    """Return the address of the region and what the host writes there: header and content.

    Raises:
        BoardError: The board declares no model region.
        RuntimeUnsupported: It does not fit the region, or its inputs do not fit the staging memory.
    """
    graph, region, benchmark = model.graph, model_region(board), benchmark_for(model)
    inputs, outputs = graph.input_tensors(), graph.output_tensors()
    staging = staging_bytes(model)
    if CONTENT_OFFSET + len(content) > region.bytes:
        raise too_big(model, "bytes of flash", CONTENT_OFFSET + len(content), region.bytes)
    if staging > STAGING_BYTES:
        raise too_big(model, "bytes of input", staging, STAGING_BYTES)
    if max(len(inputs), len(outputs)) > MAX_TENSORS:
        raise too_big(model, "inputs or outputs", max(len(inputs), len(outputs)), MAX_TENSORS)
    header = _HEAD.pack(
        MAGIC,
        len(content),
        zlib.crc32(content),
        len(inputs),
        len(outputs),
        model.model_id.encode(),
        runner_name(model, benchmark, 39).encode(),
    )
    header += _tensors(inputs, staged=True) + _tensors(outputs, staged=False)
    header += (benchmark.format if benchmark else InputFormat.INT8).to_bytes(4, "little")
    header += bytes(_CRC_AT - len(header))
    return region.origin, header + zlib.crc32(header).to_bytes(4, "little") + content


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


def too_big(model: TFLiteModel, what: str, needed: int, there: int) -> RuntimeUnsupported:
    """Return the refusal of a model that one firmware for many models has no room for."""
    return RuntimeUnsupported(
        f"model '{model.name}' needs {needed} {what}; one firmware for many models has {there}",
        where=model.name,
        expected=f"at most {there}",
        fix="measure it with an image of its own (one_firmware = false)",
        needed=needed,
        available=there,
    )
