"""What flash interfaces have in common: the array, erasing, programming."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from harness.virtual.chip.bus import Peripheral
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.memory import ERASED
from harness.virtual.native import shared
from harness.virtual.native.callbacks import Page
from harness.virtual.native.flash import FLASH, flash_read, flash_write


class FlashInterface(Peripheral, ABC):
    """Base of a family's flash interface.

    SR and CR live in the record of the compiled callbacks, which may read and write them. Erasing
    and programming take no virtual time; a board that keeps pace with the host's clock waits for
    as long as they typically take.
    """

    #: Seconds to erase a sector, by its size in KiB, and to program a byte.
    erase_s: Mapping[int, float]
    program_s: float

    def __init__(self, to: Connections, base: int, source: str) -> None:
        super().__init__("FLASH", base, source)
        self.memory = to.memory.flash
        self._sectors = [(at - to.board.flash.origin, size) for at, size in to.board.sectors()]
        self._core = to.core
        self.state = shared(FLASH)
        self._shared = self.state[0]
        # A family that the compiled callbacks know says where its registers are.
        self._shared["sr_at"] = self._shared["cr_at"] = -1
        self._shared["table"] = to.counter.address
        #: Faults: called with (sector or None, first offset) of what was erased, and with the
        #: range of offsets that may have been programmed once the interface is locked again (True
        #: if there was anything).
        self.after_erase: Callable[[int | None, int], None] | None = None
        self.after_programming: Callable[[int, int], bool] | None = None
        self._touched: tuple[int, int] | None = None
        self._fixups: list[tuple[int, bytes]] = []
        record, origins = self._shared, self.memory.origins
        record["content"], record["content_bytes"] = self.memory.address, self.memory.bytes
        record["origin_count"], record["origins"][: len(origins)] = len(origins), origins
        #: Whether the chip starts the boot loader in its ROM, as it was empty when last powered on.
        self.starts_loader = False

    def power_on(self) -> None:
        """Load the option bytes, and look whether there is a program."""

    @property
    def page(self) -> Page:
        """The compiled callbacks of the controller's page."""
        return Page(self.base & ~0xFFF, flash_read.address, flash_write.address, self.state)

    @property
    def sr(self) -> int:
        """Status register."""
        return int(self._shared["sr"])

    @sr.setter
    def sr(self, value: int) -> None:
        self._shared["sr"] = value

    @property
    def cr(self) -> int:
        """Control register."""
        return int(self._shared["cr"])

    @cr.setter
    def cr(self, value: int) -> None:
        self._shared["cr"] = value

    # The array.

    @abstractmethod
    def program(self, offset: int, size: int, value: int) -> bool:
        """Take a store of `size` bytes to the array; the caller then writes `value` raw.

        Returns:
            False if the store is refused; the error flag says why.
        """

    def program_now(self, offset: int, size: int, value: int) -> bool:
        """Take a store by the debugger."""
        if not self.program(offset, size, value):
            return False
        self.memory.data[offset : offset + size] = value.to_bytes(size, "little")
        return True

    def clear_bits(self, offset: int, size: int, value: int) -> None:
        """Program `value`, which only clears bits.

        The caller of `program` then stores it as it is; `settle` puts the byte-wise AND right.
        """
        self.changing(offset, size)
        old = bytes(self.memory.data[offset : offset + size])
        new = bytes(a & b for a, b in zip(old, value.to_bytes(size, "little"), strict=True))
        if int.from_bytes(new, "little") != value:
            self._fixups.append((offset, new))
            self._shared["pending"] = 1
        self._shared["programmed"] += size

    def settle(self) -> None:
        """Put right what was programmed, at the next access to the controller."""
        for offset, content in self._fixups:
            self.memory.data[offset : offset + len(content)] = content
        self._fixups.clear()
        self._shared["pending"] = 0

    def erase(self, start: int, count: int, sector: int | None) -> None:
        """Erase `count` bytes at offset `start`: one sector, or None for more than one."""
        self.changing(start, count)
        self.memory.data[start : start + count] = bytes([ERASED]) * count
        if self._core().paced:
            time.sleep(self._erase_seconds(start, count))
        if self.after_erase is not None:
            self.after_erase(sector, start)
        self.touch(start, count)
        self.done()

    def _erase_seconds(self, start: int, count: int) -> float:
        sizes = (size for at, size in self._sectors if start <= at < start + count)
        return sum(self.erase_s[size >> 10] for size in sizes)

    @property
    def programmed_bytes(self) -> int:
        """Bytes that were programmed since power-on."""
        return int(self._shared["programmed"])

    def refuse(self, flag: int) -> bool:
        """Set an error flag and return False."""
        self.sr |= flag
        return False

    def touch(self, start: int, count: int) -> None:
        """Remember what may have changed since the controller was last locked."""
        low, high = self._touched or (start, start + count)
        self._touched = min(low, start), max(high, start + count)

    def locked(self) -> None:
        """Report that programming is over, for fault injection."""
        if self.after_programming is None or self._touched is None:
            return
        start, end = self._touched
        self.changing(start, end - start)
        if self.after_programming(start, end):
            self._touched = None

    def changing(self, start: int, count: int) -> None:
        """Announce a change, at every address the array appears at."""
        for origin in self.memory.origins:
            self._core().cpu.invalidate(origin + start, origin + start + count)

    def done(self) -> None:
        """End an operation."""
