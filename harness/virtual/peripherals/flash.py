"""Flash interface: unlock keys, sector erase, mass erase and programming.

RM0385 and RM0410 section 3 (STM32F7), RM0390 section 3 (STM32F446).
"""

from __future__ import annotations

from collections.abc import Callable

from harness.boards import Board
from harness.virtual import native
from harness.virtual.bus import BusFault, Master, Peripheral, read_zero
from harness.virtual.counting import BlockCounter
from harness.virtual.memory import ERASED, MemoryMap

_BASE = 0x4002_3C00
_KEYS = (0x4567_0123, 0xCDEF_89AB)
_OPTION_KEYS = (0x0819_2A3B, 0x4C5D_6E7F)
_ACR, _KEYR, _OPTKEYR, _SR, _CR, _OPTCR, _OPTCR1 = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18

_EOP, _PGAERR, _PGPERR, _SEQERR = 1 << 0, 1 << 5, 1 << 6, 1 << 7
_SR_CLEARABLE = 0x1F3
_PG, _SER, _MER, _STRT, _EOPIE, _LOCK = 1 << 0, 1 << 1, 1 << 2, 1 << 16, 1 << 24, 1 << 31
_PSIZE_SHIFT = 8

# ACR: the ART accelerator has one enable on the F7, three on the F4.
_ACR_BITS = {"stm32f7": 0x0000_0B0F, "stm32f4": 0x0000_1F0F}
_CR_BITS = {"stm32f7": 0x8301_83FF, "stm32f4": 0x8301_837F}
# Option bytes as delivered, by DBGMCU device id: no protection, single bank.
_OPTCR_RESET = {0x449: 0xC0FF_AAFD, 0x451: 0xFFFF_AAFD, 0x421: 0x0FFF_AAED}
_OPTCR1_RESET = 0x0040_0080  # boot from 0x00200000 (BOOT0 low) or 0x00100000

Invalidate = Callable[[int, int], None]


def _ignore(_start: int, _end: int) -> None:
    """Stand in until the core is known."""


class FlashController(Peripheral):
    """The flash interface registers and what they do to the flash array.

    Args:
        board: Sector map and chip.
        memory: Where the array is.
        counter: Knows where code has run, whose change must be announced.
    """

    def __init__(self, board: Board, memory: MemoryMap, counter: BlockCounter) -> None:
        super().__init__("FLASH", _BASE, "RM0385 3.7, RM0410 3.7, RM0390 3.8")
        self._memory = memory.flash
        self._sectors = [(a - board.flash.origin, n) for a, n in board.sectors()]
        self._fixups: list[tuple[int, bytes]] = []
        self.state = native.state_words(native.FLASH_WORDS)
        self._words = memoryview(self.state)
        self._prepare(counter)
        self._key_step = 0
        self._keys_blocked = False
        self._option_step = 0
        self._snb_mask = 0x1F if board.facts.chip.device_id == 0x451 else 0xF
        #: Called before code in [start, end) changes, for every address the flash appears at.
        self.invalidate: Invalidate = _ignore
        #: Faults: called with (sector or None, first offset) of what was erased, and with the
        #: range of offsets that may have been programmed once the interface is locked again (True
        #: if there was anything).
        self.after_erase: Callable[[int | None, int], None] | None = None
        self.after_programming: Callable[[int, int], bool] | None = None
        self._touched: tuple[int, int] | None = None
        self.add(_ACR, "ACR", writable=_ACR_BITS[board.family])
        self.add(_KEYR, "KEYR", read=read_zero, write=self._write_key)
        self.add(_OPTKEYR, "OPTKEYR", read=read_zero, write=self._write_option_key)
        self.add(_SR, "SR", read=self._read_sr, write=self._write_sr)
        self.add(_CR, "CR", read=self._read_cr, write=self._write_cr)
        self._cr_bits = _CR_BITS[board.family]
        option = _OPTCR_RESET[board.facts.chip.device_id]
        self.add(_OPTCR, "OPTCR", option, write=self._write_options)
        if board.family == "stm32f7":
            self.add(_OPTCR1, "OPTCR1", _OPTCR1_RESET, writable=0)

    def _prepare(self, counter: BlockCounter) -> None:
        words = self._words
        words[native.OFFSET] = _BASE & 0xFFF
        words[native.CR] = _LOCK
        words[native.CONTENT] = self._memory.address
        words[native.CONTENT_BYTES] = self._memory.bytes
        words[native.COUNTER] = counter.address
        words[native.ORIGINS] = len(self._memory.origins)
        for index, origin in enumerate(self._memory.origins):
            words[native.ORIGIN + index] = origin

    @property
    def page(self) -> native.Page:
        """The compiled callbacks of the controller's page."""
        return native.Page(
            _BASE & ~0xFFF, native.flash_read.address, native.flash_write.address, self.state
        )

    @property
    def _sr(self) -> int:
        return self._words[native.SR]

    @_sr.setter
    def _sr(self, value: int) -> None:
        self._words[native.SR] = value

    @property
    def _cr(self) -> int:
        return self._words[native.CR]

    @_cr.setter
    def _cr(self, value: int) -> None:
        self._words[native.CR] = value

    def reset(self) -> None:
        """Lock the controller; the array keeps its content."""
        super().reset()
        self._settle()
        self._sr, self._cr = 0, _LOCK
        self._key_step = self._option_step = 0
        self._keys_blocked = False

    @property
    def wait_states(self) -> int:
        """ACR.LATENCY."""
        return self.values[_ACR] & 0xF

    # Registers.

    def _write_key(self, value: int, _master: Master) -> None:
        if not self._cr & _LOCK and not self._keys_blocked:
            return
        if self._keys_blocked or value != _KEYS[self._key_step]:
            # RM0385 3.3.5: a wrong key locks CR until the next reset and gives a bus error.
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
        if self._option_step == 0:
            self.values[_OPTCR] &= ~1

    def _write_options(self, value: int, _master: Master) -> None:
        if self.values[_OPTCR] & 1:
            return
        if value & ~3 != self.values[_OPTCR] & ~3 or value & 2:
            raise self.unmodelled(_OPTCR, "change of the option bytes by write")
        self.values[_OPTCR] = (self.values[_OPTCR] & ~1) | (value & 1)

    def _read_sr(self, _master: Master) -> int:
        self._settle()
        return self._sr

    def _write_sr(self, value: int, _master: Master) -> None:
        self._sr &= ~(value & _SR_CLEARABLE)

    def _read_cr(self, _master: Master) -> int:
        return self._cr

    def _write_cr(self, value: int, _master: Master) -> None:
        self._settle()
        if self._cr & _LOCK:
            return  # RM0385 3.7.5: CR takes nothing while it is locked
        self._cr = value & self._cr_bits
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
        if cr & _PG or not cr & (_SER | _MER):
            self._sr |= _SEQERR
            return
        number = (cr >> 3) & self._snb_mask
        if cr & _MER:
            start, count = 0, self._memory.bytes
        else:
            if number >= len(self._sectors):
                self._sr |= _SEQERR
                return
            start, count = self._sectors[number]
        self._changing(start, count)
        self._memory.data[start : start + count] = bytes([ERASED]) * count
        if self.after_erase is not None:
            self.after_erase(None if cr & _MER else number, start)
        low, high = self._touched or (start, start + count)
        self._touched = min(low, start), max(high, start + count)
        self._done()

    def program(self, offset: int, size: int, value: int) -> bool:
        """Take a store of `size` bytes to the array; the caller then writes `value` raw.

        Programming only clears bits, so the byte-wise AND is put right at the next access to the
        controller (which the sequence demands: wait for BSY).

        Returns:
            False if the store is refused; the error flag says why.
        """
        cr = self._cr
        if cr & _LOCK or not cr & _PG or cr & (_SER | _MER):
            self._sr |= _SEQERR
            return False
        width = 1 << ((cr >> _PSIZE_SHIFT) & 3)
        # 64-bit parallelism needs external VPP; such stores reach here as two words.
        if size != width and not (width == 8 and size == 4):
            self._sr |= _PGPERR
            return False
        if offset % size:
            self._sr |= _PGAERR
            return False
        self._changing(offset, size)
        old = bytes(self._memory.data[offset : offset + size])
        new = bytes(a & b for a, b in zip(old, value.to_bytes(size, "little"), strict=True))
        if int.from_bytes(new, "little") != value:
            self._fixups.append((offset, new))
            self._words[native.PENDING] = 1
        self._done()
        return True

    def program_now(self, offset: int, size: int, value: int) -> bool:
        """Take a store by the debugger."""
        if not self.program(offset, size, value):
            return False
        self._memory.data[offset : offset + size] = value.to_bytes(size, "little")
        self._settle()
        return True

    def _settle(self) -> None:
        for offset, content in self._fixups:
            self._memory.data[offset : offset + len(content)] = content
        self._fixups.clear()
        self._words[native.PENDING] = 0

    def _changing(self, offset: int, count: int) -> None:
        for origin in self._memory.origins:
            self.invalidate(origin + offset, origin + offset + count)

    def _done(self) -> None:
        # RM0385 3.7.4: EOP is only set when its interrupt is enabled.
        if self._cr & _EOPIE:
            self._sr |= _EOP
