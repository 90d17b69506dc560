"""Find the cross compiler and make PlatformIO run without a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import ToolchainMissing
from harness.paths import cache_dir

COMPILER = "arm-none-eabi-gcc"
INSTALL_HINT = (
    "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi (Debian, Ubuntu; as root), or "
    "`pio pkg install -g -t platformio/toolchain-gccarmnoneeabi` where PlatformIO's registry can "
    "be reached, or put Arm's GNU toolchain on PATH"
)
_PACKAGE = "toolchain-gccarmnoneeabi"

# What would change what the compiler reads or the time that it sees.
_UNWANTED = re.compile(
    r"PLATFORMIO_.*|(C|CPLUS|OBJC)_INCLUDE_PATH|CPATH|LIBRARY_PATH|COMPILER_PATH|GCC_.*|"
    r"SOURCE_DATE_EPOCH|DEPENDENCIES_OUTPUT|SUNPRO_DEPENDENCIES|SCONS.*|LC_.*|LANG.*"
)


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A cross compiler that works."""

    gcc: Path  # path of ``arm-none-eabi-gcc``
    version: str  # its version, e.g. ``12.2.1``.
    origin: str  # ``PATH`` or ``PlatformIO``

    @property
    def name(self) -> str:
        """Name and version as measurements record it."""
        return f"{COMPILER} {self.version}"


def platformio_core_dir(cache: Path | None = None) -> Path:
    """Return the ``PLATFORMIO_CORE_DIR`` of our own."""
    return (cache or cache_dir()) / "platformio"


def find_toolchain(cache: Path | None = None) -> Toolchain:
    """Find ``arm-none-eabi-gcc``: on PATH, else a toolchain package of PlatformIO.

    Raises:
        ToolchainMissing: There is none, it does not run, or its C library is missing; the message
            says what to install.
    """
    on_path = shutil.which(COMPILER)
    if on_path:
        return _examine(Path(on_path), "PATH", Path(on_path).stat().st_mtime_ns)
    for core in (platformio_core_dir(cache), Path.home() / ".platformio"):
        gcc = core / "packages" / _PACKAGE / "bin" / COMPILER
        if gcc.is_file():
            return _examine(gcc, "PlatformIO", gcc.stat().st_mtime_ns)
    raise ToolchainMissing(
        f"no cross compiler: {COMPILER} is not on PATH and PlatformIO has no {_PACKAGE}",
        fix=INSTALL_HINT,
        searched=os.environ.get("PATH", ""),
    )


@lru_cache(maxsize=8)
def _examine(gcc: Path, origin: str, _modified: int) -> Toolchain:
    number = _ask(gcc, "-dumpfullversion")
    # GCC answers with the bare name when it does not find the file.
    specs = _ask(gcc, "-print-file-name=nano.specs")
    if not Path(specs).is_file():
        raise ToolchainMissing(
            f"{gcc} has no C library (newlib): nano.specs is missing",
            fix="apt-get install libnewlib-arm-none-eabi (Debian, Ubuntu; as root)",
        )
    return Toolchain(gcc, number, origin)


def _ask(gcc: Path, question: str) -> str:
    try:
        answer = subprocess.run(
            [str(gcc), question], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError) as failure:
        raise ToolchainMissing(
            f"{gcc} does not run: {failure}", fix=f"repair or replace it: {INSTALL_HINT}"
        ) from None
    return answer.stdout.strip()


def ensure_toolchain(cache: Path | None = None) -> Toolchain:
    """Find the compiler, or have PlatformIO fetch its package.

    Out of reach of the registry it takes PlatformIO about a minute to give up.

    Raises:
        ToolchainMissing: There is none and none can be fetched, or what is there does not work.
    """
    try:
        return find_toolchain(cache)
    except ToolchainMissing as missing:
        if "searched" not in missing.data:
            raise
    return install_toolchain(cache)


def install_toolchain(cache: Path | None = None) -> Toolchain:
    """Fetch PlatformIO's toolchain package into our core folder, and return it.

    Raises:
        ToolchainMissing: The registry cannot be reached or has no package for this machine.
    """
    core = prepare_core(cache)
    environment = platformio_environment(core, None)
    command = [
        sys.executable, "-m", "platformio", "pkg", "install", "-g", "--skip-dependencies",
        "-t", f"platformio/{_PACKAGE}",
    ]  # fmt: skip
    asked = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    gcc = core / "packages" / _PACKAGE / "bin" / COMPILER
    if asked.returncode or not gcc.is_file():
        last = (asked.stderr or asked.stdout).strip().splitlines()[-1:]
        raise ToolchainMissing(
            f"PlatformIO could not install {_PACKAGE}: {' '.join(last)}", fix=INSTALL_HINT
        )
    return _examine(gcc, "PlatformIO", gcc.stat().st_mtime_ns)


def prepare_core(cache: Path | None = None) -> Path:
    """Make sure that PlatformIO finds ``tool-scons``, and return its core folder.

    PlatformIO would fetch SCons from its own registry. A package folder that calls the SCons from
    PyPI satisfies it and keeps the build off the network.

    Raises:
        ToolchainMissing: PlatformIO or SCons is not installed, or they do not fit each other.
    """
    try:
        version("platformio")
        scons = version("scons")
    except PackageNotFoundError as failure:
        raise ToolchainMissing(
            f"Python package '{failure.name}' is not installed",
            fix="install the harness with its dependencies: pip install tinyml-harness",
        ) from None
    core = platformio_core_dir(cache)
    package = core / "packages" / "tool-scons"
    number = _scons_package_version(scons)
    if _has_version(package, number):
        return core
    package.parent.mkdir(parents=True, exist_ok=True)
    spec = {"owner": "platformio", "id": None, "name": "tool-scons", "requirements": None}
    manifest = {"name": "tool-scons", "version": number, "description": "SCons from PyPI"}
    meta = {"type": "tool", "name": "tool-scons", "version": number, "spec": {**spec, "uri": None}}
    script = "from SCons.Script import main\n\nmain()\n"
    with TemporaryDirectory(prefix=".scons-", dir=core, ignore_cleanup_errors=True) as name:
        fresh = Path(name) / "fresh"
        fresh.mkdir()
        (fresh / "package.json").write_text(json.dumps(manifest), encoding="utf-8")
        (fresh / ".piopm").write_text(json.dumps(meta), encoding="utf-8")
        (fresh / "scons.py").write_text(script, encoding="utf-8")
        try:
            if package.exists():
                package.rename(Path(name) / "old")
            fresh.rename(package)
        except OSError:
            # Another process was faster; its package is as good.
            if not _has_version(package, number):
                raise
    return core


def _has_version(package: Path, number: str) -> bool:
    try:
        manifest = json.loads((package / "package.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(manifest.get("version") == number) and (package / "scons.py").is_file()


def _scons_package_version(scons: str) -> str:
    """Return PlatformIO's number of its SCons, 4.41101.0 for 4.11.1; refuse another release."""
    from platformio.dependencies import get_core_dependencies

    wanted = get_core_dependencies()["tool-scons"]
    # Two digits each of minor and patch; a patch release of SCons is as good as another.
    match = re.search(r"\d+\.(\d+)(\d\d)\d\d\.\d+", wanted)
    if match is None:
        raise ToolchainMissing(f"PlatformIO wants tool-scons {wanted!r}, which cannot be read")
    release = f"{match[1]}.{int(match[2])}"
    if not f"{scons}.".startswith(f"{release}."):
        raise ToolchainMissing(
            f"PlatformIO {version('platformio')} wants tool-scons {wanted}, SCons {scons} is there",
            expected=f"scons {release}.*",
            fix=f"pip install 'scons=={release}.*'",
        )
    return match[0]


def platformio_environment(core: Path, toolchain: Toolchain | None) -> dict[str, str]:
    """Return the environment for PlatformIO: nothing ambient, no telemetry, no update checks.

    It wipes its build folder when any ``PLATFORMIO_*`` variable changes, so all of them are ours.
    """
    environment = {key: value for key, value in os.environ.items() if not _UNWANTED.fullmatch(key)}
    path = os.environ.get("PATH", os.defpath)
    if toolchain is not None:
        path = os.pathsep.join([str(toolchain.gcc.parent), path])
    environment.update(
        PATH=path,
        LC_ALL="C.UTF-8",
        PLATFORMIO_CORE_DIR=str(core),
        PLATFORMIO_BUILD_CACHE_DIR=str(core / "objects"),
        PLATFORMIO_DISABLE_COLOR="true",
        PLATFORMIO_DISABLE_PROGRESSBAR="true",
        PLATFORMIO_DISABLE_UPGRADE_CHECK="true",
        PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL="36500",
        PLATFORMIO_SETTING_CHECK_PRUNE_SYSTEM_THRESHOLD="0",
        PLATFORMIO_SETTING_ENABLE_TELEMETRY="no",
    )
    return environment
