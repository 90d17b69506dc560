"""Flash interface of the STM32H743: two banks with registers of their own, 256-bit flash words.

RM0433, chapter FLASH. Stores fill a write buffer; a flash word is programmed when its 32 bytes are
there, or by FW. It carries an error-correcting code, so that it is programmed once after an erase.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

from harness.virtual.chip.bus import BusFault, Master, read_zero
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.stm32.flash import ACR, KEYS, KeyedFlash
from harness.virtual.chip.memory import ERASED

_BASE = 0x5200_2000
_KEYR, _OPTKEYR, _CR, _SR, _CCR, _OPTCR, _OPTSR_CUR, _OPTSR_PRG = range(0x04, 0x24, 4)
_BANK2 = 0x100  # from a register of bank 1 to the same of bank 2
_LOCK, _PG, _SER, _BER, _FW, _START = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 6, 1 << 7
_CR_RESET, _CR_BITS = 0x31, 0x1FEF_07FE
_CRC_EN, _PSIZE_SHIFT = 1 << 15, 4
_WBNE, _EOP, _PGSERR, _STRBERR, _INCERR = 1 << 1, 1 << 16, 1 << 18, 1 << 19, 1 << 21
_ERRORS = _PGSERR | _STRBERR | _INCERR
_CLEARABLE = 0x1FEF_0000
_OPTLOCK, _OPTSTART, _OPT_MER = 1 << 0, 1 << 1, 1 << 4
# As delivered: no protection, watchdog by software, no reset in Stop and Standby; reserved bits 0.
_OPTSR = 0x0006_AAD0
_WORD = 32
# Seconds of a sector of 128 KiB and of a flash word, at a parallelism of 64 bits; assumed: still to
# be compared with DS12110.
_ERASE_S = {128: 1.0}
_WORD_S = 100e-6


class _Bank:
    """Registers of a bank, and its write buffer."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.reset()

    def reset(self) -> None:
        """Lock, with an empty buffer."""
        self.cr, self.sr = _CR_RESET, 0
        self.key_step, self.blocked = 0, False
        # Offset of the flash word in the buffer; None while it is empty.
        self.at: int | None = None
        self.filled = 0  # bit for each byte of it that has come
        self.old = b""  # what it replaces


class FlashH7(KeyedFlash):
    """The flash interface registers and what they do to the flash array."""

    def __init__(self, to: Connections) -> None:
        super().__init__(to, _BASE, "RM0433, FLASH registers")
        self.erase_s, self.program_s = _ERASE_S, _WORD_S / _WORD
        self._bank_bytes = to.board.flash.bytes // 2
        self._banks = _Bank(0), _Bank(1)
        for bank in self._banks:
            first = bank.number * _BANK2
            # What both banks share is at the addresses of either.
            self.add(first + ACR, "ACR", write=self._write_acr, read=self._read_acr)
            self.add(first + _OPTKEYR, "OPTKEYR", read=read_zero, write=self._write_option_key)
            self.add(first + _OPTCR, "OPTCR", read=self._read_optcr, write=self._write_optcr)
            self.add(first + _OPTSR_CUR, "OPTSR_CUR", _OPTSR, writable=0)
            self.add(first + _OPTSR_PRG, "OPTSR_PRG", _OPTSR, write=self._write_options)
            key, cr = partial(self._write_bank_key, bank), partial(self._write_bank_cr, bank)
            self.add(first + _KEYR, f"KEYR{bank.number + 1}", read=read_zero, write=key)
            read = partial(self._read_bank_cr, bank)
            self.add(first + _CR, f"CR{bank.number + 1}", read=read, write=cr)
            read = partial(self._read_bank_sr, bank)
            self.add(first + _SR, f"SR{bank.number + 1}", writable=0, read=read)
            clear = partial(self._clear, bank)
            self.add(first + _CCR, f"CCR{bank.number + 1}", read=read_zero, write=clear)
        #: Sectors that were erased, by the parallelism in bytes; the fewer, the longer it takes.
        self.erased_by: Counter[int] = Counter()
        self._fixups: list[tuple[int, bytes]] = []
        self._optcr = _OPTLOCK
        self.values[ACR] = self.registers[ACR].reset = 0x37

    def reset(self) -> None:
        """Lock both banks; the array keeps its content, and write buffers are lost."""
        self._settle()
        for bank in self._banks:
            self._drop(bank)
            bank.reset()
        super().reset()
        self._optcr = _OPTLOCK

    # Registers.

    def _read_acr(self, _master: Master) -> int:
        return self.values[ACR]

    def _write_acr(self, value: int, _master: Master) -> None:
        self.values[ACR] = value & 0x3F

    def _write_bank_key(self, bank: _Bank, value: int, _master: Master) -> None:
        # A wrong key, or the keys for a bank that is unlocked, lock it until the next reset.
        if bank.blocked or not bank.cr & _LOCK or value != KEYS[bank.key_step]:
            bank.blocked, bank.cr = True, bank.cr | _LOCK
            raise BusFault
        bank.key_step = (bank.key_step + 1) % len(KEYS)
        if bank.key_step == 0:
            bank.cr &= ~_LOCK

    def unlock_options(self) -> None:
        """Clear OPTLOCK."""
        self._optcr &= ~_OPTLOCK

    def _read_optcr(self, _master: Master) -> int:
        return self._optcr

    def _write_optcr(self, value: int, _master: Master) -> None:
        if self._optcr & _OPTLOCK:
            return
        if value & _OPT_MER:
            for bank in self._banks:
                self._erase_bank(bank)
        if value & _OPTSTART and self.values[_OPTSR_PRG] != _OPTSR:
            raise self.unmodelled(_OPTCR, "change of the option bytes by write")
        self._optcr = value & _OPTLOCK

    def _write_options(self, value: int, _master: Master) -> None:
        if not self._optcr & _OPTLOCK and value != _OPTSR:
            raise self.unmodelled(_OPTSR_PRG, "change of the option bytes by write")

    def _settle(self) -> None:
        """Put right what was programmed, as the caller of `program` stores after it."""
        for at, content in self._fixups:
            self.memory.data[at : at + _WORD] = content
        self._fixups.clear()

    def _read_bank_cr(self, bank: _Bank, _master: Master) -> int:
        self._settle()
        return bank.cr

    def _read_bank_sr(self, bank: _Bank, _master: Master) -> int:
        self._settle()
        return bank.sr | (_WBNE if bank.at is not None else 0)

    def _clear(self, bank: _Bank, value: int, _master: Master) -> None:
        bank.sr &= ~(value & _CLEARABLE)

    def _write_bank_cr(self, bank: _Bank, value: int, _master: Master) -> None:
        self._settle()
        if bank.cr & _LOCK:
            return
        if value & _CRC_EN:
            raise self.unmodelled(bank.number * _BANK2 + _CR, "checksums by write")
        bank.cr = value & _CR_BITS & ~(_FW | _START) | value & _LOCK
        if value & _FW and bank.at is not None:
            self._finish(bank)
        if value & _START:
            self._start_erase(bank, value)
        if value & _LOCK:
            self.locked()

    def accept_cr(self, value: int) -> int:
        """Return `value`: the banks have registers of their own."""
        return value

    # The array.

    def start_erase(self, cr: int) -> None:
        """Do nothing: the banks have registers of their own."""

    def _start_erase(self, bank: _Bank, cr: int) -> None:
        if bank.sr & _ERRORS or cr & _PG or not cr & (_SER | _BER):
            bank.sr |= _PGSERR
        elif cr & _BER:
            self._erase_bank(bank)
        else:
            size = self._bank_bytes // 8
            number = cr >> 8 & 7
            start = bank.number * self._bank_bytes + number * size
            self.erased_by[1 << (cr >> _PSIZE_SHIFT & 3)] += 1
            self.erase(start, size, start // size)
            bank.sr |= _EOP

    def _erase_bank(self, bank: _Bank) -> None:
        self.erase(bank.number * self._bank_bytes, self._bank_bytes, None)
        bank.sr |= _EOP

    def program(self, offset: int, size: int, value: int) -> bool:
        """Take a store into the write buffer; the last of a flash word programs it."""
        bank = self._banks[offset // self._bank_bytes]
        start = offset & ~(_WORD - 1)
        bits = ((1 << size) - 1) << (offset - start)
        if bank.cr & (_LOCK | _PG) != _PG or bank.sr & _ERRORS:
            return self._refuse(bank, _PGSERR)
        if bank.at not in (None, start):
            return self._refuse(bank, _INCERR)
        if bank.at is not None and bank.filled & bits:
            return self._refuse(bank, _STRBERR)
        if bank.at is None:
            self.changing(start, _WORD)
            bank.at, bank.filled = start, 0
            bank.old = bytes(self.memory.data[start : start + _WORD])
        bank.filled |= bits
        if bank.filled == (1 << _WORD) - 1:
            # The caller stores `value` only afterwards.
            self.memory.data[offset : offset + size] = value.to_bytes(size, "little")
            self._finish(bank)
        return True

    def _finish(self, bank: _Bank) -> None:
        """Program what is in the write buffer; what has not come is erased."""
        at, old = bank.at, bank.old
        assert at is not None
        new = bytes(self.memory.data[at : at + _WORD])
        bank.at = None
        if old != bytes([ERASED]) * _WORD and new != old:
            self.warn(
                "flash words are programmed twice without an erase: on the chip their "
                "error-correcting codes would be wrong; here they keep their zeros"
            )
            self._fixups.append((at, bytes(a & b for a, b in zip(old, new, strict=True))))
        self.touch(at, _WORD)
        self._shared["programmed"] += _WORD
        bank.sr |= _EOP

    def program_now(self, offset: int, size: int, value: int) -> bool:
        """Take a store by the debugger."""
        taken = super().program_now(offset, size, value)
        self._settle()
        return taken

    def _refuse(self, bank: _Bank, flag: int) -> bool:
        bank.sr |= flag
        return False

    def _drop(self, bank: _Bank) -> None:
        """Forget what is in the write buffer."""
        if bank.at is not None:
            self.memory.data[bank.at : bank.at + _WORD] = bank.old
            bank.at = None
