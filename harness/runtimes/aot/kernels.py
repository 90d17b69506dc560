"""Where the kernel sources are: ours in the firmware template, CMSIS-NN's in a tree.

The tree is the `bakenn` package's unless the user names another. Of a tree we use the functions
that `aot_cmsis_nn.c` calls and what these call in turn, so only those files, and the headers, make
up its revision.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from harness.errors import ConfigError, HarnessError, ToolchainMissing
from harness.paths import data_dir
from harness.runtimes import SHIPPED_KERNELS
from harness.runtimes.library import HEADER_SUFFIXES, arm_functions, digest_of, get_library

_OWN = ("aot_activation.c", "aot_arithmetic.c", "aot_data.c", "aot_fixed_point.c", "aot_model.c")
_PORTABLE = ("portable_conv.c", "portable_pool.c")
_CALLER = "aot_cmsis_nn.c"
# Where CMSIS-NN lies in a tree: its own repository, bakenn's package, CMSIS 5 and TFLM.
_PLACES = ("", "cmsis_nn", "CMSIS/NN", "third_party/cmsis_nn")
_FUNCTIONS = "Include/arm_nnfunctions.h"
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_CALL = re.compile(r"\b(arm_\w+)\s*\(")
_PROTOTYPE = re.compile(r"^\w[\w *]*?\b(arm_\w+)\s*\([^;{}]*\)\s*;", re.MULTILINE)
_BAKENN = "1.0.0"
_BAKENN_CMSIS_NN = "4.0.0"  # what bakenn 1.0.0 vendors, by its BAKENN_PROVENANCE.md
_NO_FLOATS = ("ARM_NN_ENABLE_F16=0", "ARM_NN_ENABLE_F32=0")
_FIX = (
    "name a CMSIS-NN tree with `kernels_source` (on the command line --kernels-source): a folder "
    "('symlink:///path/to/CMSIS-NN'), or a git repository ('https://host/CMSIS-NN.git#commit'); or "
    f"leave it out, or say '{SHIPPED_KERNELS}', for the tree that is installed"
)


@dataclass(frozen=True, slots=True)
class KernelSet:
    """A set of kernels, ready to compile."""

    sources: tuple[Path, ...]  # C files to compile
    include_dirs: tuple[Path, ...]  # include paths
    defines: tuple[str, ...]  # macro definitions without ``-D``
    version: str  # what it is a version of


def kernel_set(kernels: str, source: str | None = None) -> KernelSet:
    """Return the kernel set ``cmsis_nn`` or ``portable``.

    `source` is the spec of a CMSIS-NN tree, see `harness.runtimes.library`; None or
    `SHIPPED_KERNELS` is the `bakenn` package's.

    Raises:
        ToolchainMissing: The package's CMSIS-NN is not installed, or lacks files.
        ConfigError: The named tree cannot be had, or lacks functions.
    """
    if kernels == "portable":
        return _portable()
    if source is None or source == SHIPPED_KERNELS:
        return _shipped()
    library = get_library(source, what="the CMSIS-NN tree", fix=_FIX)
    return _named(library.root, library.commit, library.digest)


@lru_cache(maxsize=1)
def _portable() -> KernelSet:
    runtime = data_dir("firmware_template") / "runtime"
    sources = [runtime / "aot" / name for name in _OWN]
    sources += [runtime / "portable" / name for name in _PORTABLE]
    return KernelSet(tuple(sources), _own_headers(), (), "portable-1")


@lru_cache(maxsize=1)
def _shipped() -> KernelSet:
    tree = _bakenn_dir() / "cmsis_nn"
    version = f"CMSIS-NN {_BAKENN_CMSIS_NN} (bakenn {importlib.metadata.version('bakenn')})"
    return _cmsis_nn(tree, _used_sources(tree, _not_installed), (), version)


@lru_cache(maxsize=8)
def _named(root: Path, commit: str | None, _digest: str) -> KernelSet:
    expected = "a tree of CMSIS-NN 4 or later"
    unusable = partial(ConfigError, where=str(root), expected=expected, fix=_FIX)
    trees = [root / place for place in _PLACES if (root / place / _FUNCTIONS).is_file()]
    if not trees:
        raise unusable(f"this is no CMSIS-NN tree: it has no {_FUNCTIONS}")
    tree = trees[0]
    sources = _used_sources(tree, unusable)
    revision = f"sha256 {digest_of(tree, (*sources, *_headers(tree)))[:12]}"
    if commit is not None:
        revision = f"git {commit[:12]}"
    return _cmsis_nn(tree, sources, _NO_FLOATS, f"CMSIS-NN ({revision})")


def _cmsis_nn(
    tree: Path, sources: tuple[Path, ...], defines: tuple[str, ...], version: str
) -> KernelSet:
    own = _own_headers()
    # CMSIS-NN before 5.0 includes the compiler's header of CMSIS-Core.
    headers = (*own, tree / "Include", _bakenn_dir() / "cmsis_core" / "Include")
    return KernelSet(
        (*(own[0] / name for name in (*_OWN, _CALLER)), *sources), headers, defines, version
    )


def _own_headers() -> tuple[Path, ...]:
    template = data_dir("firmware_template")
    return template / "runtime" / "aot", template / "src"


def _headers(tree: Path) -> Iterable[Path]:
    return (p for p in sorted((tree / "Include").rglob("*")) if p.suffix in HEADER_SUFFIXES)


def _used_sources(tree: Path, unusable: Callable[[str], HarnessError]) -> tuple[Path, ...]:
    """Return the sources of `tree` that hold what `aot_cmsis_nn.c` calls, and what that calls."""
    texts = {
        path: _COMMENT.sub("", path.read_text(encoding="utf-8", errors="replace"))
        for path in sorted((tree / "Source").rglob("*.c"))
    }
    defined: dict[str, Path] = {}
    for path, text in texts.items():
        for name in arm_functions(text):
            defined.setdefault(name, path)
    declared = {
        name
        for path in _headers(tree)
        for name in _PROTOTYPE.findall(_COMMENT.sub("", path.read_text("utf-8", "replace")))
    }
    caller = data_dir("firmware_template") / "runtime" / "aot" / _CALLER
    entries = set(_CALL.findall(_COMMENT.sub("", caller.read_text(encoding="utf-8"))))
    missing = entries - defined.keys()
    seen: set[Path] = set()
    queue = [defined[name] for name in entries & defined.keys()]
    while queue:
        path = queue.pop()
        if path in seen:
            continue
        seen.add(path)
        called = set(_CALL.findall(texts[path]))
        missing |= (called & declared) - defined.keys()
        queue += [defined[name] for name in called & defined.keys()]
    if missing:
        raise unusable(
            f"the CMSIS-NN tree has no source below Source/ that defines "
            f"{', '.join(sorted(missing))}"
        )
    return tuple(path for path in texts if path in seen)


def _bakenn_dir() -> Path:
    # find_spec of the top package alone imports nothing.
    spec = importlib.util.find_spec("bakenn")
    if spec is None or not spec.submodule_search_locations:
        raise _not_installed("the package 'bakenn', which carries CMSIS-NN's sources, is missing")
    vendor = Path(spec.submodule_search_locations[0]) / "backend" / "cmsis_nn" / "vendor"
    if not (vendor / "cmsis_nn" / _FUNCTIONS).is_file():
        raise _not_installed(f"the package 'bakenn' has no {vendor / 'cmsis_nn' / _FUNCTIONS}")
    return vendor


def _not_installed(what: str) -> HarnessError:
    return ToolchainMissing(
        what,
        expected=f"bakenn {_BAKENN} beside the harness, or a CMSIS-NN tree as `kernels_source`",
        fix=f"python -m pip install --force-reinstall bakenn=={_BAKENN}",
    )
