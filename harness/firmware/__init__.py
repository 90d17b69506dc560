"""Firmware: model sources in, one flashable image out, through PlatformIO.

The records are here; what builds them loads on first use.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.firmware.image import BuildOptions, FirmwareImage, FlashSplit, Optimization, RamSplit

if TYPE_CHECKING:
    from harness.boards import Board
    from harness.models.graph import TFLiteModel
    from harness.runtimes import GeneratedSources

__all__ = [
    "BuildOptions",
    "FirmwareImage",
    "FlashSplit",
    "Optimization",
    "RamSplit",
    "build",
    "export_project",
]


def build(
    board: Board,
    model: TFLiteModel,
    sources: GeneratedSources,
    options: BuildOptions | None = None,
    *,
    slot: int = 0,
    jobs: int | None = None,
    cache_dir: Path | None = None,
    on_log: Callable[[str], None] | None = None,
) -> FirmwareImage:
    """Build the image of one model, or return it when it was built before.

    Args:
        board: Board to build for.
        model: The network; its hash identifies the image.
        sources: What the runtime generated for it.
        options: Compiler and board options.
        slot: Preferred project folder; a busy one is passed over for the next.
        jobs: Compiler processes at a time; by default as many as there are cores, four at most.
        cache_dir: Where projects and images live instead of `harness.paths.cache_dir()`.
        on_log: Called with every line that PlatformIO prints.

    Raises:
        ToolchainMissing: No cross compiler, or PlatformIO cannot be run.
        ImageTooLarge: Flash or RAM overflows; says which, by how much and what is biggest.
        BuildError: The compiler or linker refused the sources; names the log.
    """
    from harness.firmware.builder import build_image

    return build_image(
        board,
        model,
        sources,
        options or BuildOptions(),
        slot=slot,
        jobs=jobs,
        cache=cache_dir,
        on_log=on_log,
    )


def export_project(
    board: Board,
    model: TFLiteModel,
    sources: GeneratedSources,
    folder: Path,
    options: BuildOptions | None = None,
) -> Path:
    """Write the PlatformIO project that `build` would run, to be built by hand with ``pio run``.

    Raises:
        BuildError: `folder` cannot be written, or two kernel sources have one name.
        ToolchainMissing: No cross compiler; it is part of the build id.
    """
    from harness.firmware.builder import write_standalone

    return write_standalone(board, model, sources, folder, options or BuildOptions())
