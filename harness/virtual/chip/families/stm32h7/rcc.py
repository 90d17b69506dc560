"""Reset and clock control of the STM32H743: HSI, CSI, HSE, PLL1, three domains' dividers.

RM0433, chapter RCC; limits of the clocks by voltage scale from DS12110.
"""

from __future__ import annotations

from functools import partial

from harness.virtual.chip.bus import Master
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.stm32.clocks import (
    CR,
    ClockController,
    Layout,
    prescaler,
)
from harness.virtual.chip.families.stm32h7.flash import FlashH7
from harness.virtual.chip.families.stm32h7.pwr import PwrH7, SyscfgH7
from harness.virtual.chip.peripherals.clock import ResetCause

_CFGR, _D1CFGR, _D2CFGR, _D3CFGR = 0x10, 0x18, 0x1C, 0x20
_PLLCKSELR, _PLLCFGR, _PLL1DIVR, _PLL1FRACR = 0x28, 0x2C, 0x30, 0x34
_D2CCIP2R, _RSR = 0x54, 0xD0
AHB4ENR, _APB1LENR, _APB2ENR, _APB4ENR = 0xE0, 0xE8, 0xF0, 0xF4
_HSI, _CSI, _PLL1, _CSI_HZ = 0, 1, 3, 4_000_000
_HSI48ON, _DOMAINS_READY, _RMVF = 1 << 12, 3 << 14, 1 << 16
_PLL1FRACEN, _PLL1VCOSEL, _DIVP1EN = 1 << 0, 1 << 1, 1 << 16

_STORED = (
    (0x04, "HSICFGR"), (0x08, "CRRCR"), (0x0C, "CSICFGR"), (0x4C, "D1CCIPR"), (0x50, "D2CCIP1R"),
    (_D2CCIP2R, "D2CCIP2R"), (0x58, "D3CCIPR"), (0x64, "CIFR"), (0x68, "CICR"), (0x7C, "AHB3RSTR"),
    (0x80, "AHB1RSTR"), (0x84, "AHB2RSTR"), (0x88, "AHB4RSTR"), (0x8C, "APB3RSTR"),
    (0x90, "APB1LRSTR"), (0x94, "APB1HRSTR"), (0x98, "APB2RSTR"), (0x9C, "APB4RSTR"), (0xA0, "GCR"),
    (0xA8, "D3AMR"), (0xD4, "AHB3ENR"), (0xD8, "AHB1ENR"), (0xDC, "AHB2ENR"), (AHB4ENR, "AHB4ENR"),
    (0xE4, "APB3ENR"), (_APB1LENR, "APB1LENR"), (0xEC, "APB1HENR"), (_APB2ENR, "APB2ENR"),
)  # fmt: skip
_SLEEP = (
    (0xFC, "AHB3LPENR"), (0x100, "AHB1LPENR"), (0x104, "AHB2LPENR"), (0x108, "AHB4LPENR"),
    (0x10C, "APB3LPENR"), (0x110, "APB1LLPENR"), (0x114, "APB1HLPENR"), (0x118, "APB2LPENR"),
    (0x11C, "APB4LPENR"),
)  # fmt: skip

_LAYOUT = Layout(
    base=0x5802_4400,
    manual="RM0433, RCC registers",
    cr_reset=0x1,
    cr_writable=0x150D_129B,
    internal=((1 << 0, 1 << 2), (1 << 7, 1 << 8)),
    csr=(0x74, 0, 1 << 0, 0),
    bdcr=(0x70, 0x1_833D),
    rtc_divider=None,
    apb={
        "apb1": (_APB1LENR, 4), "apb2": (_APB2ENR, 8), "apb3": (0xE4, 4), "apb4": (_APB4ENR, 4),
    },
    uart_select=None,
    hz_per_wait_state=70_000_000,
    cfgr=_CFGR,
    sws=3,
)  # fmt: skip
# Register with the divider of each APB bus.
_DIVIDERS = {"apb1": _D2CFGR, "apb2": _D2CFGR, "apb3": _D1CFGR, "apb4": _D3CFGR}
# By voltage scale 0 to 3: highest core clock; twice that of the buses, four times that of APB.
_HIGHEST_HZ = (480_000_000, 400_000_000, 300_000_000, 200_000_000)
# Highest clock of the flash with 0, 1, 2 ... wait states (RM0433 table 17).
_FLASH_HZ = (
    (70_000_000, 140_000_000, 210_000_000, 225_000_000, 240_000_000),
    (70_000_000, 140_000_000, 210_000_000, 225_000_000),
    (55_000_000, 110_000_000, 165_000_000, 225_000_000),
    (45_000_000, 90_000_000, 135_000_000, 180_000_000, 225_000_000),
)
_INPUT_HZ = (1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000)  # limits of PLL1RGE
# VCO: wide, medium (DS12110, revision V).
_VCO_HZ = ((192_000_000, 960_000_000), (150_000_000, 420_000_000))
# Flags in RSR; a power-on sets those of brown-out, pin and domains too, and every reset the core's.
_FLAGS = {
    ResetCause.BOR: 1 << 21, ResetCause.PIN: 1 << 22, ResetCause.SOFTWARE: 1 << 24,
    ResetCause.WATCHDOG: 1 << 26, ResetCause.POWER_ON: 0x1F << 19,
}  # fmt: skip
_CPURSTF = 1 << 17
_FIRST_KERNEL = {1: 3, 6: 3}  # lowest bit of a USART's clock selection; 0 for all others


class RccH7(ClockController):
    """The clock controller of the STM32H743."""

    def __init__(self, to: Connections, flash: FlashH7) -> None:
        super().__init__(to, flash, _LAYOUT)
        self.add(_APB4ENR, "APB4ENR", 0x1_0000)  # the RTC's registers are clocked
        self.pwr, self.syscfg = PwrH7(self), SyscfgH7(self)
        self.pwr.works = lambda: self.supply_works
        self.pwr.boosted = lambda: self.syscfg.overdrive
        for offset, name, writable in (
            (_D1CFGR, "D1CFGR", 0xF7F), (_D2CFGR, "D2CFGR", 0x770), (_D3CFGR, "D3CFGR", 0x70),
        ):  # fmt: skip
            write = partial(self._write_divider, offset)
            self.add(offset, name, writable=writable, write=write)
        self.add_storage(_STORED)
        self.add_storage(_SLEEP, 0xFFFF_FFFF)
        self.add(_PLLCKSELR, "PLLCKSELR", 0x0202_0200, writable=0x03F3_F3F3)
        self.add(_PLLCFGR, "PLLCFGR", 0x01FF_0000, writable=0x01FF_0FFF)
        for first in (_PLL1DIVR, 0x38, 0x40):
            number = (first - _PLL1DIVR) // 8 + 1
            self.add(first, f"PLL{number}DIVR", 0x0101_0280, writable=0x7F7F_FFFF)
            self.add(first + 4, f"PLL{number}FRACR", writable=0xFFF8)
        self.add(0x60, "CIER", refuse=(0xFFFF_FFFF, "enabling of interrupts"))
        self.add(_RSR, "RSR", read=self._read_rsr, write=self._write_rsr)

    def backup_writable(self) -> bool:
        """Return whether the backup domain takes writes."""
        return self.pwr.backup_writable

    # Registers.

    def read_cr(self, master: Master) -> int:
        """Return CR: all that is on is ready."""
        value = super().read_cr(master)
        divided = (value & 3 << 3 != 0) << 5  # HSIDIVF follows at once
        return value | divided | (value & _HSI48ON) << 1 | _DOMAINS_READY

    def reset_flags(self) -> int:
        """Return no flags: they are in RSR."""
        return 0

    def _read_rsr(self, _master: Master) -> int:
        flags = 0
        for cause, bits in _FLAGS.items():
            flags |= bits if self.causes & cause else 0
        return flags | (_CPURSTF if flags else 0)

    def _write_rsr(self, value: int, _master: Master) -> None:
        if value & _RMVF:
            self.causes = ResetCause(0)

    def _write_divider(self, offset: int, value: int, _master: Master) -> None:
        self.change_clock(offset, value)

    # Clocks.

    @property
    def pll_source(self) -> int:
        """HSI, CSI or HSE, by the same numbers as in SW."""
        source = self.values[_PLLCKSELR] & 3
        return -1 if source == 3 else source

    def pll_enabled(self) -> bool:
        """Return whether PLL1 is on, with its output to the system clock."""
        return super().pll_enabled() and bool(self.values[_PLLCFGR] & _DIVP1EN)

    def pll_factors(self) -> tuple[int, int]:
        """Return what PLL1 multiplies and divides by, in parts of 8192."""
        config, dividers = self.values[_PLLCFGR], self.values[_PLL1DIVR]
        m = self.values[_PLLCKSELR] >> 4 & 0x3F
        n, p = (dividers & 0x1FF) + 1, (dividers >> 9 & 0x7F) + 1
        fraction = self.values[_PLL1FRACR] >> 3 if config & _PLL1FRACEN else 0
        if m == 0 or n < 4 or (p > 1 and p % 2):
            raise self.broken(
                f"DIVM1 is {m}, DIVN1 {n} and DIVP1 {p}", "1 to 63, 4 to 512, and 1 or even",
                "RCC_PLL1DIVR",
            )  # fmt: skip
        source = self.source_hz(self.pll_source) / max(1.0, self.drift)
        input_hz, vco_hz = source / m, source / m * (n + fraction / 8192)
        selected = config >> 2 & 3
        low, high = _INPUT_HZ[selected : selected + 2]
        least, most = _VCO_HZ[1 if config & _PLL1VCOSEL else 0]
        if not low <= input_hz <= high or not least <= vco_hz <= most:
            raise self.broken(
                f"PLL1 runs from {input_hz:.0f} Hz at {vco_hz:.0f} Hz",
                f"{low} to {high} Hz (PLL1RGE), and {least} to {most} Hz (PLL1VCOSEL)",
                "RCC_PLLCFGR",
            )
        return n * 8192 + fraction, m * p * 8192

    def source_hz(self, source: int) -> int:
        """Return the frequency of HSI, CSI or HSE."""
        if source == _CSI:
            return _CSI_HZ
        hz = super().source_hz(source)
        return hz >> (self.values[CR] >> 3 & 3) if source == _HSI else hz

    @property
    def hclk_hz(self) -> int:
        """Core clock."""
        return self.sysclk_hz >> prescaler(self.values[_D1CFGR] >> 8 & 0xF)

    @property
    def ahb_hz(self) -> int:
        """Clock of AXI, AHB and flash."""
        return self.hclk_hz >> prescaler(self.values[_D1CFGR] & 0xF)

    def apb_hz(self, bus: str) -> int:
        """Clock of an APB bus."""
        code = self.values[_DIVIDERS[bus]] >> self.layout.apb[bus][1] & 7
        return self.ahb_hz >> ((code & 3) + 1 if code & 4 else 0)

    def rtc_divider(self) -> int:
        """Return what HSE is divided by for the RTC."""
        return self.values[_CFGR] >> 8 & 0x3F

    def usart_hz(self, number: int, bus: str) -> int | None:
        """Return the clock of a USART; None for PLL2, PLL3 and LSE, which are not modelled."""
        select = self.values[_D2CCIP2R] >> _FIRST_KERNEL.get(number, 0) & 7
        return {0: self.apb_hz(bus), 3: self.source_hz(_HSI), 4: _CSI_HZ}.get(select)

    def check_supply(self, hclk: int, nominal: float, _before: int) -> None:
        """Require the supply and the voltage scale that the clocks need."""
        if self.values[_CFGR] & 7 > 3:
            raise self.broken("SW selects nothing (more than 3)", "0 (HSI) to 3 (PLL1)")
        scale = self.pwr.scale
        highest = _HIGHEST_HZ[scale]
        if round(nominal) > highest:
            raise self.broken(
                f"{hclk} Hz is selected at voltage scale {scale}",
                f"at most {highest} Hz; PWR_D3CR.VOS and SYSCFG_PWRCR.ODEN first",
            )
        if self.active and not self.pwr.supplied:
            raise self.broken("PWR_CR3 has not been written since power-on", "LDOEN alone in it")
        if self.active != _PLL1:
            return  # after reset HSI drives every bus undivided, at voltage scale 3
        share = nominal / hclk
        buses = {"AXI": self.ahb_hz * 2, **{b: 4 * self.apb_hz(b) for b in _DIVIDERS}}
        for bus, scaled in buses.items():
            if round(scaled * share) > highest:
                limit = highest // (2 if bus == "AXI" else 4)
                raise self.broken(f"{bus} is faster than {limit} Hz", "larger dividers in D1CFGR, "
                                  "D2CFGR and D3CFGR first", "RCC_D1CFGR")  # fmt: skip

    def wait_states_for(self, nominal: float) -> int:
        """Return the wait states that the flash needs at a core clock in Hz."""
        axi = round(nominal * self.ahb_hz / self.hclk_hz)
        table = _FLASH_HZ[self.pwr.scale]
        return next((n for n, highest in enumerate(table) if axi <= highest), len(table))
