"""External interrupts, and the system configuration that says which port drives a line.

RM0385 sections 11.9 and 7.2, RM0390 sections 10.3 and 8.2, RM0432 chapters EXTI and SYSCFG.
"""

from __future__ import annotations

from functools import partial

from harness.virtual.chip.bus import Master, Peripheral
from harness.virtual.chip.families.stm32.clocks import ClockController
from harness.virtual.chip.peripherals.nvic import Nvic

# Interrupt of each line of the first 16, on all the boards' chips.
_INTERRUPTS = (6, 7, 8, 9, 10, *[23] * 5, *[40] * 6)
_SYSCFG_BIT = {"stm32l4": 0}  # of APB2ENR; 14 on the others
_SYSCFG, _EXTI = 0x4001_3800, 0x4001_3C00
_BASES = {"stm32l4": 0x4001_0400, "stm32h7": 0x5800_0000}


class Exti(Peripheral):
    """Lines that software or a block of the chip triggers; nothing drives the pins.

    Args:
        family: Family of the chip.
        nvic: Takes the interrupts.
        interrupts: Interrupts of the lines from 16 on that the model has, by line.
    """

    def __init__(self, family: str, nvic: Nvic, interrupts: dict[int, int]) -> None:
        l4, h7 = family == "stm32l4", family == "stm32h7"
        base = _BASES.get(family, _EXTI)
        super().__init__("EXTI", base, "RM0385 11.9, RM0390 10.3, RM0432, RM0433")
        self._nvic = nvic
        self._interrupts = dict(enumerate(_INTERRUPTS)) | interrupts
        reset = 0xFF82_0000 if l4 else 0xFFC0_0000 if h7 else 0  # the direct lines
        self._imr, self._rtsr, self._pr, self._swier = (
            (0x80, 0x00, 0x88, 0x08) if h7 else (0x00, 0x08, 0x14, 0x10)
        )
        self.add(self._imr, "IMR", reset, changed=self._drive)
        self.add_storage(((self._imr + 4, "EMR"), (self._rtsr, "RTSR"), (self._rtsr + 4, "FTSR")))
        self.add(self._swier, "SWIER", write=self._trigger)
        self.add(self._pr, "PR", write=self._clear)
        if h7:
            for n in (2, 3):  # lines from 32 on, which nothing triggers
                at = 0x10 * (n - 1)
                self.add(0x80 + at, f"IMR{n}")
                self.add(0x84 + at, f"EMR{n}")
                self.add(0x88 + at, f"PR{n}", write=lambda _value, _master: None)
                for offset, name in ((0x00, "RTSR"), (0x04, "FTSR"), (0x08, "SWIER")):
                    self.add(offset + 2 * at, f"{name}{n}")
        if l4:
            self.add(0x20, "IMR2", 0x87)
            for offset, name in ((0x24, "EMR2"), (0x28, "RTSR2"), (0x2C, "FTSR2")):
                self.add(offset, name)
            self.add(0x34, "PR2", write=lambda _value, _master: None)

    def trigger(self, line: int) -> None:
        """Let a block of the chip trigger a line by a rising edge."""
        if self.values[self._rtsr] >> line & 1:
            self._set(1 << line)

    def _set(self, lines: int) -> None:
        self.values[self._pr] |= lines & self.values[self._imr]
        self._drive()

    def _trigger(self, value: int, _master: Master) -> None:
        self._set(value & ~self.values[self._swier])
        self.values[self._swier] |= value

    def _clear(self, value: int, _master: Master) -> None:
        self.values[self._pr] &= ~value
        self.values[self._swier] &= ~value
        self._drive()

    def _drive(self) -> None:
        pending = self.values[self._pr] & self.values[self._imr]
        high = dict.fromkeys(self._interrupts.values(), False)
        for line, number in self._interrupts.items():
            high[number] |= bool(pending >> line & 1)
        for number, level in high.items():
            self._nvic.set_line(number, level)


class Syscfg(Peripheral):
    """Memory remap and the ports of the external interrupts."""

    def __init__(self, family: str, rcc: ClockController) -> None:
        super().__init__("SYSCFG", 0x4001_0000 if family == "stm32l4" else _SYSCFG, "RM0385 7.2")
        self.gate = rcc, rcc.layout.apb["apb2"][0], _SYSCFG_BIT.get(family, 14)
        remap = "another memory at address 0"
        self.add(0x00, "MEMRMP", refuse=(0x7 if family != "stm32f7" else 0, remap))
        self.add(0x04, "PMC" if family != "stm32l4" else "CFGR1")
        for n in range(4):
            self.add(0x08 + 4 * n, f"EXTICR{n + 1}", writable=0xFFFF)
        if family == "stm32l4":
            # SRAM2 is not erased (SCSR); a write protection of it is not modelled.
            self.add(0x18, "SCSR", writable=0, refuse=(1, "erasing of SRAM2"))
            self.add(0x1C, "CFGR2", writable=0xF)
            self.add(0x20, "SWPR", refuse=(0xFFFF_FFFF, "write protection of SRAM2"))
            self.add(0x24, "SKR", write=lambda _value, _master: None)
            self.add(0x28, "SWPR2", refuse=(0xFFFF_FFFF, "write protection of SRAM2"))
        else:
            # The compensation cell is ready as soon as it is on.
            self.add(0x20, "CMPCR", writable=1, read=partial(self._compensation))

    def _compensation(self, _master: Master) -> int:
        return self.values[0x20] | self.values[0x20] << 8
