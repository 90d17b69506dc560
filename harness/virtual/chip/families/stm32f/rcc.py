"""Reset and clock control: oscillators, PLL, prescalers, peripheral clocks, reset flags.

RM0385 and RM0410 section 5 (STM32F7), RM0390 section 6 (STM32F446).
"""

from __future__ import annotations

from harness.virtual.chip.bus import Master
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.stm32f.flash import FlashF
from harness.virtual.chip.families.stm32f.pwr import PwrF
from harness.virtual.chip.peripherals.clocks import CFGR, CR, ClockController, ResetCause

_BASE = 0x4002_3800
_PLLCFGR, _CIR, _BDCR, _CSR = 0x04, 0x0C, 0x70, 0x74
AHB1ENR, APB1ENR, APB2ENR = 0x30, 0x40, 0x44
_DCKCFGR2_F7 = 0x90

_HSION, _HSEON, _HSEBYP, _CSSON = 1 << 0, 1 << 16, 1 << 18, 1 << 19
_PLLON, _PLLI2SON, _PLLSAION = 1 << 24, 1 << 26, 1 << 28
_CR_WRITABLE = 0x150D_00F9
_PLLSRC_HSE = 1 << 22
_LSION, _RMVF = 1 << 0, 1 << 24
_HSI, _HSE, _PLL = 0, 1, 2

_RESETS = (
    (0x10, "AHB1RSTR"), (0x14, "AHB2RSTR"), (0x18, "AHB3RSTR"), (0x20, "APB1RSTR"),
    (0x24, "APB2RSTR"),
)  # fmt: skip
_LOW_POWER = (
    (0x50, "AHB1LPENR"), (0x54, "AHB2LPENR"), (0x58, "AHB3LPENR"), (0x60, "APB1LPENR"),
    (0x64, "APB2LPENR"),
)  # fmt: skip
# Over-drive is needed above these (RM0385 4.1.4, RM0390 5.1.4).
_WITHOUT_OVERDRIVE_HZ = {"stm32f7": 180_000_000, "stm32f4": 168_000_000}
# One wait state more for every 30 MHz at 2.7-3.6 V (RM0385 table 5, RM0390 table 5).
_HZ_PER_WAIT_STATE = 30_000_000


class RccF(ClockController):
    """Clock registers, and the frequencies that follow from them."""

    def __init__(self, to: Connections, flash: FlashF, pwr: PwrF) -> None:
        super().__init__(
            to,
            _BASE,
            "RM0385 5.3, RM0410 5.3, RM0390 6.3",
            enables={"apb1": APB1ENR, "apb2": APB2ENR},
            dividers={"apb1": 10, "apb2": 13},
        )
        self._flash = flash
        self._pwr = pwr
        f7 = to.board.family == "stm32f7"
        self.add(CR, "CR", 0x83, writable=_CR_WRITABLE, read=self._read_cr)
        self.add(_PLLCFGR, "PLLCFGR", 0x2400_3010)
        self.add(_CIR, "CIR", writable=0, write=self._write_cir)
        self.add_storage(_RESETS)
        self.add(AHB1ENR, "AHB1ENR", 0x0010_0000 if f7 else 0)
        self.add_storage(((0x34, "AHB2ENR"), (0x38, "AHB3ENR"), (APB1ENR, "APB1ENR")))
        self.add(APB2ENR, "APB2ENR")
        self.add_storage(_LOW_POWER, 0xFFFF_FFFF)
        self.add(_BDCR, "BDCR")
        self.add(_CSR, "CSR", read=self._read_csr, write=self._write_csr)
        self.add(0x80, "SSCGR")
        self.add(0x84, "PLLI2SCFGR", 0x2400_3010)
        self.add(0x88, "PLLSAICFGR", 0x2400_3010)
        kernel_clocks = (
            ((0x8C, "DCKCFGR1"), (0x90, "DCKCFGR2"))
            if f7
            else ((0x8C, "DCKCFGR"), (0x90, "CKGATENR"), (0x94, "DCKCFGR2"))
        )
        self.add_storage(kernel_clocks)

    # Registers.

    def _read_cr(self, _master: Master) -> int:
        value = self.values[CR]
        ready = (
            (_HSION, self.runs(_HSI)),
            (_HSEON, self.runs(_HSE)),
            (_PLLON, self.runs(_PLL)),
            (_PLLI2SON, bool(value & _PLLI2SON) and self.runs(self._pll_source())),
            (_PLLSAION, bool(value & _PLLSAION) and self.runs(self._pll_source())),
        )
        for enable, runs in ready:
            value = value | enable << 1 if runs else value & ~(enable << 1)
        return value

    def runs(self, source: int) -> bool:
        """Return whether HSI, HSE or PLL is ready."""
        value = self.values[CR]
        if source == _HSI:
            return bool(value & _HSION)
        if source == _HSE:
            return self.crystal_runs(_HSEON, _HSEBYP)
        return bool(value & _PLLON) and self.runs(self._pll_source())

    def _pll_source(self) -> int:
        return _HSE if self.values[_PLLCFGR] & _PLLSRC_HSE else _HSI

    def write_cfgr(self, value: int, _master: Master) -> None:
        """Select the system clock and the dividers; refuse what the chip would not run on."""
        self.values[CFGR] = value
        if value & 3 == 3:
            raise self.broken(
                "SW selects nothing (3 is not allowed)", "0 (HSI), 1 (HSE) or 2 (PLL)"
            )
        hclk = self.hclk_hz
        limit = self.board.facts.clock.sysclk_hz
        if hclk > limit * max(1.0, self.drift):
            raise self.broken(f"the core clock would be {hclk} Hz", f"at most {limit} Hz")
        nominal = hclk / max(1.0, self.drift)
        if nominal > _WITHOUT_OVERDRIVE_HZ[self.board.family] and not self._pwr.overdrive:
            raise self.broken(f"{hclk} Hz is selected without over-drive", "PWR over-drive first")
        self.check_wait_states(nominal, self._flash.wait_states, _HZ_PER_WAIT_STATE)

    def _write_cir(self, value: int, _master: Master) -> None:
        if value & 0x7F00:
            raise self.unmodelled(_CIR, "enabling of interrupts by write")

    def _read_csr(self, _master: Master) -> int:
        on = self.values[_CSR] & _LSION
        return on | on << 1 | int(self.causes)

    def _write_csr(self, value: int, _master: Master) -> None:
        self.values[_CSR] = value & _LSION
        if value & _RMVF:
            self.causes = ResetCause(0)

    # Frequencies.

    @property
    def sysclk_hz(self) -> int:
        """System clock that the registers give."""
        clock = self.board.facts.clock
        source = self.active
        if source == _HSI:
            return clock.hsi_hz
        if source == _HSE:
            return self._hse_hz
        pll = self.values[_PLLCFGR]
        m, n, p = pll & 0x3F, pll >> 6 & 0x1FF, 2 * ((pll >> 16 & 3) + 1)
        if m < 2 or n < 50:
            raise self.broken(f"PLLM is {m} and PLLN {n}", "PLLM of 2 to 63 and PLLN of 50 to 432")
        base = self._hse_hz if self._pll_source() == _HSE else clock.hsi_hz
        return base * n // (m * p)

    @property
    def _hse_hz(self) -> int:
        return round(self.board.facts.clock.reference_hz * self.drift)

    def usart_hz(self, number: int, bus: str) -> int | None:
        """Return the clock of USART `number`; None when it is the LSE, which is not modelled."""
        if self.board.family != "stm32f7":
            return self.apb_hz(bus)
        select = self.values[_DCKCFGR2_F7] >> (2 * (number - 1)) & 3
        clock = self.board.facts.clock
        return {0: self.apb_hz(bus), 1: self.sysclk_hz, 2: clock.hsi_hz, 3: None}[select]
