"""Get source code that the user names: a folder, or what PlatformIO fetches and we remember.

A spec is ``symlink://`` or a path (the folder is used in place), or whatever else PlatformIO takes:
``file://`` (copied), an archive, a git URL (with ``#commit``) or ``name@version`` of its registry.
What came from a registry or a repository is fetched once and kept; a ``file://`` tree is copied
again when it changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.files import draft_of
from harness.paths import cache_dir

SOURCE_SUFFIXES = frozenset({".c", ".cc", ".cpp", ".S"})
HEADER_SUFFIXES = frozenset({".h", ".hpp", ".inc"})
_MANIFESTS = ("library.json", "library.properties")
_SKIPPED = frozenset(
    {".git", ".github", "examples", "extras", "docs", "test", "tests", "Tests", "testdata"}
)
_TIMEOUT_S = 900
_SHOWN_LINES = 4
_BANNER = re.compile(r"^\*{20}|^If you like PlatformIO|^- (star|follow|try) |^Usage:|^Try '")
_SCHEMES = ("symlink://", "file://")
_C_FUNCTION = re.compile(r"^(?![ *#/])[^\n;={}]*?\b(arm_\w+)\s*\([^;{}]*\)\s*\{", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Library:
    """A library on disk."""

    spec: str  # as the user gave it
    root: Path  # its folder
    name: str  # name in its manifest
    version: str  # version in its manifest, with the commit where it came from git
    flags: tuple[str, ...]  # ``build.flags`` of its manifest
    files: tuple[str, ...]  # sources and headers, relative to `root`
    digest: str  # SHA-256 over their names and contents
    commit: str | None = None  # commit that was fetched from a git repository, else None

    @property
    def label(self) -> str:
        """Name, version and the beginning of the content's hash, for a row's provenance."""
        return f"{self.name} {self.version} (sha256 {self.digest[:12]})"


def get_library(spec: str, *, what: str, fix: str) -> Library:
    """Return the library that `spec` names, fetching it when it is not at hand.

    Messages call it `what` (``the TFLM library``) and say in `fix` how to name one.

    Raises:
        ConfigError: There is no such folder, or PlatformIO cannot get the library.
    """
    spec = absolute_spec(spec.strip(), Path.cwd())
    try:
        root = Path(spec[len("symlink://") :]) if spec.startswith("symlink://") else _fetched(spec)
        if not root.is_dir():
            raise _FetchError(f"    {root} is not a directory")
    except _FetchError as failure:
        raise ConfigError(
            f"cannot get {what} '{spec}':\n{failure}",
            expected="a folder, or a library that can be fetched",
            fix=fix,
            library=spec,
        ) from None
    return _examine(spec, root, _fingerprint(root))


def absolute_spec(spec: str, base: Path) -> str:
    """Return a spec whose path, where it is one, does not depend on the current folder."""
    for scheme in _SCHEMES:
        if spec.startswith(scheme):
            return scheme + str((base / Path(spec.removeprefix(scheme)).expanduser()).resolve())
    if spec.startswith(("/", "./", "../", "~")):
        return "symlink://" + str((base / Path(spec).expanduser()).resolve())
    return spec


def arm_functions(text: str) -> list[str]:
    """Return the names of the ``arm_...`` functions that a C source defines."""
    return _C_FUNCTION.findall(text)


class _FetchError(Exception):
    """Why PlatformIO did not deliver."""


def _fetched(spec: str) -> Path:
    """Return the folder of `spec`, from our record of it or through PlatformIO."""
    store = cache_dir() / "libraries" / hashlib.sha256(spec.encode()).hexdigest()[:24]
    source = _source_stamp(spec)
    if known := _recorded(store, source):
        return known
    store.mkdir(parents=True, exist_ok=True)
    with (store.parent / f"{store.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if known := _recorded(store, source):
            return known
        packages = store / "packages"
        shutil.rmtree(packages, ignore_errors=True)
        _install(spec, packages)
        folders = [path for path in packages.iterdir() if path.is_dir() and path.name[0] != "."]
        if len(folders) != 1:
            raise _FetchError(f"    PlatformIO installed {len(folders)} packages instead of one")
        record = {"spec": spec, "root": str(folders[0]), "source": source}
        with draft_of(store / "resolved.json") as draft:
            draft.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return folders[0]


def _recorded(store: Path, source: str) -> Path | None:
    try:
        record = json.loads((store / "resolved.json").read_text(encoding="utf-8"))
        root = Path(record["root"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return root if record.get("source") == source and root.is_dir() else None


def _source_stamp(spec: str) -> str:
    """Return what changes when a local source does; a remote one is fetched once and kept."""
    if spec.startswith("file://"):
        path = Path(spec.removeprefix("file://"))
        if path.is_dir():
            return _fingerprint(path)
        if path.is_file():
            status = path.stat()
            return f"{status.st_size} {status.st_mtime_ns}"
    return ""


def _install(spec: str, packages: Path) -> None:
    packages.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PLATFORMIO_")}
    environment.update(
        PLATFORMIO_CORE_DIR=str(cache_dir() / "platformio"),
        PLATFORMIO_DISABLE_COLOR="true",
        PLATFORMIO_DISABLE_PROGRESSBAR="true",
        PLATFORMIO_SETTING_ENABLE_TELEMETRY="no",
        GIT_TERMINAL_PROMPT="0",
    )
    # A library's own dependencies are for its examples; ours needs none.
    command = [
        sys.executable, "-m", "platformio", "pkg", "install", "--global", "--skip-dependencies",
        "--storage-dir", str(packages), "--library", spec,
    ]  # fmt: skip
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False,
            timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _FetchError(f"    PlatformIO did not finish within {_TIMEOUT_S} s") from None
    if asked.returncode:
        said = asked.stderr.strip() or asked.stdout
        lines = [line for line in said.splitlines() if line.strip() and not _BANNER.search(line)]
        raise _FetchError("\n".join(f"    {line}" for line in lines[-_SHOWN_LINES:]))


def _walk(root: Path) -> Iterator[Path]:
    """Yield sources, headers and manifests below `root`, without tests and examples."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(names):
            suffix = posixpath.splitext(name)[1]
            if suffix in SOURCE_SUFFIXES or suffix in HEADER_SUFFIXES or name in _MANIFESTS:
                yield Path(folder, name)


def _fingerprint(root: Path) -> str:
    """Return a cheap stamp over names, sizes and times."""
    total = hashlib.sha256()
    for path in _walk(root):
        status = path.stat()
        total.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return total.hexdigest()


def digest_of(root: Path, paths: Iterable[Path]) -> str:
    """Return the SHA-256 over names below `root` and contents, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        total.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


@lru_cache(maxsize=8)
def _examine(spec: str, root: Path, _stamp: str) -> Library:
    paths = list(_walk(root))
    manifest = _manifest(root)
    version = str(manifest.get("version") or "0.0.0")
    if (root / ".piopm").is_file():
        # For git, PlatformIO notes the commit here: "1.0.0+sha.0123abc".
        version = str(json.loads((root / ".piopm").read_text(encoding="utf-8"))["version"])
    flags = (manifest.get("build") or {}).get("flags") or ()
    return Library(
        spec=spec,
        root=root,
        name=str(manifest.get("name") or root.name),
        version=version,
        flags=tuple((flags if isinstance(flags, str) else " ".join(map(str, flags))).split()),
        files=tuple(p.relative_to(root).as_posix() for p in paths if p.name not in _MANIFESTS),
        digest=digest_of(root, paths),
        commit=_commit(root) if not spec.startswith(_SCHEMES) else None,
    )


def _commit(root: Path) -> str | None:
    """Return the commit of a fetched repository."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


def _manifest(root: Path) -> Mapping[str, Any]:
    path = root / "library.json"
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as failure:
            raise ConfigError(f"not JSON: {failure}", where=str(path)) from None
        return found if isinstance(found, dict) else {}
    path = root / "library.properties"
    if path.is_file():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    return {}
