"""Connect the core and the debugger to registers; refuse what is not modelled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from harness.errors import VirtualError

_LOG = logging.getLogger(__name__)


class Master(Enum):
    """Who makes an access."""

    CORE = "core"
    DEBUGGER = "debugger"


class BusFault(Exception):
    """The bus answers with an error; the core takes a fault, the debugger sees one."""


Reader = Callable[[Master], int]
Writer = Callable[[int, Master], None]


def read_zero(_master: Master) -> int:
    """Read a register that has no value to read."""
    return 0


def ignore_write(_value: int, _master: Master) -> None:
    """Take a write that has no effect."""


@dataclass(slots=True)
class Register:
    """One 32-bit register."""

    name: str  # in the manual
    reset: int
    writable: int  # bits that a write changes; others keep their value
    refuse: tuple[int, str]  # bits that must not be set, and what setting them would be
    read: Reader | None  # computes the value instead of the stored one
    write: Writer | None  # takes the bits that are written instead of storing them
    changed: Callable[[], None] | None  # called when a write has been stored


class Peripheral:
    """A block of registers; `manual` names the manual and section of the layout."""

    #: Only a power-on reset clears the block, as with debug components.
    survives_reset = False

    def __init__(self, name: str, base: int, manual: str) -> None:
        self.name, self.base, self.manual = name, base, manual
        #: Bytes of address space; components of the core have a page each.
        self.size = 0x1000 if base >= 0xE000_0000 else 0x400
        self.registers: dict[int, Register] = {}
        #: Stored value of each register by offset.
        self.values: dict[int, int] = {}
        #: Clock controller, its register and bit that clock the block; None if always clocked.
        self.gate: tuple[Peripheral, int, int] | None = None
        self.before_write: Callable[[], None] | None = None
        self._warned: set[str] = set()

    def warn(self, text: str) -> None:
        """Log a warning, once."""
        if text not in self._warned:
            self._warned.add(text)
            _LOG.warning("%s", text)

    def add(
        self,
        offset: int,
        name: str,
        reset: int = 0,
        *,
        writable: int = 0xFFFF_FFFF,
        refuse: tuple[int, str] = (0, ""),
        read: Reader | None = None,
        write: Writer | None = None,
        changed: Callable[[], None] | None = None,
    ) -> None:
        """Declare a register."""
        self.registers[offset] = Register(name, reset, writable, refuse, read, write, changed)
        self.values[offset] = reset

    def add_storage(
        self, names: Iterable[tuple[int, str]], reset: int = 0, writable: int = 0xFFFF_FFFF
    ) -> None:
        """Declare registers that only keep the writable bits of what is written."""
        for offset, name in names:
            self.add(offset, name, reset, writable=writable)

    def reset(self) -> None:
        """Return every register to its reset value."""
        for offset, register in self.registers.items():
            self.values[offset] = register.reset

    def has(self, offset: int) -> bool:
        """Return whether there is a register at `offset`."""
        return offset in self.registers

    def read(self, offset: int, master: Master) -> int:
        """Read the 32-bit register at `offset` (a multiple of 4)."""
        register = self.registers.get(offset)
        if register is None:
            raise self.unmodelled(offset, "read")
        return self.values[offset] if register.read is None else register.read(master)

    def write(self, offset: int, value: int, mask: int, master: Master) -> None:
        """Write `value`, which is within `mask`, to these bits of the register at `offset`."""
        register = self.registers.get(offset)
        if register is None:
            raise self.unmodelled(offset, "write")
        bits, what = register.refuse
        if value & bits:
            raise self.unmodelled(offset, f"{what} by write")
        if self.before_write is not None:
            self.before_write()
        if register.write is not None:
            register.write(value, master)
            return
        self.store(offset, self.values[offset] & ~mask | value)
        if register.changed is not None:
            register.changed()

    def store(self, offset: int, value: int) -> None:
        """Store the writable bits of `value`."""
        writable = self.registers[offset].writable
        self.values[offset] = (self.values[offset] & ~writable) | (value & writable)

    def unmodelled(self, offset: int, verb: str) -> VirtualError:
        """Describe an access to a register that is not modelled."""
        return VirtualError(
            f"{verb} of {self.base + offset:#010x}, which is not modelled "
            f"({self.name}, offset {offset:#x})",
            expected=f"a register of {self.name} that the virtual board has ({self.manual})",
            fix="use a real board, or add the register to harness/virtual/chip/peripherals",
            address=self.base + offset,
            block=self.name,
        )


# Bit-band alias of the first megabyte of peripherals: a word for each bit (ARMv7-M ARM B3.1.1,
# Cortex-M4 TRM 3.7). ST's HAL for the F4 starts its clocks through it.
_BANDED, _ALIAS, _ALIAS_END = 0x4000_0000, 0x4200_0000, 0x4400_0000


def _bit_of(address: int) -> tuple[int, int]:
    """Return the word and the bit in it that an address of the alias stands for."""
    byte, bit = divmod((address - _ALIAS) >> 2, 8)
    return _BANDED + (byte & ~3), (byte & 3) * 8 + bit


class Bus:
    """Peripherals by address; with a bit-band alias of their bits if the core has one."""

    def __init__(self, peripherals: Iterable[Peripheral], *, bit_band: bool = False) -> None:
        self.peripherals = tuple(peripherals)
        self._aliased = range(_ALIAS, _ALIAS_END) if bit_band else range(0)
        self._warned = False  # that a debugger reads what is not modelled
        #: Blocks by address >> 10.
        self.by_block: dict[int, Peripheral] = {}
        for peripheral in self.peripherals:
            first = peripheral.base >> 10
            last = (peripheral.base + peripheral.size - 1) >> 10
            for block in range(first, last + 1):
                self.by_block[block] = peripheral

    def pages(self) -> list[range]:
        """Return the pages of 4 KiB that hold registers, then those of their bits."""
        pages = sorted({block >> 2 << 12 for block in self.by_block})
        bits = (_ALIAS + (page - _BANDED) * 32 for page in pages)
        return [
            *(range(page, page + 0x1000) for page in pages),
            *(range(at, at + 0x2_0000) for at in bits if at in self._aliased),
        ]

    def plain(self, address: int) -> int:
        """Return the address of the register that an address of a bit stands for, or itself."""
        return _bit_of(address)[0] if address in self._aliased else address

    def read(self, address: int, size: int, master: Master) -> int:
        """Read `size` bytes (1, 2 or 4) at `address`.

        Raises:
            VirtualError: Nothing there is modelled.
            BusFault: The chip answers with an error.
        """
        if address in self._aliased:
            word, bit = _bit_of(address)
            return self.read(word, 4, master) >> bit & 1
        peripheral = self.by_block.get(address >> 10)
        offset = (address & ~3) - peripheral.base if peripheral is not None else 0
        if master is Master.DEBUGGER and (peripheral is None or not peripheral.has(offset)):
            # Register views read whole blocks, with what is reserved in them.
            if not self._warned:
                _LOG.warning(
                    "the debugger reads %#010x, which is reserved or not modelled: it reads as 0, "
                    "and so do all such registers from now on",
                    address,
                )
            self._warned = True
            return 0
        shift = (address & 3) * 8
        word = self._find(address, "read", master).read(offset, master)
        return (word >> shift) & ((1 << 8 * size) - 1)

    def write(self, address: int, size: int, value: int, master: Master) -> None:
        """Write `size` bytes at `address`; raises as `read`."""
        if address in self._aliased:
            word, bit = _bit_of(address)
            old = self.read(word, 4, master)
            self.write(word, 4, old & ~(1 << bit) | (value & 1) << bit, master)
            return
        peripheral = self._find(address, "write", master)
        shift = (address & 3) * 8
        mask = ((1 << 8 * size) - 1) << shift
        peripheral.write((address & ~3) - peripheral.base, (value << shift) & mask, mask, master)

    def _find(self, address: int, verb: str, master: Master) -> Peripheral:
        peripheral = self.by_block.get(address >> 10)
        if peripheral is None:
            raise unmodelled(address, verb)
        if master is Master.CORE and peripheral.gate is not None:
            controller, offset, bit = peripheral.gate
            if not controller.values[offset] >> bit & 1:
                raise VirtualError(
                    f"{verb} of {address:#010x} ({peripheral.name}): its clock is off "
                    f"({controller.name}_{controller.registers[offset].name} bit {bit})",
                    expected="the firmware to enable a peripheral's clock before using it",
                    fix="correct the firmware; on the chip the access is lost",
                    address=address,
                    block=peripheral.name,
                )
        return peripheral


def unmodelled(address: int, verb: str) -> VirtualError:
    """Describe an access outside every modelled block."""
    return VirtualError(
        f"{verb} of {address:#010x}, where no peripheral is modelled",
        expected="a peripheral that the virtual board has",
        fix="use a real board, or add the peripheral to harness/virtual/chip/peripherals",
        address=address,
    )
