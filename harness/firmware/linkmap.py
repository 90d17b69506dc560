"""Read from the linker's map which library put how much into each section of flash."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.errors import BuildError
from harness.firmware.sizes import FLASH_SECTIONS

ALIGNMENT = "(alignment)"
_START = "Linker script and memory map"
_OUTPUT = re.compile(r"^(\.\S+)(?:\s+0x[0-9a-f]+\s+0x[0-9a-f]+.*)?$")
# " .text.name  0xaddress  0xsize  file"; a long name has the rest on the line below.
_INPUT = re.compile(r"^ (\S+)?\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+(\S.*)$")
_NAME = re.compile(r"^ (\.?[A-Za-z_*]\S*)$")
_FILL = re.compile(r"^ \*fill\*\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Share:
    """What a library has in a section."""

    section: str  # output section of the linker script
    library: str  # archive, or folder of objects that are in none
    bytes: int


def read_shares(path: Path) -> list[Share]:
    """Return from GNU ld's map the shares of flash, section by section, largest of each first.

    Gaps between sections are nobody's.

    Raises:
        BuildError: The file cannot be read or is no map.
    """
    try:
        _, found, text = path.read_text(encoding="utf-8", errors="replace").partition(_START)
    except OSError as failure:
        raise BuildError(f"cannot read {path}: {failure.strerror}", fix="build it again") from None
    if not found:
        raise BuildError(f"{path.name} is no linker map", where=str(path), fix="build it again")
    pieces: list[tuple[int, int, str, str]] = []
    section = ""
    waiting = False
    for line in text.splitlines():
        if output := _OUTPUT.match(line):
            section, waiting = output[1], False
        elif section not in FLASH_SECTIONS:
            continue
        elif fill := _FILL.match(line):
            pieces.append((int(fill[1], 16), int(fill[2], 16), section, ALIGNMENT))
        elif (entry := _INPUT.match(line)) and (entry[1] or waiting):
            library = _library(entry[4])
            pieces.append((int(entry[2], 16), int(entry[3], 16), section, library))
            waiting = False
        else:
            waiting = bool(_NAME.match(line))
    order = list(FLASH_SECTIONS)
    sizes: defaultdict[tuple[str, str], int] = defaultdict(int)
    pieces.sort()
    for (at, size, section, library), (following, *_) in itertools.zip_longest(
        pieces, pieces[1:], fillvalue=(1 << 32, 0, "", "")
    ):
        # Of strings that were merged with others, less is left than the map says.
        sizes[section, library] += min(size, following - at)
    shares = [Share(name, library, size) for (name, library), size in sizes.items() if size]
    return sorted(shares, key=lambda share: (order.index(share.section), -share.bytes))


def _library(file: str) -> str:
    """Name an archive, or the folder of an object below the project's build folder."""
    if archive := re.search(r"([^/]+\.a)\(", file):
        return archive[1]
    parts = PurePosixPath(file).parts
    if ".pio" in parts:
        parts = parts[parts.index(".pio") + 3 :]
    return "/".join(parts[:-1]) or parts[-1]
