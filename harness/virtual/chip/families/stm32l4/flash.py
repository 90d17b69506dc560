"""Flash interface of the STM32L4+: unlock keys, page erase, mass erase, 64-bit programming.

RM0432, chapter FLASH. Two banks of 4 KiB pages; a double word is programmed by two stores, its low
word first, and only where it is erased (or to zero).
"""

from __future__ import annotations

from harness.virtual.chip.bus import Master, read_zero
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.stm32.flash import ACR, LOCK, KeyedFlash
from harness.virtual.chip.memory import ERASED

_BASE = 0x4002_2000
_PDKEYR, _KEYR, _OPTKEYR, _SR, _CR, _ECCR, _OPTR = 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18, 0x20

_PROGERR, _PGAERR, _SIZERR, _PGSERR = 1 << 3, 1 << 5, 1 << 6, 1 << 7
_PEMPTY = 1 << 17
_SR_CLEARABLE = 0xC3FB
_SR_ERRORS = 0xC3FA
_PG, _PER, _MER1, _MER2, _BKER = 1 << 0, 1 << 1, 1 << 2, 1 << 15, 1 << 11
_OPTSTRT, _FSTPG = 1 << 17, 1 << 18
_OBL_LAUNCH, _OPTLOCK = 1 << 27, 1 << 30
_CR_BITS = 0x0707_8FFF
# As delivered: no protection, two banks (DBANK).
_OPTR_RESET = 0xFFEF_F8AA
_WORD, _DOUBLE = 4, 8
# Typical seconds by page in KiB and of a double word (DS12023); see stm32f.
_ERASE_S = {4: 0.022}
_DOUBLE_S = 82e-6


class FlashL4(KeyedFlash):
    """The flash interface registers and what they do to the flash array."""

    def __init__(self, to: Connections) -> None:
        super().__init__(to, _BASE, "RM0432, FLASH registers")
        board = to.board
        self.erase_s, self.program_s = _ERASE_S, _DOUBLE_S / _DOUBLE
        self._page_bytes = board.facts.flash_sectors[0].bytes
        self._bank_bytes = board.flash.bytes // 2
        self.cr = LOCK | _OPTLOCK
        self._low: tuple[int, bytes] | None = None  # a first word, and what it replaced
        #: Whether software cannot clear PEMPTY, so that only OBL_LAUNCH does.
        self.empty_sticks = False
        self.add(ACR, "ACR", 0x600, writable=0x7F0F)
        self.add(_PDKEYR, "PDKEYR", read=read_zero)
        self.add_keys(_KEYR, _OPTKEYR)
        self.add_control(_SR, _CR, clearable=_SR_CLEARABLE)
        clear = self.registers[_SR].write

        def write_status(value: int, master: Master) -> None:
            if value & _PEMPTY and not self.empty_sticks:
                self.starts_loader = not self.starts_loader
            if clear is not None:
                clear(value, master)

        self.add(_SR, "SR", read=self.read_sr, write=write_status)
        self.add(_ECCR, "ECCR")
        self.add(_OPTR, "OPTR", _OPTR_RESET, write=self._write_options)

    def reset(self) -> None:
        """Lock the controller; the array keeps its content."""
        self._drop_low()
        super().reset()
        self.cr = LOCK | _OPTLOCK

    def power_on(self) -> None:
        """Set PEMPTY where the first word is erased (RM0432, FLASH_SR)."""
        self.starts_loader = bytes(self.memory.data[:_WORD]) == bytes([ERASED]) * _WORD

    def read_sr(self, master: Master) -> int:
        """Return SR."""
        return super().read_sr(master) | (_PEMPTY if self.starts_loader else 0)

    def unlock_options(self) -> None:
        """Clear OPTLOCK, where CR is unlocked."""
        if not self.cr & LOCK:
            self.cr &= ~_OPTLOCK

    # Registers.

    def _write_options(self, value: int, _master: Master) -> None:
        if not self.cr & _OPTLOCK and value != self.values[_OPTR]:
            raise self.unmodelled(_OPTR, "change of the option bytes by write")

    def accept_cr(self, value: int) -> int:
        """Drop a first word without a second; return what CR then reads as."""
        if value & _OBL_LAUNCH and not self.cr & _OPTLOCK:
            self.power_on()
            self._core().request_reset()
            return self.cr
        if value & (_OPTSTRT | _OBL_LAUNCH | _FSTPG):
            raise self.unmodelled(_CR, "option or fast programming by write")
        self._drop_low()
        return value & _CR_BITS | (self.cr | value) & _OPTLOCK | value & LOCK

    # The array.

    def start_erase(self, cr: int) -> None:
        """Erase a page or banks."""
        if self.sr & _SR_ERRORS or cr & _PG or not cr & (_PER | _MER1 | _MER2):
            self.sr |= _PGSERR
            return
        number: int | None = None
        if cr & _PER:
            bank = self._bank_bytes if cr & _BKER else 0
            start = bank + (cr >> 3 & 0xFF) * self._page_bytes
            count, number = self._page_bytes, start // self._page_bytes
        else:
            start = 0 if cr & _MER1 else self._bank_bytes
            count = (2 if cr & _MER1 and cr & _MER2 else 1) * self._bank_bytes
        self.erase(start, count, number)

    def program(self, offset: int, size: int, value: int) -> bool:
        """Take one half of a double word."""
        if self.cr & LOCK or not self.cr & _PG or self.sr & _SR_ERRORS:
            return self.refuse(_PGSERR)
        if size != _WORD:
            return self.refuse(_SIZERR)
        start = offset & ~(_DOUBLE - 1)
        content = value.to_bytes(_WORD, "little")
        if self._low is None:
            if offset != start:
                return self.refuse(_PGAERR)
            old = bytes(self.memory.data[start : start + _DOUBLE])
            self.changing(start, _DOUBLE)
            self._low = start, old
            return True
        at, old = self._low
        if offset != at + _WORD:
            self._drop_low()
            return self.refuse(_PGSERR if start != at else _PGAERR)
        new = bytes(self.memory.data[at : at + _WORD]) + content
        if old != bytes([ERASED]) * _DOUBLE and any(new):
            self._drop_low()
            return self.refuse(_PROGERR)
        self._low = None
        self.touch(at, _DOUBLE)
        self._shared["programmed"] += _DOUBLE
        self.done()
        return True

    def _drop_low(self) -> None:
        """Undo a first word that no second one followed."""
        if self._low is not None:
            at, old = self._low
            self.memory.data[at : at + _DOUBLE] = old
            self._low = None
