"""Low-power timer LPTIM1 of the STM32F7 and L4: it counts a slow clock, compares and interrupts.

RM0385 section 24.6 (F7), RM0432 chapter LPTIM.
"""

from __future__ import annotations

from harness.virtual.chip.bus import Master, Peripheral, read_zero
from harness.virtual.chip.families.stm32.clocks import LSE_HZ, LSI_HZ, ClockController
from harness.virtual.chip.peripherals.nvic import Nvic
from harness.virtual.time.counting import BlockCounter

_ISR, _ICR, _IER, _CFGR, _CR, _CMP, _ARR, _CNT = range(0x00, 0x20, 4)
_CMPM, _ARRM, _CMPOK, _ARROK, _FLAGS = 1 << 0, 1 << 1, 1 << 3, 1 << 4, 0x1F
_ENABLE, _SINGLE, _CONTINUOUS = 1 << 0, 1 << 1, 1 << 2
_OTHER_MODES = 0x0186_E0C1  # external clock, filters, triggers, encoder
# Base, bit that enables its clock, interrupt, register and lowest bit of its clock's selection.
_PLACES = {
    "stm32f7": (0x4000_2400, 9, 93, 0x90, 24),
    "stm32l4": (0x4000_7C00, 31, 65, 0x88, 18),
}


class LowPowerTimer(Peripheral):
    """Counts up from 0 to ARR, over and over."""

    FAMILIES = frozenset(_PLACES)

    def __init__(
        self, family: str, rcc: ClockController, nvic: Nvic, counter: BlockCounter
    ) -> None:
        base, enable, self._interrupt, self._select, self._lowest = _PLACES[family]
        super().__init__("LPTIM1", base, "RM0385 24.6, RM0432 LPTIM registers")
        self._rcc, self._nvic, self._counter = rcc, nvic, counter
        self.gate = rcc, rcc.layout.apb["apb1"][0], enable
        rcc.before_change.append(self._keep)
        # The count at the tick `_since` of its clock (None while that does not run), and the ticks
        # since then that it has been looked at.
        self._count = self._seen = 0
        self._since: int | None = None
        self._running = False
        self.add(_ISR, "ISR", read=self._read_isr, write=lambda _value, _master: None)
        self.add(_ICR, "ICR", read=read_zero, write=self._clear)
        self.add(_IER, "IER", writable=0x7F, changed=self._changed)
        self.add(_CFGR, "CFGR", refuse=(_OTHER_MODES, "other modes than counting a clock"))
        self.add(_CR, "CR", writable=_ENABLE, write=self._write_cr)
        self.add(_CMP, "CMP", writable=0xFFFF, changed=lambda: self._loaded(_CMPOK))
        self.add(_ARR, "ARR", 1, writable=0xFFFF, changed=lambda: self._loaded(_ARROK))
        self.add(_CNT, "CNT", writable=0, read=lambda _master: self._now())
        self.before_write = self._keep

    def reset(self) -> None:
        """Stop."""
        super().reset()
        self._running, self._count = False, 0

    # As a source of interrupts.

    @property
    def running(self) -> bool:
        """Whether it counts."""
        return self._running and self._hz is not None

    @property
    def armed(self) -> bool:
        """Whether it counts and may interrupt."""
        return self.running and bool(self.values[_IER] & _FLAGS)

    def due(self) -> int | None:
        """Return when the next flag that interrupts is set, in core cycles."""
        hz, wanted = self._hz, self.values[_IER] & ~self.values[_ISR]
        ticks = [self._ticks_to(flag) for flag in (_CMPM, _ARRM) if wanted & flag]
        soonest = min((t for t in ticks if t is not None), default=None)
        if not self._running or hz is None or soonest is None:
            return None
        since = self._start(hz, self._counter.elapsed())
        return self._rcc.cycle_of(hz, since + (self._seen + soonest << self._prescaler))

    def advance(self, now: int) -> None:
        """Set the flags of what has happened, and drive the interrupt."""
        if self.running:
            passed = self._ticks(now) - self._seen
            for flag in (_CMPM, _ARRM):
                ticks = self._ticks_to(flag)
                if ticks is not None and passed >= ticks:
                    self.values[_ISR] |= flag
            self._seen += passed
        high = bool(self.values[_ISR] & self.values[_IER] & _FLAGS)
        self._nvic.set_line(self._interrupt, high)

    # Counting.

    @property
    def _prescaler(self) -> int:
        return self.values[_CFGR] >> 9 & 7

    @property
    def _hz(self) -> int | None:
        """Its clock; None where that does not run."""
        selected = self._rcc.values[self._select] >> self._lowest & 3
        if selected == 3:
            return LSE_HZ if self._rcc.lse_runs() else None
        return (self._rcc.apb_hz("apb1"), LSI_HZ, self._rcc.facts.clock.hsi_hz)[selected]

    def _ticks(self, now: int) -> int:
        hz = self._hz
        if hz is None:
            return 0
        return self._rcc.ticks(hz, now) - self._start(hz, now) >> self._prescaler

    def _start(self, hz: int, now: int) -> int:
        """Return the tick that it started at: now, if its clock did not run before."""
        if self._since is None:
            self._since = self._rcc.ticks(hz, now)
        return self._since

    def _ticks_to(self, flag: int) -> int | None:
        """Return the ticks from the last look until a flag is set."""
        end = self.values[_ARR] + 1
        value = self.values[_CMP] if flag == _CMPM else self.values[_ARR]
        count = (self._count + self._seen) % end
        return (value - count - 1) % end + 1 if value < end else None

    def _now(self) -> int:
        ticks = self._ticks(self._counter.elapsed()) if self.running else 0
        return (self._count + ticks) % (self.values[_ARR] + 1)

    def _restart(self, count: int) -> None:
        hz = self._hz
        self._count, self._seen = count, 0
        self._since = None if hz is None else self._rcc.ticks(hz, self._counter.elapsed())
        self._counter.request_stop()

    def _keep(self) -> None:
        """Go on from here, as a clock or a register is about to change."""
        if self.running:
            self.advance(self._counter.elapsed())
            self._restart(self._now())

    def _changed(self) -> None:
        self.advance(self._counter.elapsed())
        self._counter.request_stop()

    # Registers.

    def _write_cr(self, value: int, _master: Master) -> None:
        if value & _SINGLE:
            raise self.unmodelled(_CR, "a single turn, started by write")
        if not value & _ENABLE:
            self._running = False
        elif value & _CONTINUOUS and not self._running:
            self._restart(0)
            self._running = True
        self.store(_CR, value)

    def _loaded(self, flag: int) -> None:
        """Note that CMP or ARR has taken effect, at once."""
        self.values[_ISR] |= flag
        self._changed()

    def _read_isr(self, _master: Master) -> int:
        self.advance(self._counter.elapsed())
        return self.values[_ISR]

    def _clear(self, value: int, _master: Master) -> None:
        self.values[_ISR] &= ~value
        self._changed()
