"""Reset and clock control of the STM32L4+: MSI, HSI16, HSE, LSE, PLL, prescalers, reset flags.

RM0432, chapter RCC; wait states and voltage ranges from chapters FLASH and PWR.
"""

from __future__ import annotations

from harness.errors import VirtualError
from harness.virtual.chip.bus import Master
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.stm32l4.flash import FlashL4
from harness.virtual.chip.families.stm32l4.pwr import PwrL4
from harness.virtual.chip.peripherals.clocks import CFGR, CR, ClockController, ResetCause

_BASE = 0x4002_1000
_PLLCFGR, _CIER, _CCIPR, _BDCR, _CSR = 0x0C, 0x18, 0x88, 0x90, 0x94
AHB2ENR, APB1ENR1, APB2ENR = 0x4C, 0x58, 0x60

_MSION, _MSIPLLEN, _MSIRGSEL = 1 << 0, 1 << 2, 1 << 3
_HSION, _HSEON, _HSEBYP = 1 << 8, 1 << 16, 1 << 18
_PLLON, _PLLSAI1ON, _PLLSAI2ON = 1 << 24, 1 << 26, 1 << 28
_CR_WRITABLE = 0x150D_0BFD
_PLLREN = 1 << 24
_LSEON, _LSERDY = 1 << 0, 1 << 1
_LSION, _RMVF = 1 << 0, 1 << 23
_MSI, _HSI, _HSE, _PLL = range(4)
_MSI_HZ = (100_000, 200_000, 400_000, 800_000, 1_000_000, 2_000_000,
           4_000_000, 8_000_000, 16_000_000, 24_000_000, 32_000_000, 48_000_000)  # fmt: skip
_MSI_RESET_RANGE = 6

_STORED = (
    (0x04, "ICSCR"), (0x10, "PLLSAI1CFGR"), (0x14, "PLLSAI2CFGR"), (0x28, "AHB1RSTR"),
    (0x2C, "AHB2RSTR"), (0x30, "AHB3RSTR"), (0x38, "APB1RSTR1"), (0x3C, "APB1RSTR2"),
    (0x40, "APB2RSTR"), (AHB2ENR, "AHB2ENR"), (0x50, "AHB3ENR"), (APB1ENR1, "APB1ENR1"),
    (0x5C, "APB1ENR2"), (APB2ENR, "APB2ENR"), (_CCIPR, "CCIPR"), (0x98, "CRRCR"), (0x9C, "CCIPR2"),
)  # fmt: skip
_SLEEP = (
    (0x68, "AHB1SMENR"), (0x6C, "AHB2SMENR"), (0x70, "AHB3SMENR"), (0x78, "APB1SMENR1"),
    (0x7C, "APB1SMENR2"), (0x80, "APB2SMENR"),
)  # fmt: skip
# Range 1: one wait state more for every 20 MHz; above 80 MHz in boost mode only. Range 2: 26 MHz.
_HZ_PER_WAIT_STATE = 20_000_000
_WITHOUT_BOOST_HZ = 80_000_000
_RANGE2_HZ = 26_000_000


class RccL4(ClockController):
    """Clock registers, and the frequencies that follow from them."""

    def __init__(self, to: Connections, flash: FlashL4) -> None:
        super().__init__(
            to,
            _BASE,
            "RM0432, RCC registers",
            enables={"apb1": APB1ENR1, "apb2": APB2ENR},
            dividers={"apb1": 8, "apb2": 11},
        )
        self._flash = flash
        self.pwr = PwrL4(self)
        self.add(CR, "CR", 0x63, writable=_CR_WRITABLE, read=self._read_cr, write=self._write_cr)
        self.add_storage(_STORED)
        self.add_storage(_SLEEP, 0xFFFF_FFFF)
        self.add(_PLLCFGR, "PLLCFGR", 0x1000)
        self.add(_CIER, "CIER", write=self._write_cier)
        self.add(0x48, "AHB1ENR", 0x100)
        self.add(_BDCR, "BDCR", read=self._read_bdcr, write=self._write_bdcr)
        self.add(_CSR, "CSR", 0x600, read=self._read_csr, write=self._write_csr)

    def reset(self) -> None:
        """Return to MSI; the reset flags and the backup domain survive."""
        backup = self.values[_BDCR]
        super().reset()
        self.values[_BDCR] = backup

    # Registers.

    def _read_cr(self, _master: Master) -> int:
        value = self.values[CR] & ~0x2A02_0402
        pll_source = self.runs(self._pll_source())
        ready = (
            (_MSION << 1, self.runs(_MSI)),
            (_HSION << 2, self.runs(_HSI)),
            (_HSEON << 1, self.runs(_HSE)),
            (_PLLON << 1, self.runs(_PLL)),
            (_PLLSAI1ON << 1, bool(value & _PLLSAI1ON) and pll_source),
            (_PLLSAI2ON << 1, bool(value & _PLLSAI2ON) and pll_source),
        )
        return value | sum(flag for flag, runs in ready if runs)

    def _write_cr(self, value: int, _master: Master) -> None:
        if value & _MSIPLLEN and not self._lse_runs():
            raise self.broken("MSIPLLEN without a running LSE", "LSERDY first", "RCC_CR")
        before = self.values[CR]
        # MSIRGSEL cannot be cleared, and until it is set the range is not MSIRANGE's.
        self.store(CR, value | before & _MSIRGSEL)
        try:
            self._check_speed(before=self.hclk_hz)
        except VirtualError:
            self.values[CR] = before
            raise

    def runs(self, source: int) -> bool:
        """Return whether MSI, HSI16, HSE or PLL is ready."""
        value = self.values[CR]
        if source == _MSI:
            return bool(value & _MSION)
        if source == _HSI:
            return bool(value & _HSION)
        if source == _HSE:
            return self.crystal_runs(_HSEON, _HSEBYP)
        enabled = bool(value & _PLLON) and bool(self.values[_PLLCFGR] & _PLLREN)
        return enabled and self.runs(self._pll_source())

    def _pll_source(self) -> int:
        # 0 is none; MSI, HSI16 and HSE are one higher than in SW. Nothing runs from the PLL itself.
        code = self.values[_PLLCFGR] & 3
        return code - 1 if code else -1

    def write_cfgr(self, value: int, _master: Master) -> None:
        """Select the system clock and the dividers; refuse what the chip would not run on."""
        before, old = self.hclk_hz, self.values[CFGR]
        self.values[CFGR] = value
        try:
            self._check_speed(before)
        except VirtualError:
            self.values[CFGR] = old
            raise

    def _check_speed(self, before: int) -> None:
        """Refuse a core clock that the chip would not run at as it is set up."""
        hclk, faulty = self.hclk_hz, max(1.0, self.drift)
        nominal, limit = hclk / faulty, self.board.facts.clock.sysclk_hz
        if nominal > limit:
            raise self.broken(f"the core clock would be {hclk} Hz", f"at most {limit} Hz")
        if nominal > _WITHOUT_BOOST_HZ and not self.pwr.boost:
            raise self.broken(f"{hclk} Hz is selected without boost mode", "PWR_CR5.R1MODE = 0")
        if nominal > _RANGE2_HZ and not self.pwr.range1:
            raise self.broken(f"{hclk} Hz is selected in voltage range 2", "PWR_CR1.VOS = 1")
        if nominal > _WITHOUT_BOOST_HZ and before < hclk // 2:
            raise self.broken(
                f"from {before} Hz to {hclk} Hz at once", "a step at half of it (HPRE) before"
            )
        self.check_wait_states(nominal, self._flash.wait_states, _HZ_PER_WAIT_STATE)

    def _write_cier(self, value: int, _master: Master) -> None:
        if value:
            raise self.unmodelled(_CIER, "enabling of interrupts by write")

    def _lse_runs(self) -> bool:
        has_crystal = self.board.facts.clock.msi_hz is not None
        return has_crystal and self.hse_works and bool(self.values[_BDCR] & _LSEON)

    def _read_bdcr(self, _master: Master) -> int:
        return self.values[_BDCR] & ~_LSERDY | (_LSERDY if self._lse_runs() else 0)

    def _write_bdcr(self, value: int, _master: Master) -> None:
        if self.pwr.backup_writable:  # the chip drops the write too
            self.values[_BDCR] = value

    def _read_csr(self, _master: Master) -> int:
        on = self.values[_CSR] & (0xF00 | _LSION)
        causes = self.causes & (ResetCause.PIN | ResetCause.SOFTWARE | ResetCause.WATCHDOG)
        # A power-on and a brown-out share a flag, where others have the power-on's.
        supply = bool(self.causes & (ResetCause.BOR | ResetCause.POWER_ON))
        return on | (on & _LSION) << 1 | int(causes) | supply << 27

    def _write_csr(self, value: int, _master: Master) -> None:
        self.values[_CSR] = value & (0xF00 | _LSION)
        if value & _RMVF:
            self.causes = ResetCause(0)

    # Frequencies.

    @property
    def sysclk_hz(self) -> int:
        """System clock that the registers give."""
        source = self.active
        if source != _PLL:
            return self._source_hz(source)
        pll = self.values[_PLLCFGR]
        m, n, r = (pll >> 4 & 0xF) + 1, pll >> 8 & 0x7F, 2 * ((pll >> 25 & 3) + 1)
        if n < 8:
            raise self.broken(f"PLLN is {n}", "PLLN of 8 to 127", "RCC_PLLCFGR")
        return self._source_hz(self._pll_source()) * n // (m * r)

    def _source_hz(self, source: int) -> int:
        clock = self.board.facts.clock
        if source == _HSI:
            return clock.hsi_hz
        if source == _HSE:
            return round((clock.hse_hz or 0) * self.drift)
        value = self.values[CR]
        number = value >> 4 & 0xF if value & _MSIRGSEL else _MSI_RESET_RANGE
        if number >= len(_MSI_HZ):
            raise self.broken(f"MSIRANGE is {number}", "0 to 11", "RCC_CR")
        locked = bool(value & _MSIPLLEN) and self._lse_runs()
        return round(_MSI_HZ[number] * (self.drift if locked else 1.0))

    def usart_hz(self, number: int, bus: str) -> int | None:
        """Return the clock of LPUART `number`; None when it is the LSE, which is not modelled."""
        select = self.values[_CCIPR] >> (8 + 2 * number) & 3
        hsi_hz = self.board.facts.clock.hsi_hz
        return {0: self.apb_hz(bus), 1: self.sysclk_hz, 2: hsi_hz, 3: None}[select]
