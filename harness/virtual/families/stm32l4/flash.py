"""Flash interface of the STM32L4+: unlock keys, page erase, mass erase, 64-bit programming.

RM0432, chapter FLASH. Two banks of 4 KiB pages; a double word is programmed by two stores, its low
word first, and only where it is erased (or to zero).
"""

from __future__ import annotations

from collections.abc import Callable

from harness.boards import Board
from harness.virtual import native
from harness.virtual.bus import BusFault, Master, Peripheral, read_zero
from harness.virtual.counting import BlockCounter
from harness.virtual.memory import ERASED, MemoryMap

_BASE = 0x4002_2000
_KEYS = (0x4567_0123, 0xCDEF_89AB)
_OPTION_KEYS = (0x0819_2A3B, 0x4C5D_6E7F)
_ACR, _PDKEYR, _KEYR, _OPTKEYR = 0x00, 0x04, 0x08, 0x0C
_SR, _CR, _ECCR, _OPTR = 0x10, 0x14, 0x18, 0x20

_EOP, _PROGERR, _PGAERR, _SIZERR, _PGSERR = 1 << 0, 1 << 3, 1 << 5, 1 << 6, 1 << 7
_SR_CLEARABLE = 0xC3FB
_SR_ERRORS = 0xC3FA
_PG, _PER, _MER1, _MER2, _BKER = 1 << 0, 1 << 1, 1 << 2, 1 << 15, 1 << 11
_STRT, _OPTSTRT, _FSTPG, _EOPIE = 1 << 16, 1 << 17, 1 << 18, 1 << 24
_OBL_LAUNCH, _OPTLOCK, _LOCK = 1 << 27, 1 << 30, 1 << 31
_CR_BITS = 0x0707_8FFF
# As delivered: no protection, two banks (DBANK).
_OPTR_RESET = 0xFFEF_F8AA
_WORD, _DOUBLE = 4, 8

Invalidate = Callable[[int, int], None]


def _ignore(_start: int, _end: int) -> None:
    """Stand in until the core is known."""


class FlashL4(Peripheral):
    """The flash interface registers and what they do to the flash array.

    Args:
        board: Pages.
        memory: Where the array is.
        counter: Knows where code has run.
    """

    def __init__(self, board: Board, memory: MemoryMap, counter: BlockCounter) -> None:
        super().__init__("FLASH", _BASE, "RM0432, FLASH registers")
        self._memory = memory.flash
        self._page_bytes = board.facts.flash_sectors[0].bytes
        self._bank_bytes = board.flash.bytes // 2
        # The compiled callbacks know another family's registers: every access takes the slow path.
        self.state = native.state_words(native.FLASH_WORDS)
        self.state[native.OFFSET] = -(1 << 20)
        self.state[native.CR] = _LOCK
        self.state[native.COUNTER] = counter.address
        self._sr = 0
        self._cr = _LOCK | _OPTLOCK
        self._low: tuple[int, bytes] | None = None  # a first word, and what it replaced
        self._key_step = 0
        self._keys_blocked = False
        self._option_step = 0
        #: Called before code in [start, end) changes, for every address the flash appears at.
        self.invalidate: Invalidate = _ignore
        #: Faults; see `harness.virtual.families.Flash`.
        self.after_erase: Callable[[int | None, int], None] | None = None
        self.after_programming: Callable[[int, int], bool] | None = None
        self._touched: tuple[int, int] | None = None
        self.add(_ACR, "ACR", 0x600, writable=0x7F0F)
        self.add(_PDKEYR, "PDKEYR", read=read_zero)
        self.add(_KEYR, "KEYR", read=read_zero, write=self._write_key)
        self.add(_OPTKEYR, "OPTKEYR", read=read_zero, write=self._write_option_key)
        self.add(_SR, "SR", read=self._read_sr, write=self._write_sr)
        self.add(_CR, "CR", read=self._read_cr, write=self._write_cr)
        self.add(_ECCR, "ECCR")
        self.add(_OPTR, "OPTR", _OPTR_RESET, write=self._write_options)

    @property
    def page(self) -> native.Page:
        """The compiled callbacks of the controller's page."""
        return native.Page(
            _BASE & ~0xFFF, native.flash_read.address, native.flash_write.address, self.state
        )

    @property
    def wait_states(self) -> int:
        """ACR.LATENCY."""
        return self.values[_ACR] & 0xF

    def reset(self) -> None:
        """Lock the controller; the array keeps its content."""
        super().reset()
        self._drop_low()
        self._sr, self._cr = 0, _LOCK | _OPTLOCK
        self._key_step = self._option_step = 0
        self._keys_blocked = False

    # Registers.

    def _write_key(self, value: int, _master: Master) -> None:
        if not self._cr & _LOCK and not self._keys_blocked:
            return
        if self._keys_blocked or value != _KEYS[self._key_step]:
            # A wrong key locks CR until the next reset and gives a bus error.
            self._keys_blocked = True
            raise BusFault
        self._key_step += 1
        if self._key_step == len(_KEYS):
            self._key_step = 0
            self._cr &= ~_LOCK

    def _write_option_key(self, value: int, _master: Master) -> None:
        if value != _OPTION_KEYS[self._option_step]:
            self._option_step = 0
            raise BusFault
        self._option_step = (self._option_step + 1) % len(_OPTION_KEYS)
        if self._option_step == 0 and not self._cr & _LOCK:
            self._cr &= ~_OPTLOCK

    def _write_options(self, value: int, _master: Master) -> None:
        if not self._cr & _OPTLOCK and value != self.values[_OPTR]:
            raise self.unmodelled(_OPTR, "change of the option bytes by write")

    def _read_sr(self, _master: Master) -> int:
        return self._sr

    def _write_sr(self, value: int, _master: Master) -> None:
        self._sr &= ~(value & _SR_CLEARABLE)

    def _read_cr(self, _master: Master) -> int:
        return self._cr

    def _write_cr(self, value: int, _master: Master) -> None:
        if self._cr & _LOCK:
            return  # CR takes nothing while it is locked
        if value & (_OPTSTRT | _OBL_LAUNCH | _FSTPG):
            raise self.unmodelled(_CR, "option or fast programming by write")
        self._drop_low()
        self._cr = value & _CR_BITS | (self._cr | value) & _OPTLOCK | value & _LOCK
        if value & _LOCK and self.after_programming is not None and self._touched is not None:
            start, end = self._touched
            self._changing(start, end - start)
            if self.after_programming(start, end):
                self._touched = None
        if value & _STRT:
            self._erase(value)
            self._cr &= ~_STRT

    # The array.

    def _erase(self, cr: int) -> None:
        if self._sr & _SR_ERRORS or cr & _PG or not cr & (_PER | _MER1 | _MER2):
            self._sr |= _PGSERR
            return
        number: int | None = None
        if cr & _PER:
            bank = self._bank_bytes if cr & _BKER else 0
            start = bank + (cr >> 3 & 0xFF) * self._page_bytes
            count, number = self._page_bytes, start // self._page_bytes
        else:
            start = 0 if cr & _MER1 else self._bank_bytes
            count = (2 if cr & _MER1 and cr & _MER2 else 1) * self._bank_bytes
        self._changing(start, count)
        self._memory.data[start : start + count] = bytes([ERASED]) * count
        if self.after_erase is not None:
            self.after_erase(number, start)
        self._touch(start, start + count)
        self._done()

    def program(self, offset: int, size: int, value: int) -> bool:
        """Take a store of `size` bytes to the array; the caller then writes `value` raw.

        Returns:
            False if the store is refused; the error flag says why.
        """
        if self._cr & _LOCK or not self._cr & _PG or self._sr & _SR_ERRORS:
            return self._refuse(_PGSERR)
        if size != _WORD:
            return self._refuse(_SIZERR)
        start = offset & ~(_DOUBLE - 1)
        content = value.to_bytes(_WORD, "little")
        if self._low is None:
            if offset != start:
                return self._refuse(_PGAERR)
            old = bytes(self._memory.data[start : start + _DOUBLE])
            self._changing(start, _DOUBLE)
            self._low = start, old
            return True
        at, old = self._low
        if offset != at + _WORD:
            self._drop_low()
            return self._refuse(_PGSERR if start != at else _PGAERR)
        new = bytes(self._memory.data[at : at + _WORD]) + content
        if old != bytes([ERASED]) * _DOUBLE and any(new):
            self._drop_low()
            return self._refuse(_PROGERR)
        self._low = None
        self._touch(at, at + _DOUBLE)
        self._done()
        return True

    def program_now(self, offset: int, size: int, value: int) -> bool:
        """Take a store by the debugger."""
        if not self.program(offset, size, value):
            return False
        self._memory.data[offset : offset + size] = value.to_bytes(size, "little")
        return True

    def _refuse(self, flag: int) -> bool:
        self._sr |= flag
        return False

    def _drop_low(self) -> None:
        """Undo a first word that no second one followed."""
        if self._low is not None:
            at, old = self._low
            self._memory.data[at : at + _DOUBLE] = old
            self._low = None

    def _touch(self, start: int, end: int) -> None:
        low, high = self._touched or (start, end)
        self._touched = min(low, start), max(high, end)

    def _changing(self, offset: int, count: int) -> None:
        for origin in self._memory.origins:
            self.invalidate(origin + offset, origin + offset + count)

    def _done(self) -> None:
        # EOP is only set when its interrupt is enabled.
        if self._cr & _EOPIE:
            self._sr |= _EOP
