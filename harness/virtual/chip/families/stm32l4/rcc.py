"""Reset and clock control of the STM32L4+: MSI, LSE, PLL, voltage ranges.

RM0432, chapter RCC; wait states and voltage ranges from chapters FLASH and PWR.
"""

from __future__ import annotations

from harness.virtual.chip.bus import Master
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.stm32.clocks import CR, ClockController, Layout
from harness.virtual.chip.families.stm32l4.flash import FlashL4
from harness.virtual.chip.families.stm32l4.pwr import PwrL4

_PLLCFGR = 0x0C
AHB2ENR, _APB1ENR1, _APB2ENR, _CCIPR = 0x4C, 0x58, 0x60, 0x88
_MSIPLLEN, _MSIRGSEL = 1 << 2, 1 << 3
_PLLREN = 1 << 24
_MSI_HZ = (100_000, 200_000, 400_000, 800_000, 1_000_000, 2_000_000,
           4_000_000, 8_000_000, 16_000_000, 24_000_000, 32_000_000, 48_000_000)  # fmt: skip
_MSI, _MSI_RESET_RANGE = 0, 6

_STORED = (
    (0x04, "ICSCR"), (0x10, "PLLSAI1CFGR"), (0x14, "PLLSAI2CFGR"), (0x28, "AHB1RSTR"),
    (0x2C, "AHB2RSTR"), (0x30, "AHB3RSTR"), (0x38, "APB1RSTR1"), (0x3C, "APB1RSTR2"),
    (0x40, "APB2RSTR"), (AHB2ENR, "AHB2ENR"), (0x50, "AHB3ENR"),
    (0x5C, "APB1ENR2"), (_APB2ENR, "APB2ENR"), (_CCIPR, "CCIPR"), (0x98, "CRRCR"),
    (0x9C, "CCIPR2"),
)  # fmt: skip
_SLEEP = (
    (0x68, "AHB1SMENR"), (0x6C, "AHB2SMENR"), (0x70, "AHB3SMENR"), (0x78, "APB1SMENR1"),
    (0x7C, "APB1SMENR2"), (0x80, "APB2SMENR"),
)  # fmt: skip
_WITHOUT_BOOST_HZ = 80_000_000
_RANGE2_HZ = 26_000_000

_LAYOUT = Layout(
    base=0x4002_1000,
    manual="RM0432, RCC registers",
    cr_reset=0x63,
    cr_writable=0x150D_0BFD,
    internal=((1 << 0, 1 << 1), (1 << 8, 1 << 10)),
    csr=(0x94, 0x600, 0xF01, 1 << 23),
    bdcr=(0x90, 0x301_833D),
    rtc_divider=32,
    apb={"apb1": (_APB1ENR1, 8), "apb2": (_APB2ENR, 11)},
    uart_select=(_CCIPR, 8),
    hz_per_wait_state=20_000_000,  # in range 1
)


class RccL4(ClockController):
    """The clock controller of the STM32L4+."""

    def __init__(self, to: Connections, flash: FlashL4) -> None:
        super().__init__(to, flash, _LAYOUT)
        self.pwr = PwrL4(self)
        self.add_storage(_STORED)
        self.add_storage(_SLEEP, 0xFFFF_FFFF)
        self.add(_PLLCFGR, "PLLCFGR", 0x1000)
        self.add(0x18, "CIER", refuse=(0xFFFF_FFFF, "enabling of interrupts"))
        self.add(0x48, "AHB1ENR", 0x100)
        self.add(_APB1ENR1, "APB1ENR1", 0x400)  # the RTC's registers are clocked

    def backup_writable(self) -> bool:
        """Return whether the backup domain takes writes."""
        return self.pwr.backup_writable

    # Registers.

    def write_cr(self, value: int, _master: Master) -> None:
        """Switch oscillators; refuse what the chip would not run on."""
        if value & _MSIPLLEN and not self.lse_runs():
            raise self.broken("MSIPLLEN without a running LSE", "LSERDY first", "RCC_CR")
        # MSIRGSEL cannot be cleared, and until it is set the range is not MSIRANGE's.
        self.change_clock(CR, value | self.values[CR] & _MSIRGSEL)

    def lse_runs(self) -> bool:
        """Return whether the low-speed crystal's oscillator runs."""
        has_crystal = self.facts.clock.msi_hz is not None
        return has_crystal and super().lse_runs()

    def reset_flags(self) -> int:
        """Return the flags; a power-on and a brown-out share one, where others have POWER_ON."""
        flags = super().reset_flags()
        supply = flags >> 25 & 1 | flags >> 27 & 1
        return flags & ~(1 << 25 | 1 << 27) | supply << 27

    # Clocks.

    @property
    def pll_source(self) -> int:
        """MSI, HSI16 or HSE; in PLLCFGR one higher than in SW, as 0 is none."""
        return (self.values[_PLLCFGR] & 3) - 1

    def pll_enabled(self) -> bool:
        """Return whether the PLL is on, with its output to the system clock."""
        return super().pll_enabled() and bool(self.values[_PLLCFGR] & _PLLREN)

    def pll_factors(self) -> tuple[int, int]:
        """Return N and M * R."""
        pll = self.values[_PLLCFGR]
        m, n, r = (pll >> 4 & 0xF) + 1, pll >> 8 & 0x7F, 2 * ((pll >> 25 & 3) + 1)
        if n < 8:
            raise self.broken(f"PLLN is {n}", "PLLN of 8 to 127", "RCC_PLLCFGR")
        return n, m * r

    def source_hz(self, source: int) -> int:
        """Return the frequency of MSI, HSI16 or HSE."""
        if source != _MSI:
            return super().source_hz(source)
        value = self.values[CR]
        number = value >> 4 & 0xF if value & _MSIRGSEL else _MSI_RESET_RANGE
        if number >= len(_MSI_HZ):
            raise self.broken(f"MSIRANGE is {number}", "0 to 11", "RCC_CR")
        locked = bool(value & _MSIPLLEN) and self.lse_runs()
        return round(_MSI_HZ[number] * (self.drift if locked else 1.0))

    def check_supply(self, hclk: int, nominal: float, before: int) -> None:
        """Require the voltage range, boost mode and the steps that a core clock needs."""
        if nominal > _WITHOUT_BOOST_HZ and not self.pwr.boost:
            self.warn(
                f"{self.board.id}: the firmware selects {hclk} Hz without boost mode "
                "(PWR_CR5.R1MODE = 0), which the manual does not allow; chips are known to run"
            )
        if nominal > _RANGE2_HZ and not self.pwr.range1:
            raise self.broken(f"{hclk} Hz is selected in voltage range 2", "PWR_CR1.VOS = 1")
        if nominal > _WITHOUT_BOOST_HZ and before < hclk // 2:
            raise self.broken(
                f"from {before} Hz to {hclk} Hz at once", "a step at half of it (HPRE) before"
            )
