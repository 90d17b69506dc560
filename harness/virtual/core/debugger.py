"""The debugger's accesses to memory and registers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from harness.boards import Board
from harness.virtual.chip.bus import BusFault, Master
from harness.virtual.chip.chip import Chip
from harness.virtual.chip.memory import MemoryMap
from harness.virtual.core.accesses import may_exist
from harness.virtual.core.run import Core


class Debugger:
    """What a probe reads and writes, while the core runs or not; `before` precedes each access."""

    def __init__(
        self, board: Board, core: Core, chip: Chip, memory: MemoryMap, before: Callable[[], None]
    ) -> None:
        self._board, self._core = board, core
        self._bus = chip.bus
        self._flash = chip.flash
        self._memory = memory
        self._before, self._locked = before, chip.locked

    def read(self, address: int, count: int) -> bytes:
        """Read `count` bytes.

        Raises:
            BusFault: Nothing answers there.
            VirtualError: A register that is not modelled, or the core has stopped on an error.
        """
        self._begin()
        content = self._memory.read(address, count)
        if content is not None:
            return content
        parts: list[bytes] = []
        for at, size in _pieces(address, count):
            self._check(at)
            value = self._bus.read(at, size, Master.DEBUGGER)
            parts.append(value.to_bytes(size, "little"))
        return b"".join(parts)

    def write(self, address: int, content: bytes) -> None:
        """Write bytes; raises as `read`."""
        self._begin()
        found = self._memory.find(address)
        if found is not None and found[0].kind == "flash":
            self._write_flash(address, found[1], content)
        elif found is not None:
            self._write_ram(address, content)
        else:
            for at, size in _pieces(address, len(content)):
                self._check(at)
                piece = content[at - address : at - address + size]
                self._bus.write(at, size, int.from_bytes(piece, "little"), Master.DEBUGGER)

    def _begin(self) -> None:
        self._before()
        if self._locked():
            raise BusFault("the chip's debug port is locked")

    def _check(self, address: int) -> None:
        if not may_exist(self._board, address) and address >> 10 not in self._bus.by_block:
            raise BusFault(f"nothing answers at {address:#010x}")

    def _write_ram(self, address: int, content: bytes) -> None:
        end = address + len(content)
        has_code = self._core.cpu.counter.has_code(address, end)
        with self._core.paused() if has_code else nullcontext():
            self._core.cpu.invalidate(address, end)
            stored = self._memory.write_ram(address, content)
        if not stored:
            raise BusFault(f"the memory at {address:#010x} ends before {end:#010x}")

    def _write_flash(self, address: int, offset: int, content: bytes) -> None:
        with self._core.paused():
            for at, size in _pieces(offset, len(content)):
                piece = content[at - offset : at - offset + size]
                if not self._flash.program_now(at, size, int.from_bytes(piece, "little")):
                    raise BusFault(f"flash at {address:#010x} takes no write (see FLASH_SR)")


def _pieces(address: int, count: int) -> list[tuple[int, int]]:
    """Split a range into aligned accesses of 4, 2 and 1 bytes."""
    found: list[tuple[int, int]] = []
    end = address + count
    while address < end:
        size = next(s for s in (4, 2, 1) if address % s == 0 and address + s <= end)
        found.append((address, size))
        address += size
    return found
