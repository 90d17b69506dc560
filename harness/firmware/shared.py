"""One firmware for many models: built once per configuration, then each model beside it.

`build_shared` compiles a runtime without a model; `SharedImage.image_for` puts a model beside it in
milliseconds. Both segments are in the ELF, so that it is programmed and verified like any other:
the flasher finds the sectors of the runtime unchanged and writes those of the model region only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness import cache
from harness.boards import Board, load_board
from harness.errors import BuildError, ConfigError, ImageTooLarge, RuntimeUnsupported
from harness.files import draft_of
from harness.firmware.builder import build as build_firmware
from harness.firmware.image import BuildOptions, FirmwareImage, FlashSplit, RamSplit
from harness.paths import cache_dir
from harness.runtimes import GeneratedSources, RuntimeOptions, SharedFirmware, get_runtime
from harness.runtimes.region import CONTENT_OFFSET, staging_bytes

if TYPE_CHECKING:
    from harness.models.graph import TFLiteModel

# Images of single models: so many, and those that another process may be about to flash.
_KEPT, _KEPT_S = 64, 300.0
_EHDR = struct.Struct("<16sHHIIIIIHHHHHH")
_PHDR = struct.Struct("<IIIIIIII")
_EM_ARM, _ET_EXEC, _PT_LOAD, _PF_RX = 40, 2, 1, 5
_EABI5_HARD = 0x0500_0400


@dataclass(frozen=True, slots=True)
class SharedImage:
    """A built runtime that models are put beside."""

    runtime: SharedFirmware  # generated the sources, and describes models
    options: RuntimeOptions  # runtime and kernels
    board: Board  # what it was built for; declares a model region
    operators: tuple[str, ...]  # TFLite operators that the image has
    sources: GeneratedSources  # from `SharedFirmware.generate_shared`
    image: FirmwareImage  # the image without a model

    def sources_for(self, model: TFLiteModel) -> GeneratedSources:
        """Return what `Runtime.generate` would say of a model.

        Raises:
            RuntimeUnsupported: The model has operators that the image is not built with.
        """
        missing = {operator.name for operator in model.graph.operators} - set(self.operators)
        if missing:
            raise RuntimeUnsupported(
                f"model '{model.name}' has operators that one firmware for many models is not "
                f"built with: {', '.join(sorted(missing))}",
                where=model.name,
                expected=f"only {', '.join(self.operators)}",
                fix="measure it with an image of its own (one_firmware = false)",
            )
        return self.runtime.describe(model, self.sources)

    def image_for(self, model: TFLiteModel) -> FirmwareImage:
        """Return the image with a model; nothing is compiled.

        Its build id is the runtime's, which is what the device reports; the device reads the
        model's id from the model region.

        Raises:
            RuntimeUnsupported: The model does not fit the region, or its inputs the staging memory.
        """
        start = time.perf_counter()
        sources = self.runtime.describe(model, self.sources)
        symbols = symbols_of(self.image)
        origin, content = self.runtime.model_segment(model, self.sources, self.board, symbols)
        elf = _elf([*_segments(self.image.elf, self.image.sha256), (origin, content)])
        return replace(
            self.image,
            elf=_store(self.image, model, elf),
            sha256=hashlib.sha256(elf).hexdigest(),
            model_name=model.name,
            model_sha256=model.sha256,
            sizes=self._flash(model, content),
            ram=self._ram(model, sources, symbols),
            cached=True,
            seconds=time.perf_counter() - start,
        )

    def _flash(self, model: TFLiteModel, content: bytes) -> FlashSplit:
        """Return what the model takes as an image of its own."""
        weights = model.graph.weights_bytes
        sizes, graph = self.image.sizes, len(content) - weights
        parts = self.runtime.code_parts(model, self.sources)
        if parts:
            sizes, graph = self._own_code(model, parts), graph - CONTENT_OFFSET
        total = weights + graph + sizes.kernels + sizes.runtime + sizes.port
        return replace(sizes, weights=weights, graph=graph, total=total)

    def _own_code(self, model: TFLiteModel, parts: Sequence[str]) -> FlashSplit:
        """Return the flash of an image with these kernels, whose code is every such model's.

        One is built for the first model; what it takes is kept for later campaigns too.
        """
        kernels = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32]
        path = cache_dir() / "shared" / f"{self.image.build_id}-{kernels}.json"
        known = cache.read(path)
        if known is not None:
            return FlashSplit(**json.loads(known))
        sources = get_runtime(self.options.runtime).generate(model, self.options, self.board)
        sizes = build_firmware(self.board, model, sources, self.image.options).sizes
        with draft_of(path) as draft:
            draft.write_text(json.dumps(asdict(sizes)))
        return sizes

    def _ram(
        self, model: TFLiteModel, sources: GeneratedSources, symbols: Mapping[str, int]
    ) -> RamSplit:
        """Return what the model takes: as an image of its own, with its own inputs staged."""
        ram = self.image.ram
        other = ram.other + staging_bytes(model) - sources.staging_bytes
        if sources.arena_first:
            other -= symbols["_free_end"] - symbols["_free_start"]
        arena = sources.arena_planned_bytes or ram.arena
        return RamSplit(arena=arena, stack=ram.stack, other=other, total=arena + ram.stack + other)


def build_shared(
    board: Board,
    options: RuntimeOptions,
    build: BuildOptions | None = None,
    *,
    operators: tuple[str, ...] | None = None,
    slot: int = 0,
) -> SharedImage:
    """Build the runtime without a model, or return it when it was built before.

    Args:
        board: A board that declares a model region.
        options: A runtime that can serve many models (`SharedFirmware`), and its kernels.
        build: Compiler and board options.
        operators: TFLite operators of the image; by default those that the runtime suggests.
        slot: Preferred project folder.

    Raises:
        ConfigError: The runtime compiles the model in.
        ImageTooLarge: The runtime reaches into the model region.
        HarnessError: As `SharedFirmware.generate_shared` and `harness.firmware.build`.
    """
    runtime = _runtime(options.runtime)
    version = tuple(sorted(get_runtime(options.runtime).identity(options).items()))
    wanted = operators or runtime.shared_operators(options)
    return _shared(board.id, options, build or BuildOptions(), wanted, version, slot)


def _runtime(name: str) -> SharedFirmware:
    runtime = get_runtime(name)
    if isinstance(runtime, SharedFirmware):
        return runtime
    raise ConfigError(
        f"the {name} runtime compiles the model in",
        expected="a runtime that can serve many models from one firmware",
    )


@lru_cache(maxsize=8)
def _shared(
    board_id: str,
    options: RuntimeOptions,
    build: BuildOptions,
    operators: tuple[str, ...],
    version: tuple[tuple[str, str], ...],  # noqa: ARG001 - another library is another image
    slot: int,
) -> SharedImage:
    """Build the image once per process, as the library's files are searched each time."""
    board, runtime = load_board(board_id), _runtime(options.runtime)
    sources = runtime.generate_shared(operators, options, board)
    image = build_firmware(board, None, sources, build, slot=slot)
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
    return SharedImage(runtime, options, board, operators, sources, image)


def symbols_of(image: FirmwareImage) -> Mapping[str, int]:
    """Return the addresses of an image by name."""
    return _symbols(image.elf, image.sha256)


@lru_cache(maxsize=8)
def _symbols(elf: Path, _sha256: str) -> Mapping[str, int]:
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        return {symbol.name: int(symbol["st_value"]) for symbol in table.iter_symbols()}


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
        if time.time() - _modified(old) < _KEPT_S:
            continue
        # Another process may have been faster.
        with contextlib.suppress(FileNotFoundError):
            old.unlink()
    return path


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
