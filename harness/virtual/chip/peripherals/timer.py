"""A general-purpose timer that only counts up: TIM2, 32 bits, on APB1.

RM0385 and RM0410 section 26 (TIM2 to TIM5), RM0390 section 17.
"""

from __future__ import annotations

from harness.virtual.chip.bus import Master, Peripheral, read_zero
from harness.virtual.chip.peripherals.clocks import ClockController
from harness.virtual.time.counting import BlockCounter

_BASE, _TIM2EN = 0x4000_0000, 0
_CR1, _SR, _EGR, _CNT, _PSC, _ARR = 0x00, 0x10, 0x14, 0x24, 0x28, 0x2C
_CEN, _UG = 1 << 0, 1 << 0


class Tim2(Peripheral):
    """Counts modelled core cycles, divided as the clock tree and the prescaler say."""

    def __init__(self, rcc: ClockController, counter: BlockCounter) -> None:
        super().__init__("TIM2", _BASE, "RM0385 26.4, RM0390 17.4")
        self._rcc = rcc
        self.gate = rcc, rcc.layout.apb["apb1"][0], _TIM2EN
        self._counter = counter
        self._started = self._ticks = self._prescaler = 0
        self.add(_CR1, "CR1", writable=_CEN, write=self._write_cr1)
        self.add(_SR, "SR", writable=0)
        self.add(_EGR, "EGR", read=read_zero, write=self._write_egr)
        self.add(_CNT, "CNT", read=self._read_count, write=self._write_count)
        self.add(_PSC, "PSC", writable=0xFFFF)
        self.add(_ARR, "ARR", 0xFFFF_FFFF, write=self._write_arr)

    def reset(self) -> None:
        """Stop and start from zero."""
        super().reset()
        self._ticks = self._prescaler = 0

    def _now(self) -> int:
        if not self.values[_CR1] & _CEN:
            return self._ticks
        elapsed = self._counter.elapsed() - self._started
        ticks = elapsed * self._clock_hz() // (self._rcc.hclk_hz * (self._prescaler + 1))
        return self._ticks + ticks

    def _clock_hz(self) -> int:
        # Timers run at twice the APB clock unless that is undivided (RM0385 5.2).
        apb1_hz = self._rcc.apb_hz("apb1")
        return apb1_hz if apb1_hz == self._rcc.hclk_hz else 2 * apb1_hz

    def _restart(self, ticks: int) -> None:
        self._ticks = ticks
        self._started = self._counter.elapsed()

    def _write_cr1(self, value: int, _master: Master) -> None:
        self._restart(self._now())
        self.store(_CR1, value)

    def _write_egr(self, value: int, _master: Master) -> None:
        if value & _UG:
            # The preloaded prescaler takes effect at an update event (RM0385 26.4.11).
            self._prescaler = self.values[_PSC]
            self._restart(0)

    def _read_count(self, _master: Master) -> int:
        return self._now() & 0xFFFF_FFFF

    def _write_count(self, value: int, _master: Master) -> None:
        self._restart(value)

    def _write_arr(self, value: int, _master: Master) -> None:
        if value != 0xFFFF_FFFF:
            raise self.unmodelled(_ARR, "shorter period by write")
        self.store(_ARR, value)
