"""Accesses of the two bus masters: the core (from within the emulator) and the debugger."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

from harness.errors import HarnessError, VirtualError
from harness.virtual.chip.bus import Bus, BusFault, Master
from harness.virtual.chip.memory import MemoryMap
from harness.virtual.chip.peripherals.flash import FlashInterface
from harness.virtual.core.cpu import Cpu

_LOG = logging.getLogger(__name__)

# Where the architecture puts registers (ARMv7-M ARM table B3-1): what the chip has there and the
# model has not is an error of the model, not a fault of the firmware. The same goes for system
# memory (boot loader, one-time programmable area, option bytes; RM0385 and RM0390 chapter 2).
# Behind it, up to the RAM, the chips have nothing: a stack that overflows faults there.
_REGISTERS = ((0x4000_0000, 0x6000_0000), (0xA000_0000, 0x1_0000_0000))
_SYSTEM_MEMORY = ((0x1FF0_0000, 0x1FFF_D000), (0x0010_0000, 0x0020_0000))


def may_exist(address: int) -> bool:
    """Return whether a chip may have something at `address` that the model lacks."""
    return any(low <= address < high for low, high in (*_REGISTERS, *_SYSTEM_MEMORY))


def _nowhere(_address: int, _write: bool) -> tuple[int, str]:
    """Stand in until the core is known."""
    return 0, "PC unknown"


class CoreAccesses:
    """The core's register accesses. Errors stop the core instead of being raised.

    Args:
        name: Board, for messages.
        bus: Registers.
        memory: Memories.
        flash: Takes stores to flash.
        stop: Called with what the core must stop for.
    """

    def __init__(
        self,
        name: str,
        bus: Bus,
        memory: MemoryMap,
        flash: FlashInterface,
        stop: Callable[[HarnessError], None],
    ) -> None:
        self._name = name
        self._bus = bus
        self._memory = memory
        self._flash = flash
        self._stop = stop
        #: Set while the rest of a block that an error stopped runs: it must have no effect.
        self.blocked = False
        #: Returns the PC of an access that is under way, and how to print it.
        self.locate: Callable[[int, bool], tuple[int, str]] = _nowhere

    def core_read(self, address: int, size: int) -> int:
        """Read a register for the core."""
        if self.blocked:
            return 0
        try:
            return self._bus.read(address, size, Master.CORE)
        except Exception as error:
            self._fail(error, address, write=False)
        return 0

    def core_write(self, address: int, size: int, value: int) -> None:
        """Write a register for the core."""
        if self.blocked:
            return
        try:
            self._bus.write(address, size, value & ((1 << 8 * size) - 1), Master.CORE)
        except Exception as error:
            self._fail(error, address, write=True)

    def core_flash_write(self, address: int, size: int, value: int) -> bool:
        """Take a store to flash for the core; False makes it fault."""
        found = self._memory.find(address)
        if self.blocked or found is None:
            return False
        return self._flash.program(found[1], size, value)

    def _fail(self, error: Exception, address: int, *, write: bool) -> None:
        pc, place = self.locate(address, write)
        place = f"{self._name}, {place}"
        if isinstance(error, BusFault):
            error = VirtualError(
                f"access to {address:#010x}: {error}", expected="the unlock keys in order"
            )
        elif not isinstance(error, HarnessError):
            _LOG.error("bug in the virtual board at %s", place, exc_info=error)
            error = VirtualError(f"bug in the virtual board: {error!r}")
        error.where = place + (f", {error.where}" if error.where else "")
        error.data.update(pc=pc, address=address)
        self.blocked = True
        self._stop(error)


class DebuggerAccesses:
    """The debugger's accesses to memory and registers.

    Args:
        bus: Registers.
        memory: Memories.
        flash: Takes writes to flash.
        cpu: Remembers code, which a write may change.
        paused: Keeps the core from running.
    """

    def __init__(
        self,
        bus: Bus,
        memory: MemoryMap,
        flash: FlashInterface,
        cpu: Cpu,
        paused: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._bus = bus
        self._memory = memory
        self._flash = flash
        self._cpu = cpu
        self._paused = paused

    def read(self, address: int, count: int) -> bytes:
        """Read `count` bytes.

        Raises:
            BusFault: Nothing answers there.
            VirtualError: A register that is not modelled, or the core has stopped on an error.
        """
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

    def _check(self, address: int) -> None:
        if not may_exist(address) and address >> 10 not in self._bus.by_block:
            raise BusFault(f"nothing answers at {address:#010x}")

    def _write_ram(self, address: int, content: bytes) -> None:
        end = address + len(content)
        if not self._cpu.counter.has_code(address, end):
            stored = self._memory.write_ram(address, content)
        else:
            with self._paused():
                self._cpu.invalidate(address, end)
                stored = self._memory.write_ram(address, content)
        if not stored:
            raise BusFault(f"the memory at {address:#010x} ends before {end:#010x}")

    def _write_flash(self, address: int, offset: int, content: bytes) -> None:
        with self._paused():
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
