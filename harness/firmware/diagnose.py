"""Turn what PlatformIO, the compiler and the linker print into typed errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import BuildError, ImageTooLarge, ToolchainMissing
from harness.firmware.toolchain import INSTALL_HINT

_OVERFLOW = re.compile(r"region [`'](?P<region>\w+)' overflowed by (?P<bytes>\d+) bytes")
_ERROR = re.compile(
    r".*(?:: (?:fatal )?error: |undefined reference to |multiple definition of |: undefined "
    r"symbol |/ld: ?/.*|collect2: error|\bError: ).*"
)
_NO_COMPILER = re.compile(r"arm-none-eabi-\S*: (?:not found|No such file)|command not found")
_NO_CPP = re.compile(
    r"cannot find -lstdc\+\+|fatal error: (?:c\w+|initializer_list|type_traits): No"
)
_OFFLINE = re.compile(
    r"HTTPClientError|InternetConnectionError|UnknownPackageError|Could not find the package|"
    r"Could not install"
)
_SHOWN = 6


def diagnose(
    lines: Sequence[str],
    log: Path,
    *,
    regions: Mapping[str, int],
    parts: Mapping[str, Mapping[str, int]],
) -> BuildError:
    """Return the error that a failed run stands for.

    Args:
        lines: What PlatformIO printed; `log` keeps all of it.
        regions: Bytes of each linker region.
        parts: Bytes by what takes them, in each region.
    """
    overflows = {
        match["region"]: int(match["bytes"]) for line in lines for match in _OVERFLOW.finditer(line)
    }
    if overflows:
        return _too_large(overflows, log, regions, parts)
    text = "\n".join(lines)
    if _NO_COMPILER.search(text):
        return ToolchainMissing("the cross compiler vanished", where=str(log), fix=INSTALL_HINT)
    if _NO_CPP.search(text):
        return ToolchainMissing(
            "the cross compiler has no C++ library, which TensorFlow Lite for Microcontrollers "
            "needs",
            where=str(log),
            fix="apt-get install libstdc++-arm-none-eabi-newlib (Debian, Ubuntu; as root)",
        )
    errors = list(dict.fromkeys(line.strip() for line in lines if _ERROR.fullmatch(line)))
    if not errors and _OFFLINE.search(text):
        what = "PlatformIO wanted to download a package and could not"
        return ToolchainMissing(what, where=str(log), fix=INSTALL_HINT)
    shown = errors[:_SHOWN] or [line for line in lines if line.strip()][-_SHOWN:]
    return BuildError(
        "the firmware does not build:\n" + "\n".join(f"    {line}" for line in shown),
        where=str(log),
        fix="the log has the whole output; correct the option or report the sources",
        errors=tuple(errors),
        log=str(log),
    )


def _too_large(
    overflows: Mapping[str, int],
    log: Path,
    regions: Mapping[str, int],
    parts: Mapping[str, Mapping[str, int]],
) -> ImageTooLarge:
    region, excess = max(overflows.items(), key=lambda item: item[1])
    size = regions.get(region, 0)
    biggest = sorted(parts.get(region, {}).items(), key=lambda item: -item[1])[:4]
    listed = ", ".join(f"{name} {size}" for name, size in biggest)
    what = {"FLASH": "flash", "RAM": "RAM", "ARENA": "RAM for the arena"}.get(region, region)
    more = ((name, by) for name, by in overflows.items() if name != region)
    others = "".join(f"; {name} by {by} bytes" for name, by in more)
    return ImageTooLarge(
        f"the image needs {size + excess} bytes of {what}, {excess} more than the board's {size}"
        f"{others}\n    biggest parts in bytes: {listed}",
        where=str(log),
        expected=f"at most {size} bytes",
        fix="choose a smaller model or a board with more "
        + ("flash" if region == "FLASH" else "RAM"),
        region=region,
        overflow_bytes=excess,
        region_bytes=size,
        contributors=dict(biggest),
        log=str(log),
    )
