"""What a TFLM library is made of: packaging, include paths, kernels, and the sources that we need.

Two packagings are known. *upstream*: the tree of TFLM's create_tflm_tree.py, ``tensorflow/`` at its
root or below ``src/``. *arduino*: forks for the Arduino IDE, whose headers want ``ARDUINO`` defined
and whose structures have the members that TF_LITE_STATIC_MEMORY leaves out.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness.errors import ConfigError
from harness.runtimes.tflm.library import HEADER_SUFFIXES, SOURCE_SUFFIXES, THREE_WAYS, Library

KERNELS = ("cmsis_nn", "reference")
MICRO = "tensorflow/lite/micro"
INTERPRETER = f"{MICRO}/micro_interpreter.h"
RESOLVER = f"{MICRO}/micro_mutable_op_resolver.h"
# Headers that are included by these names; whatever folder has one is an include path.
_ANCHORS = (
    INTERPRETER,
    "flatbuffers/flatbuffers.h",
    "fixedpoint/fixedpoint.h",
    "ruy/profiler/instrumentation.h",
    "kiss_fft.h",
    "tools/kiss_fftr.h",
    "arm_nnfunctions.h",
    "Include/arm_nnfunctions.h",
    "cmsis_gcc.h",
)
_NEEDED = (INTERPRETER, RESOLVER, "flatbuffers/flatbuffers.h")
# Our glue has the port functions; the rest is for TFLM's own tests.
_UNWANTED = re.compile(
    r"(^|/)(\w*_test|test_\w+|mock_\w+|fake_\w+|\w*test_helpers?\w*|debug_log|debug_log_\w+|"
    r"micro_time|system_setup|hexdump|kernel_runner|micro_speech\w*)\.\w+$"
)
_FLOAT_CMSIS = re.compile(r"_(f16|f32|flt)\.c$")
_REVISION = re.compile(r"\$Revision:\s*(V[.\d]+)")
_ARDUINO_DEFINES = ("ARDUINO=10819",)
_UPSTREAM_DEFINES = ("TF_LITE_STATIC_MEMORY", "TF_LITE_DISABLE_X86_NEON")
_CMSIS_DEFINES = ("CMSIS_NN", "ARM_NN_ENABLE_F16=0", "ARM_NN_ENABLE_F32=0")


@dataclass(frozen=True, slots=True)
class Layout:
    """A library, understood.

    Attributes:
        library: The library.
        profile: ``upstream`` or ``arduino``.
        base: Folder of ``tensorflow/`` relative to the library, with a slash at its end, or empty.
        include_dirs: Include paths relative to the library.
        kernels: Kernel sets that it can be built with.
        cmsis_nn_version: Revision of CMSIS-NN, where it has it.
    """

    library: Library
    profile: str
    base: str
    include_dirs: tuple[str, ...]
    kernels: tuple[str, ...]
    cmsis_nn_version: str | None

    def defines(self, kernels: str) -> tuple[str, ...]:
        """Return the macros that library and application must agree on: they decide the ABI."""
        profile = _ARDUINO_DEFINES if self.profile == "arduino" else _UPSTREAM_DEFINES
        own = tuple(flag[2:] for flag in self.library.flags if flag.startswith("-D"))
        chosen = _CMSIS_DEFINES if kernels == "cmsis_nn" else ()
        # Assertions off, messages on: TFLM's release_with_logs.
        return tuple(dict.fromkeys((*profile, "NDEBUG", *chosen, *own)))

    def kernels_label(self, kernels: str) -> str:
        """Return the version of a kernel set."""
        if kernels == "cmsis_nn":
            return f"CMSIS-NN {self.cmsis_nn_version or 'unknown'}"
        return f"TFLM reference (sha256 {self.library.digest[:12]})"

    def text(self, name: str) -> str:
        """Read a file of the library."""
        return _read(self.library.root / name, self.library.digest)

    def header(self, name: str) -> str:
        """Read a header by its name in #include.

        Raises:
            ConfigError: The library does not have it.
        """
        for folder in self.include_dirs:
            path = posixpath.normpath(posixpath.join(folder, name))
            if path in self.library.files:
                return self.text(path)
        raise ConfigError(
            f"the TFLM library {self.library.name} has no {name}",
            where=str(self.library.root),
            expected="TensorFlow Lite for Microcontrollers of October 2022 or later",
            fix=THREE_WAYS,
        )


@lru_cache(maxsize=256)
def _read(path: Path, _digest: str) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


@lru_cache(maxsize=8)
def understand(library: Library) -> Layout:
    """Find out what a library is.

    Raises:
        ConfigError: It is not TFLM, or a part that it includes is missing.
    """
    headers = [name for name in library.files if posixpath.splitext(name)[1] in HEADER_SUFFIXES]
    found = {
        anchor: [name for name in headers if name == anchor or name.endswith(f"/{anchor}")]
        for anchor in _ANCHORS
    }
    missing = [anchor for anchor in _NEEDED if anchor in _ANCHORS and not found[anchor]]
    if missing:
        raise ConfigError(
            f"'{library.spec}' is no TFLM library: it has no {' and no '.join(missing)}",
            where=str(library.root),
            expected="the tree that TFLM's create_tflm_tree.py writes, third_party/ included, or a "
            "fork for Arduino",
            fix=THREE_WAYS,
        )
    base = min(found[INTERPRETER], key=len)[: -len(INTERPRETER)]
    includes = [base.rstrip("/") or "."]
    for anchor in _ANCHORS[1:]:
        includes += [name[: -len(anchor)].rstrip("/") or "." for name in found[anchor]]
    includes += [flag[2:] for flag in library.flags if flag.startswith("-I") and len(flag) > 2]
    functions = found["arm_nnfunctions.h"]
    revision = None
    if functions:
        text = (library.root / functions[0]).read_text(encoding="utf-8", errors="replace")
        match = _REVISION.search(text)
        revision = match[1] if match else None
    return Layout(
        library=library,
        profile="arduino" if (library.root / "library.properties").is_file() else "upstream",
        base=base,
        include_dirs=tuple(dict.fromkeys(includes)),
        kernels=_kernel_sets(library, base, bool(functions)),
        cmsis_nn_version=revision,
    )


def check_kernels(layout: Layout, kernels: str) -> None:
    """Refuse kernels that the library does not have.

    Raises:
        ConfigError: Says which it has.
    """
    if kernels not in KERNELS:
        raise ConfigError(
            f"the tflm runtime has no kernels '{kernels}'",
            expected=f"one of {', '.join(KERNELS)}",
            fix="correct the kernels option",
        )
    if kernels not in layout.kernels:
        other = "OPTIMIZED_KERNEL_DIR=cmsis_nn" if kernels == "cmsis_nn" else "no OPTIMIZED_KERNEL_DIR"
        raise ConfigError(
            f"the TFLM library '{layout.library.spec}' is not built with {kernels} kernels",
            where=str(layout.library.root),
            expected=f"kernels = {' or '.join(layout.kernels)}, which is what it has",
            fix=f"correct the kernels option, or generate a tree with {other} and name that",
            kernels=layout.kernels,
        )


def _kernel_sets(library: Library, base: str, cmsis: bool) -> tuple[str, ...]:
    folder = f"{base}{MICRO}/kernels/"
    own = {_stem(n) for n in library.files if posixpath.dirname(n) + "/" == folder and _source(n)}
    arm = {_stem(n) for n in library.files if n.startswith(f"{folder}cmsis_nn/") and _source(n)}
    # Where TFLM's makefile put optimised kernels, it left the reference ones of that name out.
    sets = ["cmsis_nn"] if arm and cmsis else []
    if not arm or arm <= own:
        sets.append("reference")
    return tuple(sets)


def _source(name: str) -> bool:
    return posixpath.splitext(name)[1] in SOURCE_SUFFIXES


def _stem(name: str) -> str:
    return posixpath.splitext(posixpath.basename(name))[0]


# --- which sources ---------------------------------------------------------------------------

_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
_DEFINITION = re.compile(r"\bRegister_(\w+)\s*\(\s*\)\s*\{")
_C_FUNCTION = re.compile(r"^(?![ *#/])[^\n;={}]*?\b(arm_\w+)\s*\([^;{}]*\)\s*\{", re.MULTILINE)
_WORD = re.compile(r"\barm_\w+")
_DECLARATIONS = re.compile(r"/arm_nn\w*functions\w*\.h$")  # every function there is


@lru_cache(maxsize=16)
def select_sources(
    layout: Layout, kernels: str, registrations: frozenset[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the sources that an interpreter with some operators needs: core, and kernels.

    The core is a list of folders. A kernel is the source that defines ``Register_X``, and what it
    leads to: the source of a header that it includes, and CMSIS-NN's functions that it names. A
    registration that is found nowhere stands for all kernels.

    Args:
        layout: The library.
        kernels: ``cmsis_nn`` or ``reference``.
        registrations: Names after ``Register_``.
    """
    usable = _usable(layout, kernels)
    core, ours = _core(layout, usable), f"{layout.base}{MICRO}/kernels/"
    pool = [name for name in usable if name not in core]
    defined: dict[str, str] = {}
    for name in pool:
        if name.startswith((ours, f"{layout.base}signal/")):
            for match in _DEFINITION.finditer(layout.text(name)):
                defined.setdefault(match[1], name)
    if not registrations <= defined.keys():
        return tuple(core), tuple(pool)
    start = [defined[name] for name in sorted(registrations)]
    internal = f"{layout.base}tensorflow/lite/kernels/"
    start += [name for name in pool if name.startswith(internal)]
    return tuple(core), _closure(layout, [*core, *start], pool)


def _usable(layout: Layout, kernels: str) -> list[str]:
    """Return the sources of one kernel set, as TFLM's makefile would choose them."""
    folder = f"{layout.base}{MICRO}/kernels/"
    names = [name for name in layout.library.files if _source(name) and not _UNWANTED.search(name)]
    arm = {_stem(name) for name in names if name.startswith(f"{folder}cmsis_nn/")}
    chosen = []
    for name in names:
        inside = name.removeprefix(folder) if name.startswith(folder) else None
        if inside is not None:
            # Other optimised kernels (xtensa, ethos_u, ...) are for other cores.
            optimised = posixpath.dirname(inside)
            if optimised and not (optimised == "cmsis_nn" and kernels == "cmsis_nn"):
                continue
            if not optimised and kernels == "cmsis_nn" and _stem(name) in arm:
                continue
        elif _is_cmsis(name) and (kernels != "cmsis_nn" or _FLOAT_CMSIS.search(name)):
            continue
        elif name.startswith(f"{layout.base}{MICRO}/") and not _is_core(layout, name):
            continue
        chosen.append(name)
    return chosen


def _is_cmsis(name: str) -> bool:
    return posixpath.basename(name).startswith("arm_")


def _core_folders(layout: Layout) -> tuple[str, ...]:
    micro = f"{layout.base}{MICRO}"
    lite = f"{layout.base}tensorflow/lite"
    return (
        micro,
        f"{micro}/arena_allocator",
        f"{micro}/memory_planner",
        f"{micro}/tflite_bridge",
        f"{lite}/c",
        f"{lite}/core/c",
        f"{lite}/core/api",
        f"{lite}/schema",
        f"{layout.base}tensorflow/compiler/mlir/lite/schema",
        f"{layout.base}tensorflow/compiler/mlir/lite/core/api",
    )


def _is_core(layout: Layout, name: str) -> bool:
    return posixpath.dirname(name) in _core_folders(layout)


def _core(layout: Layout, usable: Iterable[str]) -> list[str]:
    return [name for name in usable if _is_core(layout, name)]


def _closure(layout: Layout, start: Iterable[str], pool: list[str]) -> tuple[str, ...]:
    """Return the members of `pool` that `start` leads to, in `pool`'s order."""
    by_stem: dict[str, list[str]] = {}
    functions: dict[str, str] = {}
    for name in pool:
        by_stem.setdefault(_stem(name), []).append(name)
        if _is_cmsis(name):
            for word in _C_FUNCTION.findall(layout.text(name)):
                functions.setdefault(word, name)
    headers = _headers(layout)
    seen: set[str] = set()
    queue = list(start)
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        text = layout.text(name)
        for include in _INCLUDE.findall(text):
            # The resolver's header names every operator there is.
            if include.endswith(posixpath.basename(RESOLVER)):
                continue
            target = _include_target(name, include, headers)
            if target is None:
                continue
            queue.append(target)
            stem = posixpath.splitext(posixpath.basename(target))[0]
            for candidate in (*by_stem.get(stem, ()), *by_stem.get(f"{stem}_common", ())):
                if _related(candidate, target):
                    queue.append(candidate)
        if "/cmsis_nn/" in name and not _DECLARATIONS.search(name) or _is_cmsis(name) and _source(name):
            queue += {functions[word] for word in _WORD.findall(text) if word in functions}
    return tuple(name for name in pool if name in seen)


def _related(source: str, header: str) -> bool:
    """Tell whether a source lies beside a header, or in a folder of optimised kernels below it."""
    folder = posixpath.dirname(header)
    return posixpath.dirname(source) in (folder, f"{folder}/cmsis_nn")


@lru_cache(maxsize=8)
def _headers(layout: Layout) -> Mapping[str, str]:
    """Return headers by the names that they can be included by, and by their paths."""
    found: dict[str, str] = {}
    for name in layout.library.files:
        if posixpath.splitext(name)[1] in HEADER_SUFFIXES:
            found.setdefault(name, name)
            for folder in layout.include_dirs:
                if name.startswith(f"{folder}/"):
                    found.setdefault(name[len(folder) + 1 :], name)
    return found


def _include_target(source: str, include: str, headers: Mapping[str, str]) -> str | None:
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(source), include))
    return headers.get(include) or headers.get(beside)
