"""What flash interfaces have in common: keys and locks, status, erasing."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from harness.virtual.chip.bus import BusFault, Master, Peripheral, read_zero
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.memory import ERASED
from harness.virtual.native import shared
from harness.virtual.native.callbacks import Page
from harness.virtual.native.flash import FLASH, flash_read, flash_write

ACR = 0x00
LOCK = 1 << 31
_KEYS = (0x4567_0123, 0xCDEF_89AB)
_OPTION_KEYS = (0x0819_2A3B, 0x4C5D_6E7F)
_EOP, _STRT, _EOPIE = 1 << 0, 1 << 16, 1 << 24


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
        self._shared["cr"] = LOCK
        self._shared["table"] = to.counter.address
        self._key_step = self._option_step = 0
        self._keys_blocked = False
        #: Faults: called with (sector or None, first offset) of what was erased, and with the
        #: range of offsets that may have been programmed once the interface is locked again (True
        #: if there was anything).
        self.after_erase: Callable[[int | None, int], None] | None = None
        self.after_programming: Callable[[int, int], bool] | None = None
        self._touched: tuple[int, int] | None = None
        #: Whether the chip starts the boot loader in its ROM, as it was empty when last powered on.
        self.starts_loader = False

    def power_on(self) -> None:
        """Load the option bytes, and look whether there is a program."""

    def add_control(self, sr: int, cr: int, *, clearable: int) -> None:
        """Add SR, of which writing a one clears the bits in `clearable`, and CR."""

        def clear(value: int, _master: Master) -> None:
            self.sr &= ~(value & clearable)

        self.add(sr, "SR", read=self.read_sr, write=clear)
        self.add(cr, "CR", read=lambda _master: self.cr, write=self._write_cr)

    def add_keys(self, key: int, option_key: int) -> None:
        """Add the key registers at these offsets."""
        self.add(key, "KEYR", read=read_zero, write=self._write_key)
        self.add(option_key, "OPTKEYR", read=read_zero, write=self._write_option_key)

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

    @property
    def wait_states(self) -> int:
        """ACR.LATENCY."""
        return self.values[ACR] & 0xF

    def reset(self) -> None:
        """Lock the controller; the array keeps its content."""
        super().reset()
        self.sr, self.cr = 0, LOCK
        self._key_step = self._option_step = 0
        self._keys_blocked = False

    def read_sr(self, _master: Master) -> int:
        """Return SR."""
        return self.sr

    def _write_cr(self, value: int, _master: Master) -> None:
        if self.cr & LOCK:
            return  # RM0385 3.7.5: CR takes nothing while it is locked
        self.cr = self.accept_cr(value)
        if value & LOCK:
            self.locked()
        if value & _STRT:
            self.start_erase(value)
            self.cr &= ~_STRT

    @abstractmethod
    def accept_cr(self, value: int) -> int:
        """Prepare for a new value of CR; return what CR then reads as."""

    @abstractmethod
    def start_erase(self, cr: int) -> None:
        """Erase what CR selects, or set an error flag."""

    @abstractmethod
    def unlock_options(self) -> None:
        """Let option bytes be written: both keys came in their order."""

    # Keys.

    def _write_key(self, value: int, _master: Master) -> None:
        if not self.cr & LOCK and not self._keys_blocked:
            return
        if self._keys_blocked or value != _KEYS[self._key_step]:
            # RM0385 3.3.5: a wrong key locks CR until the next reset and gives a bus error.
            self._keys_blocked = True
            raise BusFault
        self._key_step += 1
        if self._key_step == len(_KEYS):
            self._key_step = 0
            self.cr &= ~LOCK

    def _write_option_key(self, value: int, _master: Master) -> None:
        if value != _OPTION_KEYS[self._option_step]:
            self._option_step = 0
            raise BusFault
        self._option_step = (self._option_step + 1) % len(_OPTION_KEYS)
        if self._option_step == 0:
            self.unlock_options()

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
        """End an operation. RM0385 3.7.4: EOP is only set when its interrupt is enabled."""
        if self.cr & _EOPIE:
            self.sr |= _EOP
