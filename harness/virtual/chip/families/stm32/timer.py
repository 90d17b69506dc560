"""General-purpose timers TIM2 to TIM5: they count up, compare and interrupt.

RM0385 and RM0410 section 26 (TIM2 to TIM5), RM0390 section 17, RM0432 chapter TIM2/TIM3/TIM4/TIM5.
"""

from __future__ import annotations

from harness.virtual.chip.bus import Master, Peripheral, read_zero
from harness.virtual.chip.families.stm32.clocks import ClockController
from harness.virtual.chip.peripherals.nvic import Nvic
from harness.virtual.time.counting import BlockCounter

_BASE = 0x4000_0000
_CR1, _CR2, _SMCR, _DIER, _SR, _EGR, _CCMR1, _CCMR2, _CCER, _CNT, _PSC, _ARR, _CCR1, _OR = (
    0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18, 0x1C, 0x20, 0x24, 0x28, 0x2C, 0x34, 0x50,
)  # fmt: skip
_CEN, _UDIS, _URS, _OPM, _ARPE, _CKD = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 7, 3 << 8
_OTHER_MODES = 7 << 4  # DIR and CMS
_UIF = _UG = _UIE = 1 << 0
_COMPARES = range(1, 5)  # bit of each in SR, DIER and EGR
_FLAGS = 0x1F
_DMA = 0x5F00


class Timer(Peripheral):
    """Counts modelled core cycles, divided as the clock tree and the prescaler say.

    Nothing is connected to its channels. Preloaded registers take effect at once, but for the
    prescaler.
    """

    def __init__(
        self, number: int, bits: int, interrupt: int, rcc: ClockController, nvic: Nvic,
        counter: BlockCounter,
    ) -> None:  # fmt: skip
        base = _BASE + 0x400 * (number - 2)
        super().__init__(f"TIM{number}", base, "RM0385 26.4, RM0390 17.4")
        self._rcc, self._nvic, self._counter = rcc, nvic, counter
        self.gate = rcc, rcc.layout.apb["apb1"][0], number - 2
        rcc.before_change.append(self._keep)
        self._interrupt = interrupt
        self._largest = (1 << bits) - 1
        # The count at the time `_since`, while it runs, and the ticks since then that it has
        # been looked at.
        self._count = self._since = self._seen = 0
        self._prescaler = 0
        self.add(
            _CR1, "CR1", writable=_CEN | _UDIS | _URS | _OPM | _ARPE | _CKD,
            refuse=(_OTHER_MODES, "counting down"), write=self._write_cr1,
        )  # fmt: skip
        self.add(_CR2, "CR2")
        self.add(_SMCR, "SMCR", refuse=(0x1_0007, "slave mode"))
        self.add(_DIER, "DIER", refuse=(_DMA, "DMA request"), changed=self._changed)
        self.add(_SR, "SR", read=self._read_sr, write=self._write_sr)
        self.add(_EGR, "EGR", read=read_zero, write=self._write_egr)
        self.add_storage(((_CCMR1, "CCMR1"), (_CCMR2, "CCMR2"), (_CCER, "CCER"), (_OR, "OR")))
        self.add(_CNT, "CNT", read=self._read_count, write=self._write_count)
        self.add(_PSC, "PSC", writable=0xFFFF)
        self.add(_ARR, "ARR", self._largest, write=self._write_arr)
        for n in _COMPARES:
            offset = _CCR1 + 4 * (n - 1)
            self.add(offset, f"CCR{n}", writable=self._largest, changed=self._changed)
        self.before_write = lambda: self.advance(counter.elapsed())

    def reset(self) -> None:
        """Stop and start from zero."""
        super().reset()
        self._count = self._seen = self._prescaler = 0

    # As a source of interrupts.

    @property
    def armed(self) -> bool:
        """Whether it runs and may interrupt."""
        return bool(self.values[_CR1] & _CEN and self.values[_DIER] & _FLAGS)

    @property
    def running(self) -> bool:
        """Whether it counts."""
        return bool(self.values[_CR1] & _CEN)

    def due(self) -> int | None:
        """Return when the next flag that interrupts is set, in core cycles."""
        wanted = self.values[_DIER] & ~self.values[_SR] & _FLAGS
        if not self.values[_CR1] & _CEN or not wanted:
            return None
        ticks = [t for n in range(5) if wanted >> n & 1 and (t := self._ticks_to(n)) is not None]
        return self._cycle(self._seen + min(ticks)) if ticks else None

    def advance(self, now: int) -> None:
        """Set the flags of what has happened, and drive the interrupt."""
        if self.values[_CR1] & _CEN:
            passed = self._ticks(now) - self._seen
            found = 0
            for n in range(5):
                ticks = self._ticks_to(n)
                found |= (ticks is not None and passed >= ticks) << n
            overflow = self._seen + (self._ticks_to(0) or 0)
            self._seen += passed
            if found & _UIF:
                if self._prescaler != self.values[_PSC]:
                    self._since, self._count = self._cycle(overflow), 0
                    self._prescaler = self.values[_PSC]
                    self._seen = self._ticks(now)
                if self.values[_CR1] & _OPM:
                    self.values[_CR1] &= ~_CEN
                    self._count = 0
            self.values[_SR] |= found
        self._nvic.set_line(self._interrupt, bool(self.values[_SR] & self.values[_DIER] & _FLAGS))

    def _changed(self) -> None:
        self.advance(self._counter.elapsed())
        self._counter.request_stop()

    # Counting.

    def _rates(self) -> tuple[int, int]:
        """Return ticks and core cycles that take the same time."""
        # Timers run at twice the APB clock unless that is undivided (RM0385 5.2).
        apb1_hz = self._rcc.apb_hz("apb1")
        clock = apb1_hz if apb1_hz == self._rcc.ahb_hz else 2 * apb1_hz
        return clock, self._rcc.hclk_hz * (self._prescaler + 1)

    def _ticks(self, now: int) -> int:
        """Return the ticks from `_since` until now."""
        ticks, cycles = self._rates()
        return (now - self._since) * ticks // cycles

    def _cycle(self, tick: int) -> int:
        """Return the time of a tick, counted from `_since`."""
        ticks, cycles = self._rates()
        return self._since + -(-tick * cycles // ticks)

    def _at(self, tick: int) -> int:
        """Return the count at a tick, counted from `_since`."""
        end = self.values[_ARR] + 1
        if self._count < end:
            return (self._count + tick) % end
        to_wrap = self._largest + 1 - self._count  # it is behind its end, and wraps first
        return self._count + tick if tick < to_wrap else (tick - to_wrap) % end

    def _ticks_to(self, flag: int) -> int | None:
        """Return the ticks from the last look until a flag is set: 0 update, else a compare."""
        count, end = self._at(self._seen), self.values[_ARR] + 1
        to_wrap = (end if count < end else self._largest + 1) - count
        if flag == 0:
            return to_wrap
        value = self.values[_CCR1 + 4 * (flag - 1)]
        if value > count and (value < end or count >= end):
            return value - count
        return to_wrap + value if value < end else None

    def _now(self) -> int:
        running = self.values[_CR1] & _CEN
        return self._at(self._ticks(self._counter.elapsed())) if running else self._count

    def _restart(self, count: int) -> None:
        self._count, self._since, self._seen = count, self._counter.elapsed(), 0
        self._counter.request_stop()

    def _keep(self) -> None:
        """Go on from here, as the clock or the period is about to change."""
        if self.values[_CR1] & _CEN:
            self.advance(self._counter.elapsed())
            self._restart(self._now())

    # Registers.

    def _write_cr1(self, value: int, _master: Master) -> None:
        self._restart(self._now())
        self.store(_CR1, value)

    def _read_sr(self, _master: Master) -> int:
        self.advance(self._counter.elapsed())
        return self.values[_SR]

    def _write_sr(self, value: int, _master: Master) -> None:
        self.values[_SR] &= value
        self._changed()

    def _write_egr(self, value: int, _master: Master) -> None:
        self.values[_SR] |= value & _FLAGS & ~_UG
        if value & _UG:
            # The preloaded prescaler takes effect at an update event (RM0385 26.4.11).
            self._prescaler = self.values[_PSC]
            self._restart(0)
            if not self.values[_CR1] & (_URS | _UDIS):
                self.values[_SR] |= _UIF
        self._changed()

    def _read_count(self, _master: Master) -> int:
        return self._now()

    def _write_count(self, value: int, _master: Master) -> None:
        self._restart(value & self._largest)

    def _write_arr(self, value: int, _master: Master) -> None:
        self._restart(self._now())
        self.values[_ARR] = value & self._largest
        self._changed()


def timers(rcc: ClockController, nvic: Nvic, counter: BlockCounter) -> tuple[Timer, ...]:
    """Return the timers that all the boards' chips have."""
    kinds = ((2, 32, 28), (3, 16, 29), (4, 16, 30), (5, 32, 50))
    return tuple(Timer(*kind, rcc, nvic, counter) for kind in kinds)
