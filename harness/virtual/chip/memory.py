"""Hold a virtual board's memories in host buffers that the core and the debugger share."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
from pathlib import Path

from harness.boards import Board, MemoryRegion
from harness.errors import VirtualError

ERASED = 0xFF
# SRAM powers up with no defined content (data sheets, "SRAM content is undefined after power-up");
# a fixed non-zero fill shows reads of uninitialised memory without making runs differ.
_POWER_UP_FILL = b"\xa5"
_PAGE = 4096


class Memory:
    """One physical memory: a page-aligned host buffer (`data`).

    `origins` are the addresses the core sees it at; the first is the main one.
    """

    def __init__(self, region: MemoryRegion, origins: tuple[int, ...], file: Path | None) -> None:
        self.name, self.kind, self.bytes = region.name, region.kind, region.bytes
        self.origins = origins
        self._file: int | None = None
        if file is None:
            self._map = mmap.mmap(-1, region.bytes)
            self._map[:] = _fill(region)
        else:
            self._map = self._open(region, file)
        self._pin = (ctypes.c_char * region.bytes).from_buffer(self._map)
        self.data = memoryview(self._map)

    def _open(self, region: MemoryRegion, file: Path) -> mmap.mmap:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise VirtualError(
                "the virtual board's flash file is in use by another process",
                where=str(file),
                fix="stop the other `harness virtual serve` of this board, or name another file",
            ) from None
        size = os.fstat(self._file).st_size
        if size == 0:
            os.pwrite(self._file, _fill(region), 0)
        elif size != region.bytes:
            os.close(self._file)
            raise VirtualError(
                f"the flash file has {size} bytes",
                where=str(file),
                expected=f"{region.bytes} bytes, the size of {region.name}",
                fix="delete the file (the board then starts erased) or name another",
            )
        return mmap.mmap(self._file, region.bytes)

    @property
    def address(self) -> int:
        """Host address of the first byte."""
        return ctypes.addressof(self._pin)

    @property
    def ranges(self) -> list[range]:
        """The addresses that the core sees it at."""
        return [range(origin, origin + self.bytes) for origin in self.origins]

    def close(self) -> None:
        """Release the file lock; the buffer stays valid as long as anything refers to it."""
        if self._file is not None:
            self._map.flush()
            # The mapping holds a duplicate of the descriptor, so closing would keep the lock.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            os.close(self._file)
            self._file = None


def _fill(region: MemoryRegion) -> bytes:
    return (bytes([ERASED]) if region.kind == "flash" else _POWER_UP_FILL) * region.bytes


class MemoryMap:
    """All memories of a board, looked up by address."""

    def __init__(self, board: Board, flash_file: Path | None = None) -> None:
        self.memories: list[Memory] = []
        for region in board.facts.memory:
            if region.alias_of is not None:
                continue
            aliases = [r.origin for r in board.facts.memory if r.alias_of == region.name]
            if region.kind == "flash" and not any(r.origin == 0 for r in board.facts.memory):
                # With BOOT0 low, flash also appears at 0 (RM0390 2.4, table 3).
                aliases.append(0)
            file = flash_file if region.kind == "flash" else None
            self.memories.append(Memory(region, (region.origin, *aliases), file))
        self.flash = next(m for m in self.memories if m.kind == "flash")
        self._pages: dict[int, tuple[Memory, int]] = {}
        for memory in self.memories:
            for origin in memory.origins:
                for offset in range(0, memory.bytes, _PAGE):
                    self._pages[(origin + offset) >> 12] = (memory, origin)

    def find(self, address: int) -> tuple[Memory, int] | None:
        """Return (memory, offset in it) of `address`, None where there is no memory."""
        found = self._pages.get(address >> 12)
        return None if found is None else (found[0], address - found[1])

    def read(self, address: int, count: int) -> bytes | None:
        """Return `count` bytes, None if any of them is outside the memories."""
        pieces = self._pieces(address, count)
        return None if pieces is None else b"".join(content for _, content in pieces)

    def write_ram(self, address: int, content: bytes) -> bool:
        """Store `content` in RAM; False (and nothing stored) if any of it is elsewhere."""
        pieces = self._pieces(address, len(content))
        if pieces is None or any(memory.kind == "flash" for memory, _ in pieces):
            return False
        for _, target in pieces:
            target[:], content = content[: len(target)], content[len(target) :]
        return True

    def _pieces(self, address: int, count: int) -> list[tuple[Memory, memoryview]] | None:
        """Return the memories that hold a range, with their parts of it; None if one is missing."""
        pieces: list[tuple[Memory, memoryview]] = []
        while count:
            found = self.find(address)
            if found is None:
                return None
            memory, offset = found
            part = memory.data[offset : offset + count]
            pieces.append((memory, part))
            address += len(part)
            count -= len(part)
        return pieces

    def close(self) -> None:
        """Release file-backed memories."""
        for memory in self.memories:
            memory.close()
