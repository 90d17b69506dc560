"""Flash: the NVMC with its cache of code, the factory's registers (FICR) and the user's (UICR).

nRF52840 Product Specification v1.7, chapters NVMC, FICR and UICR.
"""

from __future__ import annotations

from harness.virtual.chip.bus import BusFault, Master, Peripheral, read_zero
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.nrf52.block import BYTES
from harness.virtual.chip.memory import ERASED
from harness.virtual.chip.peripherals.flash import FlashInterface
from harness.virtual.chip.peripherals.identity import unique_id

_CONFIG, _ICACHECNF = 0x504, 0x540
_READ_ONLY, _WRITE, _ERASE = 0, 1, 2
_CACHEEN, _CACHEPROFEN = 1 << 0, 1 << 8
_WORD = 4
# Typical seconds of a page and a word (NVMC, electrical specification).
_ERASE_S = {4: 0.085}
_WORD_S = 41e-6
# CR as the compiled callbacks know it: programming by words, or nothing.
_PROGRAMMING, _IDLE = 1 | 2 << 8, 1 << 31
_UICR_WORDS = 0x400 // _WORD
_APPROTECT = 0x208 // _WORD


class Nvmc(FlashInterface):
    """The controller, and what it does to the flash array."""

    def __init__(self, to: Connections) -> None:
        super().__init__(to, 0x4001_E000, "nRF52840 PS, NVMC")
        self.size = BYTES
        self.erase_s, self.program_s = _ERASE_S, _WORD_S / _WORD
        self._page_bytes = to.board.facts.flash_sectors[0].bytes
        self._observer = to.observer
        self.uicr = Uicr(self)
        for offset, name in ((0x400, "READY"), (0x408, "READYNEXT")):
            self.add(offset, name, 1, writable=0, read=self._read_ready)
        self.add(_CONFIG, "CONFIG", writable=3, changed=self._follow_config)
        for offset, name in ((0x508, "ERASEPAGE"), (0x510, "ERASEPCR0")):
            self.add(offset, name, read=read_zero, write=self._erase_page)
        self.add(0x50C, "ERASEALL", read=read_zero, write=self._erase_all)
        self.add(0x514, "ERASEUICR", read=read_zero, write=self._erase_uicr)
        self.add(0x518, "ERASEPAGEPARTIAL", refuse=(0xFFFF_FFFF, "partial erase of a page"))
        self.add(0x51C, "ERASEPAGEPARTIALCFG", 0xA, writable=0x7F)
        profiling = _CACHEPROFEN, "profiling of the cache"
        self.add(
            _ICACHECNF, "ICACHECNF", writable=_CACHEEN, refuse=profiling, changed=self._follow_cache
        )
        self.add_storage(((0x548, "IHIT"), (0x54C, "IMISS")), writable=0)

    def reset(self) -> None:
        """Allow reading only, without the cache."""
        super().reset()
        self._follow_config()
        self._follow_cache()

    def erase_chip(self) -> None:
        """Erase flash and UICR."""
        self.erase(0, self.memory.bytes, None)
        self.uicr.erase()

    @property
    def writable(self) -> bool:
        """Whether words may be written."""
        return self.values[_CONFIG] == _WRITE

    def _read_ready(self, _master: Master) -> int:
        self.settle()
        return 1

    def _follow_config(self) -> None:
        self.settle()
        self.cr = _PROGRAMMING if self.writable else _IDLE
        if self.values[_CONFIG] == _READ_ONLY:
            self.locked()

    def _follow_cache(self) -> None:
        if self._observer is not None:
            self._observer.enable_accelerator(bool(self.values[_ICACHECNF] & _CACHEEN))

    def _may_erase(self) -> bool:
        if self.values[_CONFIG] != _ERASE:
            self.warn("the firmware erases flash without CONFIG.WEN = Een, which does nothing")
            return False
        return True

    def _erase_page(self, value: int, _master: Master) -> None:
        start = value & -self._page_bytes
        if self._may_erase() and start < self.memory.bytes:
            self.erase(start, self._page_bytes, start // self._page_bytes)

    def _erase_all(self, value: int, _master: Master) -> None:
        if value & 1 and self._may_erase():
            self.erase_chip()

    def _erase_uicr(self, value: int, _master: Master) -> None:
        if value & 1 and self._may_erase():
            self.uicr.erase()

    def program(self, offset: int, size: int, value: int) -> bool:
        """Take a word; anything else, or without CONFIG.WEN = Wen, is a fault."""
        if not self.writable or size != _WORD or offset % _WORD:
            return False
        self.clear_bits(offset, size, value)
        return True

    def program_now(self, offset: int, size: int, value: int) -> bool:
        """Take a store by the debugger."""
        taken = super().program_now(offset, size, value)
        self.settle()
        return taken


class Uicr(Peripheral):
    """The user's registers, which are flash: writing clears bits, and no reset changes them."""

    survives_reset = True

    def __init__(self, nvmc: Nvmc) -> None:
        super().__init__("UICR", 0x1000_1000, "nRF52840 PS, UICR")
        self.size = BYTES
        self._nvmc = nvmc
        self._words = [0] * _UICR_WORDS
        self.erase()

    @property
    def approtect(self) -> int:
        """APPROTECT."""
        return self._words[_APPROTECT]

    def erase(self) -> None:
        """Set all bits."""
        self._words = [ERASED * 0x0101_0101] * _UICR_WORDS

    def has(self, offset: int) -> bool:
        """Return whether there is a register at `offset`."""
        return 0 <= offset < _UICR_WORDS * _WORD

    def read(self, offset: int, master: Master) -> int:
        """Read a register."""
        del master
        if not self.has(offset):
            raise self.unmodelled(offset, "read")
        return self._words[offset // _WORD]

    def write(self, offset: int, value: int, mask: int, master: Master) -> None:
        """Write a register, as a word of flash."""
        if not self.has(offset):
            raise self.unmodelled(offset, "write")
        if not self._nvmc.writable or mask != 0xFFFF_FFFF:
            if master is Master.CORE:
                raise self.unmodelled(offset, "write, without CONFIG.WEN = Wen or not of a word,")
            raise BusFault("UICR takes words, while NVMC.CONFIG.WEN is Wen")
        self._words[offset // _WORD] &= value


class Ficr(Peripheral):
    """What the factory has written."""

    def __init__(self, to: Connections) -> None:
        super().__init__("FICR", 0x1000_0000, "nRF52840 PS, FICR")
        self.size = BYTES
        board = to.board
        name = board.id if to.number == 1 else f"{board.id}#{to.number}"
        uid = unique_id(name)
        #: DEVICEID, 64 bits.
        self.uid = uid[:8]
        words = [int.from_bytes(uid[n : n + 4], "little") for n in (0, 4, 8)]
        pages = board.facts.flash_sectors[0]
        # QIAAD0, the last build code whose debug port is open until UICR closes it. MDK tells build
        # codes by the two words at 0x130, which the specification does not name.
        known = {
            0x010: pages.bytes, 0x014: pages.count, 0x060: words[0], 0x064: words[1],
            0x0A0: 1, 0x0A4: words[2], 0x0A8: words[1] & 0xFFFF,
            0x100: board.facts.chip.device_id, 0x104: int.from_bytes(b"AAD0", "big"),
            0x108: 0x2004, 0x10C: board.ram_bytes >> 10, 0x110: board.flash.bytes >> 10,
            0x130: 8, 0x134: 3,
        }  # fmt: skip
        for offset in range(0, 0x500, _WORD):
            self.add(offset, f"0x{offset:03X}", known.get(offset, 0xFFFF_FFFF), writable=0)


class PartInfo(Peripheral):
    """Identification registers at 0xF0000FE0, by which older firmware tells build codes."""

    def __init__(self) -> None:
        super().__init__("part information", 0xF000_0000, "MDK's system_nrf52.c before 2019")
        for offset, value in ((0xFE0, 0x08), (0xFE4, 0x00), (0xFE8, 0x30), (0xFEC, 0x00)):
            self.add(offset, f"0x{offset:03X}", value, writable=0)
