"""Just enough of a chip to run the firmware's command loop: no timing, no debug port, no checks.

The virtual board is the real thing; this one needs nothing but Unicorn, so that the firmware's own
tests do not depend on a later stage.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TIM2_CNT = 0x4000_0024
_PWR_CSR, _PWR_SR2 = 0x4000_7004, 0x4000_7014
_CYCCNT = 0xE000_1004


@dataclass(frozen=True)
class Family:
    """Where a family of chips has what its firmware waits for.

    Attributes:
        uid: Unique id.
        usart: Status, receive and send register.
        rcc: Clock controller.
        csr: Offset of CSR.
    """

    uid: int
    usart: tuple[int, int, int]
    rcc: int
    csr: int


FAMILIES = {
    "stm32f4": Family(0x1FFF_7A10, (0x4000_4400, 0x4000_4404, 0x4000_4404), 0x4002_3800, 0x74),
    "stm32f7": Family(0x1FF0_F420, (0x4000_481C, 0x4000_4824, 0x4000_4828), 0x4002_3800, 0x74),
    "stm32l4": Family(0x1FFF_7590, (0x4000_801C, 0x4000_8024, 0x4000_8028), 0x4002_1000, 0x94),
}


class BareChip:
    """Runs an ELF on an emulated core with a console, a clock tree that is always ready and UID."""

    def __init__(
        self,
        elf: Path,
        *,
        family: str = "stm32f7",
        cpu: str = "cortex-m7",
        hse: bool = True,
        stuck: dict[int, int] | None = None,  # what registers read as, whatever is written
    ) -> None:
        import unicorn
        from elftools.elf.elffile import ELFFile
        from unicorn import arm_const

        self._arm: Any = arm_const
        self._family = FAMILIES[family]
        self._l4 = family == "stm32l4"
        self._hse = hse
        self._stuck = stuck or {}
        self._registers: dict[int, int] = {}
        self.sent = bytearray()
        self._queue = bytearray()
        self._idle = 0
        self._time = 0
        self.jump = 0  # cycles that pass before the next reading but one of the cycle counter
        self._readings = 0
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
        model = "UC_CPU_ARM_CORTEX_M4" if cpu == "cortex-m4" else "UC_CPU_ARM_CORTEX_M7"
        self.uc.ctl_set_cpu_model(getattr(arm_const, model))
        self.uc.mem_map(0x0800_0000, 2 << 20)
        self.uc.mem_map(0x2000_0000, 640 << 10)
        uid = self._family.uid
        self.uc.mem_map(uid & ~0xFFF, 0x1000)
        self.uc.mem_write(uid, struct.pack("<III", 0x11223344, 0x55667788, 0x99AABBCC))
        self.uc.mmio_map(0x4000_0000, 0x80000, self._read, 0x4000_0000, self._write, 0x4000_0000)
        if self._l4:
            gpio = 0x4800_0000
            self.uc.mmio_map(gpio, 0x3000, self._read, gpio, self._write, gpio)
        self.uc.mmio_map(0xE000_0000, 0x100000, self._read, 0xE000_0000, self._write, 0xE000_0000)
        self.symbols: dict[str, int] = {}
        with elf.open("rb") as stream:
            image = ELFFile(stream)
            for segment in image.iter_segments("PT_LOAD"):
                if segment["p_filesz"]:
                    self.uc.mem_write(segment["p_paddr"], segment.data())
            for symbol in image.get_section_by_name(".symtab").iter_symbols():
                self.symbols[symbol.name] = symbol["st_value"]
        stack, self._pc = struct.unpack("<II", self.uc.mem_read(0x0800_0000, 8))
        self.uc.reg_write(arm_const.UC_ARM_REG_SP, stack)

    def send(self, data: bytes = b"", *, timeout_s: float = 20) -> bytes:
        """Send `data`; run until the firmware waits for more, and return what it said."""
        self._queue += data
        self.sent.clear()
        self._idle = 0
        self.uc.emu_start(self._pc | 1, 0, timeout=int(timeout_s * 1e6))
        self._pc = self.uc.reg_read(self._arm.UC_ARM_REG_PC)
        return bytes(self.sent)

    def call(self, name: str, *, sp: int) -> bytes:
        """Run a function that does not return, for a moment, with its own stack pointer."""
        self.sent.clear()
        self._idle = 0
        self.uc.reg_write(self._arm.UC_ARM_REG_SP, sp)
        self.uc.emu_start(self.symbols[name] | 1, 0, timeout=500_000)
        return bytes(self.sent)

    def stack_pointer(self) -> int:
        """Return the stack pointer."""
        return int(self.uc.reg_read(self._arm.UC_ARM_REG_SP))

    def _usart(self, name: str) -> int:
        return self._family.usart[("status", "receive", "send").index(name)]

    def _clocks(self, offset: int, value: int) -> int:
        """Return a clock register whose ready flags follow the enables."""
        on = self._hse
        if offset == 0 and self._l4:  # MSI and HSI are always there
            return value | 0x402 | (value & 1 << 24) << 1
        if offset == 0:
            return value | (value & 1 << 16 if on else 0) << 1 | (value & 1 << 24) << 1
        if offset == 0x08:
            return value & ~0xC | (value & 3) << 2
        if offset == 0x90 and self._l4:
            return value | (value & 1 if on else 0) << 1
        return 1 << 26 if offset == self._family.csr else value

    def _read(self, _uc: object, offset: int, _size: int, base: int) -> int:
        address = base + offset
        if address in self._stuck:
            return self._stuck[address]
        value = self._registers.get(address, 0)
        if address in (_CYCCNT, _TIM2_CNT):
            return self._now(address)
        if 0 <= address - self._family.rcc < 0x400:
            return self._clocks(address - self._family.rcc, value)
        if address == _PWR_CSR and not self._l4:
            return 0xFFFF_FFFF
        if address == _PWR_SR2:
            return 0
        if address == self._usart("status"):
            if self._queue:
                return 0xE0
            self._idle += 1
            if self._idle > 4:
                self.uc.emu_stop()
            return 0xC0
        if address == self._usart("receive"):
            return self._queue.pop(0) if self._queue else 0
        return value

    def _now(self, address: int) -> int:
        self._time += 1000
        if self.jump and address == _CYCCNT:
            self._readings += 1
            if self._readings == 2:
                self._time += self.jump
                self.jump = 0
        return self._time & 0xFFFF_FFFF if address == _CYCCNT else self._time // 216

    def _write(self, _uc: object, offset: int, _size: int, value: int, base: int) -> None:
        address = base + offset
        self._registers[address] = value
        if address == self._usart("send"):
            self._idle = 0
            self.sent.append(value & 0xFF)
