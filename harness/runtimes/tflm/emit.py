"""Write the files of a TFLM image under fixed names: glue, resolver, and the model as it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from harness.boards import Board
from harness.models.graph import TFLiteModel
from harness.paths import data_dir
from harness.runtimes.region import region_files, region_place
from harness.runtimes.tflm.resolver import Entry, resolver_source

MODEL_FILE = "model/model.bin"
_RESOLVER_FILE = "model/model_resolver.cpp"
_PLACE_FILE = "model/model_place.S"
_GLUE = ("tflm_glue.h", "tflm_log.cpp", "tflm_model.cpp")
_EMBEDDED_GLUE = "tflm_embedded.cpp"
_SHARED_GLUE = "tflm_region.cpp"

# The assembler reads the model: no compiler is as fast, and its contents stay a file of their own.
_EMBEDDED = """/* Generated: the .tflite as it is. */
.section .rodata.model_flatbuffer,"a",%progbits
.balign 16
.global tflm_model
.type tflm_model, %object
tflm_model:
.incbin "model/model.bin"
.balign 16
.size tflm_model, . - tflm_model
.section .note.GNU-stack,"",%progbits
"""


def embedded_files(
    model: TFLiteModel, entries: Sequence[Entry], kernels: str
) -> dict[str, str | bytes]:
    """Return the files of an image with a model in it."""
    return {
        **_glue(_EMBEDDED_GLUE),
        _RESOLVER_FILE: resolver_source(entries, kernels),
        _PLACE_FILE: _EMBEDDED,
        MODEL_FILE: model.content,
    }


def shared_files(entries: Sequence[Entry], kernels: str, board: Board) -> dict[str, str | bytes]:
    """Return the files of an image that reads models from the board's model region.

    Raises:
        BoardError: The board declares none.
    """
    return {
        **_glue(_SHARED_GLUE),
        **region_files(),
        _RESOLVER_FILE: resolver_source(entries, kernels),
        _PLACE_FILE: region_place(board, "tflm_model"),
    }


@lru_cache(maxsize=4)
def _glue(variant: str) -> dict[str, str]:
    folder = data_dir("firmware_template") / "runtime" / "tflm"
    return {
        f"runtime/tflm/{name}": (folder / name).read_text(encoding="utf-8")
        for name in (*_GLUE, variant)
    }
