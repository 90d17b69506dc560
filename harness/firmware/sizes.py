"""Read from a linked ELF where flash and RAM go."""

from __future__ import annotations

import itertools
from pathlib import Path

from harness.errors import BuildError
from harness.firmware.image import FlashSplit, RamSplit

_FLATBUFFER = ".flatbuffer"
# Output sections of firmware_template/ld/board.ld.in.
FLASH_SECTIONS = {
    ".vectors": "port",
    ".port": "port",
    ".data": "port",
    ".kernels": "kernels",
    ".runtime": "runtime",
    ".weights": "weights",
    ".graph": "graph",
    _FLATBUFFER: "graph",
}
# An arena in a memory of its own is at least this far away (log2 of bytes).
_MEMORY_SHIFT = 24
_RAM = {".stack": "stack", ".arena": "arena", ".data": "other", ".bss": "other"}


def read_sizes(elf: Path, weights_bytes: int = 0) -> tuple[FlashSplit, RamSplit]:
    """Return the split of an image's flash and RAM.

    Of a model that is linked as one piece, `weights_bytes` are weights. What lies between sections
    for alignment counts with ``port`` and ``other``, so that the parts add up to the total.

    Raises:
        BuildError: The ELF has a loaded section that the linker script does not know.
    """
    from elftools.elf.constants import SH_FLAGS
    from elftools.elf.elffile import ELFFile

    flash, ram = dict.fromkeys(FLASH_SECTIONS.values(), 0), dict.fromkeys(_RAM.values(), 0)
    flash_ends: list[tuple[int, int]] = []
    ram_ends: list[tuple[int, int]] = []
    with elf.open("rb") as stream:
        image = ELFFile(stream)
        for section in image.iter_sections():
            size = section["sh_size"]
            if not section["sh_flags"] & SH_FLAGS.SHF_ALLOC or not size:
                continue
            name = section.name
            if name not in FLASH_SECTIONS and name not in _RAM:
                raise BuildError(f"section {name} of {size} bytes is not in the linker script")
            if name in FLASH_SECTIONS:
                flash[FLASH_SECTIONS[name]] += size
            if name in _RAM:
                ram[_RAM[name]] += size
            if name == _FLATBUFFER:
                share = min(weights_bytes, size)
                flash["graph"] -= share
                flash["weights"] += share
            ends = ram_ends if name in _RAM else flash_ends
            ends.append((section["sh_addr"], section["sh_addr"] + size))
        start = min(start for start, _ in flash_ends)
        # What is programmed beyond the sections: initial values of variables.
        flash_ends += [
            (segment["p_paddr"], segment["p_paddr"] + segment["p_filesz"])
            for segment in image.iter_segments("PT_LOAD")
            if segment["p_filesz"]
        ]
    flash_total = max(end for _, end in flash_ends) - start
    ram_total = 0
    for _, found in itertools.groupby(sorted(ram_ends), lambda ends: ends[0] >> _MEMORY_SHIFT):
        within = list(found)
        ram_total += max(end for _, end in within) - within[0][0]
    flash["port"] += flash_total - sum(flash.values())
    ram["other"] += ram_total - sum(ram.values())
    return FlashSplit(**flash, total=flash_total), RamSplit(**ram, total=ram_total)
