"""Flash interface: unlock keys, sector erase, mass erase and programming.

RM0385 and RM0410 section 3 (STM32F7), RM0390 section 3 (STM32F446).
"""

from __future__ import annotations

from collections import Counter

from harness.virtual.chip.bus import Master
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.stm32.flash import ACR, LOCK, KeyedFlash

_BASE = 0x4002_3C00
_KEYR, _OPTKEYR, _SR, _CR, _OPTCR, _OPTCR1 = 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18

_PGAERR, _PGPERR, _SEQERR = 1 << 5, 1 << 6, 1 << 7
_SR_CLEARABLE = 0x1F3
_PG, _SER, _MER = 1 << 0, 1 << 1, 1 << 2
_PSIZE_SHIFT = 8

# ACR: the ART accelerator has one enable on the F7, three on the F4.
_ACR_BITS = {"stm32f7": 0x0000_0B0F, "stm32f4": 0x0000_1F0F}
_CR_BITS = {"stm32f7": 0x8301_83FF, "stm32f4": 0x8301_837F}
# Typical seconds by sector in KiB and of a word, at x32: DS10916 and DS11532 (F7), DS10693 (F446).
# As in tools/expected.py, they still have to be compared with the tables.
_ERASE_S = {
    "stm32f7": {32: 0.2, 128: 0.5, 256: 1.0},
    "stm32f4": {16: 0.25, 64: 0.55, 128: 1.0},
}
_WORD_S = 16e-6
# Option bytes as delivered, by DBGMCU device id: no protection, single bank.
_OPTCR_RESET = {0x449: 0xC0FF_AAFD, 0x451: 0xFFFF_AAFD, 0x421: 0x0FFF_AAED}
_OPTCR1_RESET = 0x0040_0080  # boot from 0x00200000 (BOOT0 low) or 0x00100000


class FlashF(KeyedFlash):
    """The flash interface registers and what they do to the flash array."""

    def __init__(self, to: Connections) -> None:
        super().__init__(to, _BASE, "RM0385 3.7, RM0410 3.7, RM0390 3.8")
        board = to.board
        self.erase_s, self.program_s = _ERASE_S[board.family], _WORD_S / 4
        #: Sectors that were erased, by the parallelism in bytes; the fewer, the longer it takes.
        self.erased_by: Counter[int] = Counter()
        self._snb_mask = 0x1F if board.facts.chip.device_id == 0x451 else 0xF
        self._cr_bits = _CR_BITS[board.family]
        # The compiled callbacks read and program where nothing depends on it.
        shared = self._shared
        shared["sr_at"], shared["cr_at"] = (_BASE & 0xFFF) + _SR, (_BASE & 0xFFF) + _CR
        self.add(ACR, "ACR", writable=_ACR_BITS[board.family])
        self.add_keys(_KEYR, _OPTKEYR)
        self.add_control(_SR, _CR, clearable=_SR_CLEARABLE)
        option = _OPTCR_RESET[board.facts.chip.device_id]
        self.add(_OPTCR, "OPTCR", option, write=self._write_options)
        if board.family == "stm32f7":
            self.add(_OPTCR1, "OPTCR1", _OPTCR1_RESET, writable=0)

    def reset(self) -> None:
        """Lock the controller; the array keeps its content."""
        self.settle()
        super().reset()

    def unlock_options(self) -> None:
        """Clear OPTLOCK."""
        self.values[_OPTCR] &= ~1

    # Registers.

    def _write_options(self, value: int, _master: Master) -> None:
        if self.values[_OPTCR] & 1:
            return
        if value & ~3 != self.values[_OPTCR] & ~3 or value & 2:
            raise self.unmodelled(_OPTCR, "change of the option bytes by write")
        self.values[_OPTCR] = (self.values[_OPTCR] & ~1) | (value & 1)

    def read_sr(self, _master: Master) -> int:
        """Return SR; what was programmed is then as it should be."""
        self.settle()
        return self.sr

    def accept_cr(self, value: int) -> int:
        """Put right what was programmed; return what CR then reads as."""
        self.settle()
        return value & self._cr_bits

    # The array.

    def start_erase(self, cr: int) -> None:
        """Erase a sector or everything."""
        if cr & _PG or not cr & (_SER | _MER):
            self.sr |= _SEQERR
            return
        number = (cr >> 3) & self._snb_mask
        if cr & _MER:
            start, count = 0, self.memory.bytes
        else:
            if number >= len(self._sectors):
                self.sr |= _SEQERR
                return
            start, count = self._sectors[number]
            self.erased_by[1 << (cr >> _PSIZE_SHIFT & 3)] += 1
        self.erase(start, count, None if cr & _MER else number)

    def program(self, offset: int, size: int, value: int) -> bool:
        """Take a store; the sequence demands to wait for BSY next."""
        cr = self.cr
        if cr & LOCK or not cr & _PG or cr & (_SER | _MER):
            return self.refuse(_SEQERR)
        width = 1 << ((cr >> _PSIZE_SHIFT) & 3)
        # 64-bit parallelism needs external VPP; such stores reach here as two words.
        if size != width and not (width == 8 and size == 4):
            return self.refuse(_PGPERR)
        if offset % size:
            return self.refuse(_PGAERR)
        self.clear_bits(offset, size, value)
        self.done()
        return True

    def program_now(self, offset: int, size: int, value: int) -> bool:
        """Take a store by the debugger."""
        taken = super().program_now(offset, size, value)
        self.settle()
        return taken
