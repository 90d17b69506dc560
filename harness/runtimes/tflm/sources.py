"""Which sources of a TFLM library an interpreter with some operators needs.

The whole tree takes ten minutes to compile on one core, what a network needs of it two.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from harness.runtimes.library import HEADER_SUFFIXES, arm_functions
from harness.runtimes.tflm.layout import MICRO, RESOLVER, Layout, is_source, stem

# Our glue has the port functions; the rest is for TFLM's own tests.
_UNWANTED = re.compile(
    r"(^|/)(\w*_test|test_\w+|mock_\w+|fake_\w+|\w*test_helpers?\w*|debug_log|debug_log_\w+|"
    r"micro_time|system_setup|hexdump|kernel_runner|micro_speech\w*)\.\w+$"
)
_FLOAT_CMSIS = re.compile(r"_(f16|f32|flt)\.c$")
_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
_DEFINITION = re.compile(r"\bRegister_(\w+)\s*\(\s*\)\s*\{")
_WORD = re.compile(r"\barm_\w+")
_CORE_FOLDERS = (
    MICRO,
    f"{MICRO}/arena_allocator",
    f"{MICRO}/memory_planner",
    f"{MICRO}/tflite_bridge",
    "tensorflow/lite/c",
    "tensorflow/lite/core/c",
    "tensorflow/lite/core/api",
    "tensorflow/lite/schema",
    "tensorflow/compiler/mlir/lite/schema",
    "tensorflow/compiler/mlir/lite/core/api",
)
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
    core = tuple(name for name in usable if _is_core(layout, name))
    pool = [name for name in usable if name not in core]
    ours = (f"{layout.base}{MICRO}/kernels/", f"{layout.base}signal/")
    defined: dict[str, str] = {}
    for name in pool:
        if name.startswith(ours):
            for registration in _DEFINITION.findall(layout.text(name)):
                defined.setdefault(registration, name)
    if not registrations <= defined.keys():
        return core, tuple(pool)
    start = [*core, *(defined[name] for name in registrations)]
    internal = f"{layout.base}tensorflow/lite/kernels/"
    start += [name for name in pool if name.startswith(internal)]
    return core, _closure(layout, start, pool)


def _usable(layout: Layout, kernels: str) -> list[str]:
    """Return the sources of one kernel set, as TFLM's makefile would choose them."""
    folder = f"{layout.base}{MICRO}/kernels/"
    names = [n for n in layout.library.files if is_source(n) and not _UNWANTED.search(n)]
    arm = {stem(name) for name in names if name.startswith(f"{folder}cmsis_nn/")}
    chosen = []
    for name in names:
        inside = name.removeprefix(folder) if name.startswith(folder) else None
        if inside is not None:
            # Other optimised kernels (xtensa, ethos_u, ...) are for other cores.
            optimised = posixpath.dirname(inside)
            if optimised and not (optimised == "cmsis_nn" and kernels == "cmsis_nn"):
                continue
            if not optimised and kernels == "cmsis_nn" and stem(name) in arm:
                continue
        elif _is_cmsis(name):
            if kernels != "cmsis_nn" or _FLOAT_CMSIS.search(name):
                continue
        elif name.startswith(f"{layout.base}{MICRO}/") and not _is_core(layout, name):
            continue
        chosen.append(name)
    return chosen


def _is_cmsis(name: str) -> bool:
    return posixpath.basename(name).startswith("arm_")


def _is_core(layout: Layout, name: str) -> bool:
    return any(posixpath.dirname(name) == layout.base + folder for folder in _CORE_FOLDERS)


def _closure(layout: Layout, start: Iterable[str], pool: list[str]) -> tuple[str, ...]:
    """Return the members of `pool` that `start` leads to, in `pool`'s order."""
    by_stem: dict[str, list[str]] = {}
    functions: dict[str, str] = {}
    for name in pool:
        by_stem.setdefault(stem(name), []).append(name)
        if _is_cmsis(name):
            for word in arm_functions(layout.text(name)):
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
            beside = posixpath.normpath(posixpath.join(posixpath.dirname(name), include))
            target = headers.get(include) or headers.get(beside)
            if target is None:
                continue
            queue.append(target)
            # Its source lies beside it, or in a folder of optimised kernels below.
            folder, base = posixpath.split(posixpath.splitext(target)[0])
            queue += [
                source
                for source in (*by_stem.get(base, ()), *by_stem.get(f"{base}_common", ()))
                if posixpath.dirname(source) in (folder, f"{folder}/cmsis_nn")
            ]
        if _is_cmsis_user(name):
            queue += {functions[word] for word in _WORD.findall(text) if word in functions}
    return tuple(name for name in pool if name in seen)


def _is_cmsis_user(name: str) -> bool:
    source = _is_cmsis(name) and is_source(name)
    return source or ("/cmsis_nn/" in name and not _DECLARATIONS.search(name))


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
