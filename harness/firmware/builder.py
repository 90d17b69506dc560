"""Run PlatformIO on a project, and keep what it links in a content-addressed store."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness import cache, paths
from harness.boards import Board
from harness.errors import BuildError
from harness.firmware.diagnose import diagnose
from harness.firmware.image import BuildOptions, FirmwareImage
from harness.firmware.project import Project, plan_project, write_files
from harness.firmware.sizes import read_sizes
from harness.firmware.toolchain import (
    Toolchain,
    ensure_toolchain,
    platformio_environment,
    prepare_core,
)
from harness.strict import from_json, to_json

if TYPE_CHECKING:
    from harness.models.graph import TFLiteModel
    from harness.runtimes import GeneratedSources

Log = Callable[[str], None]

_DEFAULTS = BuildOptions()
_SLOTS = 8
_GENERATED = ("src", "port", "include", "kernels", "library", "ld", "platforms", "boards")


def build(
    board: Board,
    model: TFLiteModel | None,
    sources: GeneratedSources,
    options: BuildOptions = _DEFAULTS,
    *,
    benchmark: str | None = None,
    slot: int = 0,
    jobs: int | None = None,
    cache_dir: Path | None = None,
    on_log: Log | None = None,
) -> FirmwareImage:
    """Build an image, or return it when it was built before.

    Args:
        model: The network, whose hash identifies the image; None for a runtime that takes any.
        sources: What the runtime generated for it.
        benchmark: MLPerf Tiny's that the image is for, or ``none``; by default what the shapes of
            input and output say.
        slot: Preferred project folder; a busy one is passed over for the next.
        jobs: Compiler processes at a time; by default as many as there are cores, four at most.
        cache_dir: Where projects and images live instead of `harness.paths.cache_dir`.
        on_log: Called with every line that PlatformIO prints.

    Raises:
        ConfigError: There is no such benchmark, or the model is not for it.
        ToolchainMissing: No cross compiler, or PlatformIO cannot be run.
        ImageTooLarge: Flash or RAM overflows; says which, by how much and what is biggest.
        BuildError: The compiler or linker refused the sources; names the log.
    """
    start = time.perf_counter()
    root = cache_dir or paths.cache_dir()
    cache.hold(root)
    toolchain = ensure_toolchain(cache_dir)
    project = plan_project(board, model, sources, options, toolchain.name, benchmark)
    if stored := _load(root, project, start):
        return stored
    core = prepare_core(cache_dir)
    with _project_folder(root, board, project, slot) as (folder, lock):
        # Another process may have built the same while this one waited for the folder.
        if stored := _load(root, project, start):
            return stored
        write_files(folder, project.files, exclusive=_GENERATED)
        output = folder / ".pio" / "build" / board.id
        lines = _run_platformio(folder, lock, core, toolchain, jobs, on_log)
        if lines is not None:
            raise _failure(root, board, project, sources, options, output, lines)
        elf = output / "firmware.elf"
        sizes, ram = read_sizes(elf, sources.weights_bytes)
        image = FirmwareImage(
            elf=elf,
            map=output / "firmware.map",
            sha256=hashlib.sha256(elf.read_bytes()).hexdigest(),
            build_id=project.build_id,
            board=board.id,
            model_name=model.name if model else "",
            model_sha256=model.sha256 if model else "",
            runtime=sources.runtime,
            runtime_version=sources.runtime_version,
            kernels=sources.kernels,
            kernels_version=sources.kernels_version,
            toolchain=toolchain.name,
            flags=(options.optimization, *options.extra_flags),
            options=options,
            cached=False,
            sizes=sizes,
            ram=ram,
            seconds=0.0,
        )
        image = _store(root, project, image, start)
    cache.keep_bounded(root)
    return image


def export_project(
    board: Board,
    model: TFLiteModel,
    sources: GeneratedSources,
    folder: Path,
    options: BuildOptions = _DEFAULTS,
) -> Path:
    """Write the PlatformIO project that `build` would run, to be built by hand with ``pio run``.

    Raises:
        BuildError: `folder` cannot be written, or two kernel sources have one name.
        ToolchainMissing: No cross compiler; it is part of the build id.
    """
    project = plan_project(board, model, sources, options, ensure_toolchain().name)
    try:
        write_files(folder, project.files)
    except OSError as failure:
        raise BuildError(f"cannot write the project: {failure}", where=str(folder)) from None
    return folder


# --- image store -----------------------------------------------------------------------------


def _image_folder(root: Path, project: Project) -> Path:
    return root / "images" / project.key[:32]


def _load(root: Path, project: Project, start: float) -> FirmwareImage | None:
    """Return the stored image, or None: also when what is there is not whole."""
    folder = _image_folder(root, project)
    try:
        record = json.loads((folder / "image.json").read_text(encoding="utf-8"))
        content = (folder / "firmware.elf").read_bytes()
        image = from_json(FirmwareImage, record, where=str(folder), error=BuildError)
    except (OSError, ValueError, BuildError):
        return None
    if hashlib.sha256(content).hexdigest() != image.sha256:
        return None
    cache.touch(folder)
    return _placed(image, folder, start, cached=True)


def _placed(image: FirmwareImage, folder: Path, start: float, *, cached: bool) -> FirmwareImage:
    return replace(
        image,
        elf=folder / "firmware.elf",
        map=folder / "firmware.map",
        cached=cached,
        seconds=time.perf_counter() - start,
    )


def _store(root: Path, project: Project, image: FirmwareImage, start: float) -> FirmwareImage:
    folder = _image_folder(root, project)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".new-", dir=folder.parent, ignore_cleanup_errors=True) as name:
        fresh = Path(name) / "image"
        fresh.mkdir()
        shutil.copyfile(image.elf, fresh / "firmware.elf")
        shutil.copyfile(image.map, fresh / "firmware.map")
        text = json.dumps(to_json(image), indent=2, sort_keys=True)
        (fresh / "image.json").write_text(text + "\n", encoding="utf-8")
        if folder.exists() and _load(root, project, start) is None:
            # A damaged image; move it away in one step, as a reader may be inside.
            folder.rename(Path(name) / "damaged")
        try:
            fresh.rename(folder)
        except OSError:
            if _load(root, project, start) is None:
                raise
    return _placed(image, folder, start, cached=False)


# --- running PlatformIO ----------------------------------------------------------------------


@contextmanager
def _project_folder(
    root: Path, board: Board, project: Project, slot: int
) -> Iterator[tuple[Path, int]]:
    """Yield a project folder of this configuration that no other build uses, and its lock.

    The first free slot from `slot` on is taken; when all are busy, `slot` is waited for.
    """
    base = root / "build"
    base.mkdir(parents=True, exist_ok=True)
    name = f"{board.id}-{project.configuration_key[:16]}"
    order = [(slot + number) % _SLOTS for number in range(_SLOTS)]
    with ExitStack() as stack:
        for index, wait in [*((index, False) for index in order), (order[0], True)]:
            lock = stack.enter_context((base / f"{name}-{index}.lock").open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            folder = base / f"{name}-{index}"
            folder.mkdir(exist_ok=True)
            yield folder, lock.fileno()
            return


def _run_platformio(
    folder: Path, lock: int, core: Path, toolchain: Toolchain, jobs: int | None, on_log: Log | None
) -> list[str] | None:
    """Run ``pio run``; return None when it linked, else what it printed."""
    jobs = jobs or min(os.cpu_count() or 1, 4)
    command = [sys.executable, "-m", "platformio", "run", "-d", str(folder), "-j", str(jobs)]
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=folder,
        env=platformio_environment(core, toolchain),
        # When we are killed, the folder stays locked until PlatformIO has ended too.
        pass_fds=(lock,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        if process.stdout is None:
            raise RuntimeError("Popen without a pipe")
        for line in process.stdout:
            lines.append(line.rstrip())
            if on_log is not None:
                on_log(line.rstrip())
    (folder / "build.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return None if process.returncode == 0 else lines


def _failure(
    root: Path,
    board: Board,
    project: Project,
    sources: GeneratedSources,
    options: BuildOptions,
    output: Path,
    lines: list[str],
) -> BuildError:
    """Keep the log under the build id, as the folder's own is overwritten, and diagnose it."""
    logs = root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"build-{project.build_id}.log"
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    staging = sum(-(-size // 16) * 16 for size in sources.input_bytes)
    kernels = output / "libkernels.a"
    return diagnose(
        lines,
        log,
        regions={
            "FLASH": board.flash.bytes,
            "RAM": sum(region.bytes for region in board.data_ram),
            "ARENA": sum(region.bytes for region in board.arena_ram),
        },
        parts={
            "FLASH": {
                "weights": sources.weights_bytes,
                "kernels (at most)": kernels.stat().st_size if kernels.is_file() else 0,
            },
            # One memory on most boards; the linker names the one that is too small.
            "ARENA": {"arena": sources.arena_planned_bytes or 0},
            "RAM": {
                "arena": sources.arena_planned_bytes or 0,
                "input staging": staging,
                "stack": options.stack_bytes,
            },
        },
    )
