"""Reset and clock control: PLL, over-drive, peripheral clocks.

RM0385 and RM0410 section 5 (STM32F7), RM0390 section 6 (STM32F446).
"""

from __future__ import annotations

from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.stm32.clocks import CFGR, ClockController, Layout
from harness.virtual.chip.families.stm32f.flash import FlashF
from harness.virtual.chip.families.stm32f.pwr import PwrF

_PLLCFGR, _PLLSRC_HSE = 0x04, 1 << 22
_HSI, _HSE = 0, 1
AHB1ENR = 0x30

_STORED = (
    (0x10, "AHB1RSTR"), (0x14, "AHB2RSTR"), (0x18, "AHB3RSTR"), (0x20, "APB1RSTR"),
    (0x24, "APB2RSTR"), (0x34, "AHB2ENR"), (0x38, "AHB3ENR"), (0x40, "APB1ENR"), (0x44, "APB2ENR"),
    (0x80, "SSCGR"),
)  # fmt: skip
_LOW_POWER = (
    (0x50, "AHB1LPENR"), (0x54, "AHB2LPENR"), (0x58, "AHB3LPENR"), (0x60, "APB1LPENR"),
    (0x64, "APB2LPENR"),
)  # fmt: skip
_PLLS = ((_PLLCFGR, "PLLCFGR"), (0x84, "PLLI2SCFGR"), (0x88, "PLLSAICFGR"))
_KERNEL_CLOCKS = {
    "stm32f7": ((0x8C, "DCKCFGR1"), (0x90, "DCKCFGR2")),
    "stm32f4": ((0x8C, "DCKCFGR"), (0x90, "CKGATENR"), (0x94, "DCKCFGR2")),
}
# Over-drive is needed above these (RM0385 4.1.4, RM0390 5.1.4).
_WITHOUT_OVERDRIVE_HZ = {"stm32f7": 180_000_000, "stm32f4": 168_000_000}


class RccF(ClockController):
    """The clock controller of the STM32F4 and F7."""

    def __init__(self, to: Connections, flash: FlashF, pwr: PwrF) -> None:
        family = to.board.family
        f7 = family == "stm32f7"
        layout = Layout(
            base=0x4002_3800,
            manual="RM0385 5.3, RM0410 5.3, RM0390 6.3",
            cr_reset=0x83,
            cr_writable=0x150D_00F9,
            internal=((1 << 0, 1 << 1),),
            csr=(0x74, 0, 1 << 0, 1 << 24),
            bdcr=(0x70, 0x1_831D),
            rtc_divider=None,
            apb={"apb1": (0x40, 10), "apb2": (0x44, 13)},
            uart_select=(0x90, -2) if f7 else None,
            hz_per_wait_state=30_000_000,  # at 2.7-3.6 V (RM0385 table 5, RM0390 table 5)
        )
        super().__init__(to, flash, layout)
        self._pwr = pwr
        pwr.works = lambda: self.supply_works
        self._without_overdrive_hz = _WITHOUT_OVERDRIVE_HZ[family]
        self.add(0x0C, "CIR", writable=0, refuse=(0x7F00, "enabling of interrupts"))
        self.add(AHB1ENR, "AHB1ENR", 0x0010_0000 if f7 else 0)
        self.add_storage(_STORED)
        self.add_storage(_LOW_POWER, 0xFFFF_FFFF)
        self.add_storage(_PLLS, 0x2400_3010)
        self.add_storage(_KERNEL_CLOCKS[family])

    def backup_writable(self) -> bool:
        """Return whether the backup domain takes writes."""
        return self._pwr.backup_writable

    @property
    def pll_source(self) -> int:
        """HSE or HSI."""
        return _HSE if self.values[_PLLCFGR] & _PLLSRC_HSE else _HSI

    def pll_factors(self) -> tuple[int, int]:
        """Return N and M * P."""
        pll = self.values[_PLLCFGR]
        m, n, p = pll & 0x3F, pll >> 6 & 0x1FF, 2 * ((pll >> 16 & 3) + 1)
        if m < 2 or n < 50:
            raise self.broken(f"PLLM is {m} and PLLN {n}", "PLLM of 2 to 63 and PLLN of 50 to 432")
        return n, m * p

    def check_supply(self, hclk: int, nominal: float, _before: int) -> None:
        """Require over-drive for the highest clocks."""
        if self.values[CFGR] & 3 == 3:
            raise self.broken(
                "SW selects nothing (3 is not allowed)", "0 (HSI), 1 (HSE) or 2 (PLL)"
            )
        if nominal > self._without_overdrive_hz and not self._pwr.overdrive:
            raise self.broken(f"{hclk} Hz is selected without over-drive", "PWR over-drive first")
