"""Lay out the PlatformIO project: what is fixed for a configuration, and what a model changes.

File names depend on the configuration only, so that PlatformIO keeps its build folder from one
model to the next; what varies is in the contents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harness.boards import Board
from harness.errors import BuildError
from harness.firmware.boardconfig import board_config, linker_script
from harness.firmware.image import BuildOptions
from harness.models.mlperf import Benchmark, InputFormat, benchmark_for, runner_name
from harness.paths import data_dir
from harness.runtimes.library import HEADER_SUFFIXES

if TYPE_CHECKING:
    from harness.models.graph import TFLiteModel
    from harness.runtimes import GeneratedSources, LibraryTree

_PLATFORM = "platforms/cortexm_bench"
_TEMPLATE_FOLDERS = {"src": "src", "port": "port", "platform": _PLATFORM}
# Where a library lies does not change what is built from it.
_LIBRARY_FILE = "library/tree.json"
_TEMPLATE_FILES = frozenset({".c", ".h", ".S", ".cpp", ".py", ".json"})
_STAGING_ALIGNMENT = 16

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Project:
    """A project as text, before it is written anywhere."""

    configuration: Files  # files that are the same for every model of this configuration
    model: Files  # files that the model varies
    key: str  # SHA-256 over all of it, model, options and toolchain included

    @property
    def files(self) -> Files:
        """All files."""
        return {**self.configuration, **self.model}

    @property
    def configuration_key(self) -> str:
        """SHA-256 over what is fixed, and the names of what is not."""
        return digest({**dict.fromkeys(self.model, b""), **self.configuration})

    @property
    def build_id(self) -> str:
        """First 16 hex digits of `key`."""
        return self.key[:16]


def plan_project(
    board: Board,
    model: TFLiteModel | None,
    sources: GeneratedSources,
    options: BuildOptions,
    toolchain: str,
    benchmark: str | None = None,
) -> Project:
    """Lay out the project of one image; without a model, of one that takes any.

    `benchmark` is MLPerf Tiny's, or ``none``; by default what the model's shapes say.

    Raises:
        ConfigError: There is no such benchmark, or the model is not for it.
        BuildError: Two kernel sources have one name, or a generated name leaves the project.
        BoardError: The board's facts cannot be turned into code.
    """
    template = _template(data_dir("firmware_template"))
    kernels = _kernel_files(sources.library_sources, sources.include_dirs, sources.kernels_version)
    includes = sorted(
        {"/".join(name.split("/")[:3]) for name in kernels if name.startswith("kernels/include/")}
    )
    configuration: dict[str, bytes] = {
        **template,
        **kernels,
        f"boards/{board.id}.json": Path(board.manifest).read_bytes(),
        "include/board_config.h": board_config(board, options).encode(),
        "ld/board.ld": linker_script(
            board, options, template["ld/board.ld.in"].decode(), arena_first=sources.arena_first
        ).encode(),
        "platformio.ini": _ini(board, sources, options, includes).encode(),
    }
    del configuration["ld/board.ld.in"]
    if sources.library is not None:
        configuration[_LIBRARY_FILE] = _library_tree(sources.library, placed=False)
    generated: dict[str, bytes] = {}
    for name, content in sources.files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise BuildError(f"generated file {name!r} lies outside the project")
        generated[f"src/{path}"] = content.encode() if isinstance(content, str) else content
    target = None if model is None else benchmark_for(model, benchmark)
    subject = "any model" if model is None else f"{model.sha256}\n{model.name}\n{target}"
    facts = f"{toolchain}\n{subject}\n"
    key = digest({**configuration, **generated, "facts": facts.encode()})
    if sources.library is not None:
        configuration[_LIBRARY_FILE] = _library_tree(sources.library, placed=True)
    generated["src/build_info.c"] = _build_info(key[:16], model, sources, target).encode()
    return Project(configuration, generated, key)


def _build_info(
    build_id: str, model: TFLiteModel | None, sources: GeneratedSources, target: Benchmark | None
) -> str:
    """Return ``build_info.c``: identity, tensor sizes and the inputs' staging memory."""
    if model is None:  # the tensors are the runtime's to know, and staging has a fixed size
        return f"""/* Generated. */
#include "build_info.h"

const char build_id[] = "{build_id}";

uint8_t build_staging[{sources.staging_bytes}]
    __attribute__((aligned({_STAGING_ALIGNMENT})));
"""
    form = target.format if target else InputFormat.INT8

    def tensor(size: int, at: int, index: int) -> str:
        found = model.graph.tensors[index]
        scale = found.scales[0] if found.scales else 1.0
        zero = found.zero_points[0] if found.zero_points else 0
        return f"{{{size}u, {at}u, {float(scale).hex()}f, {zero}}}"

    inputs, offset = [], 0
    for size, index in zip(sources.input_bytes, model.graph.inputs, strict=True):
        inputs.append(tensor(size, offset, index))
        offset += -(-size // _STAGING_ALIGNMENT) * _STAGING_ALIGNMENT
    sizes = zip(sources.output_bytes, model.graph.outputs, strict=True)
    outputs = [tensor(size, 0, index) for size, index in sizes]
    if target is not None and form is InputFormat.FP32:
        offset += target.file_bytes
    return f"""/* Generated. */
#include "build_info.h"

const char build_id[] = "{build_id}";
const char build_model_id[] = "{model.sha256[:16]}";
const char build_model_name[] = "{runner_name(model, target)}";
const uint32_t build_input_format = {int(form)}u; /* {form.name} */

const uint32_t build_input_count = {len(inputs)}u;
const build_tensor_t build_inputs[] = {{{", ".join(inputs)}}};
const uint32_t build_output_count = {len(outputs)}u;
const build_tensor_t build_outputs[] = {{{", ".join(outputs)}}};

uint8_t build_staging[{max(offset, _STAGING_ALIGNMENT)}]
    __attribute__((aligned({_STAGING_ALIGNMENT})));
"""


def write_files(folder: Path, files: Files, *, exclusive: tuple[str, ...] = ()) -> None:
    """Write what differs; an unchanged file keeps its time stamp, so that it is not compiled again.

    The folders `exclusive` may hold nothing but `files`: anything else in them is removed.
    """
    for name in exclusive:
        for path in (folder / name).rglob("*"):
            known = path.relative_to(folder).as_posix() in files or path.suffix == ".pyc"
            if path.is_file() and not known:
                path.unlink()
    for name, content in files.items():
        path = folder / name
        if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def digest(files: Files) -> str:
    """Return the SHA-256 over names and contents, whatever their order."""
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name}\0{len(files[name])}\0".encode())
        total.update(files[name])
    return total.hexdigest()


def _library_tree(library: LibraryTree, *, placed: bool) -> bytes:
    """Return ``tree.json`` for the platform; without the library's place it is its identity."""
    content = {
        "root": str(library.root) if placed else "",
        "digest": library.digest,
        "include": library.include_dirs,
        # The linker script knows the archives by these names.
        "archives": {"tflm": library.core_sources, "kernels": library.kernel_sources},
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def _ini(
    board: Board, sources: GeneratedSources, options: BuildOptions, includes: list[str]
) -> str:
    def listed(values: tuple[str, ...] | list[str]) -> str:
        return "".join(f"\n    {value}" for value in values)

    return f"""; Generated by TinyML Harness. Build it with `pio run`; see README.md.
[platformio]
boards_dir = boards
platforms_dir = platforms

[env:{board.id}]
platform = cortexm_bench
board = {board.id}
lib_ldf_mode = off
custom_optimization = {options.optimization}
custom_extra_flags ={listed(options.extra_flags)}
custom_defines ={listed(sources.defines)}
custom_kernel_include ={listed(includes)}
"""


@lru_cache(maxsize=4)
def _template(root: Path) -> dict[str, bytes]:
    found = {
        f"{target}/{path.relative_to(root / folder).as_posix()}": path.read_bytes()
        for folder, target in _TEMPLATE_FOLDERS.items()
        for path in sorted((root / folder).rglob("*"))
        if path.suffix in _TEMPLATE_FILES and "__pycache__" not in path.parts
    }
    for name in ("README.md", "ld/board.ld.in"):
        found[name] = (root / name).read_bytes()
    return found


@lru_cache(maxsize=4)
def _kernel_files(
    sources: tuple[Path, ...],
    include_dirs: tuple[Path, ...],
    _version: str,  # of the contents: a user's tree may change under the same names
) -> dict[str, bytes]:
    """Return kernel sources and headers under fixed names, wherever they are installed."""
    files: dict[str, bytes] = {}
    for source in sources:
        name = f"kernels/src/{source.name}"
        if name in files:
            where = str(source.parent)
            raise BuildError(f"two kernel sources are called {source.name}", where=where)
        files[name] = source.read_bytes()
    for number, folder in enumerate(include_dirs):
        for path in sorted(folder.rglob("*")):
            if path.suffix in HEADER_SUFFIXES:
                name = f"kernels/include/{number}/{path.relative_to(folder).as_posix()}"
                files[name] = path.read_bytes()
    return files
