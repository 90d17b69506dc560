"""Name the function and the source line behind an address of an image."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.firmware.image import FirmwareImage


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address is in the source; None is "not known"."""

    function: str | None  # name of the function
    file: str | None = None  # source file, as the compiler recorded it
    line: int | None = None  # line in it

    def __str__(self) -> str:
        if self.file is None:
            return self.function or "unknown code"
        return f"{self.function or 'unknown code'} ({self.file}:{self.line})"


def place_in(image: FirmwareImage, address: int) -> Place | None:
    """Return where `address` is in an image; a shared runtime's symbols are beside its map."""
    return locate(image.map.with_name("firmware.elf"), address) or locate(image.elf, address)


def locate(elf: Path, address: int) -> Place | None:
    """Return what is at `address`, None where the file has no code there or cannot be read."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    address &= ~1  # the Thumb bit
    try:
        with elf.open("rb") as stream:
            image = ELFFile(stream)
            function = Functions(image).at(address)
            file, line = _line(image, address) or (None, None)
    except (OSError, ELFError):
        return None
    return None if function is None and file is None else Place(function, file, line)


class Functions:
    """Names of an image's functions by address."""

    def __init__(self, image: Any) -> None:
        table = image.get_section_by_name(".symtab")
        self._found = sorted(
            (symbol["st_value"] & ~1, symbol["st_size"], str(symbol.name))
            for symbol in (table.iter_symbols() if table is not None else ())
            if symbol["st_info"]["type"] == "STT_FUNC"
        )

    @classmethod
    def of(cls, elf: Path) -> Functions:
        """Read those of an ELF file."""
        from elftools.elf.elffile import ELFFile

        with elf.open("rb") as stream:
            return cls(ELFFile(stream))

    def at(self, address: int) -> str | None:
        """Return the name of the function that `address` is in, None for none."""
        index = bisect_right(self._found, address, key=lambda one: one[0]) - 1
        start, size, name = self._found[index] if index >= 0 else (0, 0, "")
        return name if address < start + size else None


def _line(image: Any, address: int) -> tuple[str, int] | None:
    if not image.has_dwarf_info():
        return None
    dwarf = image.get_dwarf_info()
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        before = None
        for entry in program.get_entries() if program is not None else ():
            state = entry.state
            if state is None:
                continue
            if before is not None and before.address <= address < state.address:
                # Until DWARF 5 files are numbered from 1.
                header = program.header
                index = before.file if header["version"] >= 5 else before.file - 1
                files = [entry.name.decode("utf-8", "replace") for entry in header["file_entry"]]
                return files[index] if index < len(files) else "?", int(before.line)
            before = None if state.end_sequence else state
    return None
