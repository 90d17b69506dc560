"""What a TFLM library is made of: packaging, include paths, kernels, and the sources that we need.

Two packagings are known. *upstream*: the tree of TFLM's create_tflm_tree.py, ``tensorflow/`` at its
root or below ``src/``. *arduino*: forks for the Arduino IDE, whose headers want ``ARDUINO`` defined
and whose structures have the members that TF_LITE_STATIC_MEMORY leaves out.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness.errors import ConfigError
from harness.runtimes.library import HEADER_SUFFIXES, SOURCE_SUFFIXES, Library, get_library

THREE_WAYS = (
    "name one with `library` (on the command line --library; see docs/tflm.md): a tree that TFLM's "
    "own create_tflm_tree.py wrote ('symlink:///path/to/tree'), a git repository "
    "('https://host/repository.git#commit'), or a library of PlatformIO's registry "
    "('owner/name@version')"
)

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
_NEEDED = (INTERPRETER, "flatbuffers/flatbuffers.h")
_REVISION = re.compile(r"\$Revision:\s*(V[.\d]+)")
_ARDUINO_DEFINES = ("ARDUINO=10819",)
_UPSTREAM_DEFINES = ("TF_LITE_STATIC_MEMORY", "TF_LITE_DISABLE_X86_NEON")
_CMSIS_DEFINES = ("CMSIS_NN", "ARM_NN_ENABLE_F16=0", "ARM_NN_ENABLE_F32=0")


@dataclass(frozen=True, slots=True)
class Layout:
    """A library, understood."""

    library: Library
    profile: str  # ``upstream`` or ``arduino``
    # Folder of ``tensorflow/`` relative to the library, with a slash at its end, or empty.
    base: str
    include_dirs: tuple[str, ...]  # include paths relative to the library
    kernels: tuple[str, ...]  # kernel sets that it can be built with
    cmsis_nn_version: str | None  # revision of CMSIS-NN, where it has it

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


def find_library(spec: str | None) -> Library:
    """Return the library that `spec` names, fetching it when it is not at hand.

    Raises:
        ConfigError: No spec, or the library cannot be had; tells the three ways to name one.
    """
    if spec is None or not spec.strip():
        raise ConfigError(
            "the tflm runtime needs a TFLM library and none is named",
            expected="a PlatformIO library spec",
            fix=THREE_WAYS,
        )
    return get_library(spec, what="the TFLM library", fix=THREE_WAYS)


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
    missing = [anchor for anchor in _NEEDED if not found[anchor]]
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
    match = functions and _REVISION.search(_read(library.root / functions[0], library.digest))
    return Layout(
        library=library,
        profile="arduino" if (library.root / "library.properties").is_file() else "upstream",
        base=base,
        include_dirs=tuple(dict.fromkeys(includes)),
        kernels=_kernel_sets(library, base, bool(functions)),
        cmsis_nn_version=match[1] if match else None,
    )


def check_kernels(layout: Layout, kernels: str) -> None:
    """Raise ConfigError for kernels that the library does not have, naming those that it has."""
    if kernels not in KERNELS:
        raise ConfigError(
            f"the tflm runtime has no kernels '{kernels}'",
            expected=f"one of {', '.join(KERNELS)}",
            fix="correct the kernels option",
        )
    if kernels not in layout.kernels:
        without = "" if kernels == "cmsis_nn" else "out"
        raise ConfigError(
            f"the TFLM library '{layout.library.spec}' is not built with {kernels} kernels",
            where=str(layout.library.root),
            expected=f"kernels = {' or '.join(layout.kernels)}, which is what it has",
            fix=f"correct the kernels option, or generate a tree with{without} "
            "OPTIMIZED_KERNEL_DIR=cmsis_nn and name that",
            kernels=layout.kernels,
        )


def _kernel_sets(library: Library, base: str, cmsis: bool) -> tuple[str, ...]:
    folder = f"{base}{MICRO}/kernels/"
    own = {stem(n) for n in library.files if posixpath.dirname(n) + "/" == folder and is_source(n)}
    arm = {stem(n) for n in library.files if n.startswith(f"{folder}cmsis_nn/") and is_source(n)}
    # Where TFLM's makefile put optimised kernels, it left the reference ones of that name out.
    sets = ["cmsis_nn"] if arm and cmsis else []
    if not arm or arm <= own:
        sets.append("reference")
    return tuple(sets)


def is_source(name: str) -> bool:
    """Tell whether a file is compiled."""
    return posixpath.splitext(name)[1] in SOURCE_SUFFIXES


def stem(name: str) -> str:
    """Return a file's name without folder and suffix."""
    return posixpath.splitext(posixpath.basename(name))[0]
