"""Sizes of the functions of an image, and which of them each kernel needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_BRANCHES = ("b", "bl", "b.w", "bl.w")


def kernel_functions(
    elf: Path, kernels: Iterable[str]
) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Return the bytes of functions by name, and by kernel the functions that it calls."""
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as stream:
        image = ELFFile(stream)
        symbols = [s for s in image.get_section_by_name(".symtab").iter_symbols() if s["st_size"]]
        found = {
            symbol["st_value"] & ~1: (symbol.name, symbol["st_size"])
            for symbol in symbols
            if symbol["st_info"]["type"] == "STT_FUNC"
        }
        code = {address: _bytes(image, address, size) for address, (_, size) in found.items()}
    calls = {name: _calls(code[at], at, found) for at, (name, _) in found.items()}
    sizes = {name: -(-size // 4) * 4 for name, size in found.values()}
    needed = {
        kernel: tuple(sorted(_closure((f"aot_{kernel}", f"aot_{kernel}_scratch"), calls)))
        for kernel in kernels
    }
    used = {name for names in needed.values() for name in names}
    return {name: sizes[name] for name in sorted(used)}, needed


def _bytes(image: Any, address: int, size: int) -> bytes:
    for section in image.iter_sections():
        begin = section["sh_addr"]
        if begin and begin <= address < begin + section["sh_size"]:
            return bytes(section.data()[address - begin : address - begin + size])
    return b""


def _calls(code: bytes, address: int, found: Mapping[int, tuple[str, int]]) -> set[str]:
    from capstone import CS_ARCH_ARM, CS_MODE_MCLASS, CS_MODE_THUMB, Cs

    reader = Cs(CS_ARCH_ARM, CS_MODE_THUMB | CS_MODE_MCLASS)
    reader.skipdata = True  # literals between instructions
    names = set()
    for _, _, mnemonic, operands in reader.disasm_lite(code, address):
        if mnemonic in _BRANCHES and operands.startswith("#"):
            target = found.get(int(operands[1:], 0))
            if target is not None:
                names.add(target[0])
    return names


def _closure(entries: Iterable[str], calls: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    queue = [name for name in entries if name in calls]
    while queue:
        name = queue.pop()
        if name not in seen:
            seen.add(name)
            queue += calls.get(name, ())
    return seen
