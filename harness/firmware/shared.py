"""One firmware, many models: an image of the runtime alone, and the model as a second segment.

`build_one` is all that a caller needs: it builds the runtime with `build_shared`, or finds it built
before, and makes the image of each model on it in milliseconds (`with_model`). Both segments are in
its ELF, so that it is programmed and verified like any other: the flasher finds the sectors of the
runtime unchanged and writes those of the model region only.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.boards import Board
from harness.errors import BuildError, ConfigError, ImageTooLarge
from harness.files import draft_of
from harness.firmware.image import BuildOptions, FirmwareImage, FlashSplit
from harness.paths import cache_dir

if TYPE_CHECKING:
    from harness.models.graph import TFLiteModel
    from harness.runtimes import GeneratedSources, RuntimeOptions

_KEPT = 64  # images of single models; anyone who uses one has just made it
_EHDR = struct.Struct("<16sHHIIIIIHHHHHH")
_PHDR = struct.Struct("<IIIIIIII")
_EM_ARM, _ET_EXEC, _PT_LOAD, _PF_RX = 40, 2, 1, 5
_EABI5_HARD = 0x0500_0400


def build_one(
    board: Board,
    model: TFLiteModel,
    runtime: RuntimeOptions,
    options: BuildOptions | None = None,
    *,
    slot: int = 0,
    on_log: Callable[[str], None] | None = None,
) -> tuple[GeneratedSources, FirmwareImage]:
    """Return what `generate` and `build` would for a model, on a runtime that all models share.

    The runtime has TFLM's common operators, and those that the model needs besides.

    Raises:
        ConfigError: The runtime is not `tflm`, or its library cannot be had.
        RuntimeUnsupported: The library lacks an operator, or the model does not fit.
        HarnessError: As `build_shared`.
    """
    from harness.models.graph import require_int8
    from harness.runtimes.tflm import TflmRuntime

    if runtime.runtime != TflmRuntime.name:
        raise ConfigError(
            f"the {runtime.runtime} runtime compiles the model in",
            expected="one_firmware with runtime tflm only",
        )
    require_int8(model)
    tflm = TflmRuntime()
    common = tflm.shared_operators(runtime)
    extra = sorted(set(model.graph.operator_counts()) - set(common))
    shared = tflm.generate_shared((*common, *extra), runtime, board)
    image = build_shared(board, shared, options, slot=slot, on_log=on_log)
    sources = tflm.describe(model, shared)
    return sources, with_model(image, board, model, sources)


def build_shared(
    board: Board,
    sources: GeneratedSources,
    options: BuildOptions | None = None,
    *,
    slot: int = 0,
    jobs: int | None = None,
    cache_dir: Path | None = None,
    on_log: Callable[[str], None] | None = None,
) -> FirmwareImage:
    """Build the runtime without a model, or return it when it was built before.

    Args:
        board: A board that declares a model region.
        sources: From the runtime's `generate_shared`.
        options: Compiler and board options.
        slot: Preferred project folder.
        jobs: Compiler processes at a time.
        cache_dir: Where projects and images live instead of `harness.paths.cache_dir()`.
        on_log: Called with every line that PlatformIO prints.

    Raises:
        ImageTooLarge: The runtime reaches into the model region.
        HarnessError: As `harness.firmware.build`.
    """
    from harness.firmware.builder import build_image

    image = build_image(
        board,
        None,
        sources,
        options or BuildOptions(),
        slot=slot,
        jobs=jobs,
        cache=cache_dir,
        on_log=on_log,
    )
    region = board.model_region
    if region is None:
        raise BuildError(f"{board.id} declares no model region", where=board.manifest)
    room = region.origin - board.flash.origin
    if image.sizes.total > room:
        raise ImageTooLarge(
            f"the runtime takes {image.sizes.total} bytes of flash, and the model region begins "
            f"after {room}",
            where=f"{board.manifest}: harness.model_region",
            expected=f"at most {room} bytes",
            fix="name fewer operators, optimise for size (-Os), or move the model region",
            region="FLASH",
            overflow_bytes=image.sizes.total - room,
        )
    return image


def with_model(
    image: FirmwareImage, board: Board, model: TFLiteModel, sources: GeneratedSources
) -> FirmwareImage:
    """Return the image of a model on a shared runtime; nothing is compiled.

    Its build id is the runtime's, which is what the device says; the model's id it reads from the
    model region.

    Args:
        image: From `build_shared`.
        board: The same board.
        model: An int8 model; every operator must be one that the image was built with.
        sources: From the runtime's `describe`: facts of the model.

    Raises:
        RuntimeUnsupported: The model does not fit the region, or its inputs the staging memory.
    """
    from harness.runtimes.tflm.region import model_region, region_content

    start = time.perf_counter()
    content = region_content(model, board)
    elf = _elf([*_segments(image.elf, image.sha256), (model_region(board).origin, content)])
    path = _store(image, model, elf)
    runtime = image.sizes
    return replace(
        image,
        elf=path,
        sha256=hashlib.sha256(elf).hexdigest(),
        model_name=model.name,
        model_sha256=model.sha256,
        sizes=FlashSplit(
            weights=sources.weights_bytes,
            graph=runtime.graph + len(content) - sources.weights_bytes,
            kernels=runtime.kernels,
            runtime=runtime.runtime,
            port=runtime.port,
            total=runtime.total + len(content),
        ),
        cached=True,
        seconds=time.perf_counter() - start,
    )


@lru_cache(maxsize=8)
def _segments(elf: Path, _sha256: str) -> tuple[tuple[int, bytes], ...]:
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as stream:
        return tuple(
            (int(part["p_paddr"]), part.data())
            for part in ELFFile(stream).iter_segments("PT_LOAD")
            if part["p_filesz"]
        )


def _elf(segments: Sequence[tuple[int, bytes]]) -> bytes:
    """Write an ELF with nothing but program headers: what a flasher reads."""
    offset = _EHDR.size + len(segments) * _PHDR.size
    head = _EHDR.pack(
        b"\x7fELF\x01\x01\x01".ljust(16, b"\0"), _ET_EXEC, _EM_ARM, 1, segments[0][0], _EHDR.size,
        0, _EABI5_HARD, _EHDR.size, _PHDR.size, len(segments), 0, 0, 0,
    )  # fmt: skip
    table, body = b"", b""
    for address, data in segments:
        table += _PHDR.pack(
            _PT_LOAD, offset + len(body), address, address, len(data), len(data), _PF_RX, 4
        )
        body += data
    return head + table + body


def _store(image: FirmwareImage, model: TFLiteModel, elf: bytes) -> Path:
    """Keep the ELF until it is flashed, under a name of its content; the oldest go."""
    folder = cache_dir() / "shared"
    path = folder / f"{image.build_id}-{model.sha256[:32]}.elf"
    with draft_of(path) as draft:
        draft.write_bytes(elf)
    kept = sorted(folder.glob("*.elf"), key=_modified, reverse=True)
    for old in kept[_KEPT:]:
        # Another process may have been faster.
        with contextlib.suppress(FileNotFoundError):
            old.unlink()
    return path


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
