"""SysTick timer (ARMv7-M ARM B3.3); its other clock is HCLK / 8 (RM0385 5.2, RM0390 6.2)."""

from __future__ import annotations

from collections.abc import Callable

from harness.virtual.chip.bus import Master, Peripheral
from harness.virtual.chip.peripherals.nvic import SYSTICK, Nvic

_CSR, _RVR, _CVR, _CALIB = 0x010, 0x014, 0x018, 0x01C
_ENABLE, _TICKINT, _CLKSOURCE, _COUNTFLAG = 1 << 0, 1 << 1, 1 << 2, 1 << 16


class Systick:
    """The timer; its registers are the system control space's.

    Args:
        scs: System control space, which gets the registers.
        nvic: Where it makes its exception pending.
        elapsed: Returns the time in core cycles.
        changed: Called when its next deadline may have changed.
    """

    def __init__(
        self, scs: Peripheral, nvic: Nvic, elapsed: Callable[[], int], changed: Callable[[], None]
    ) -> None:
        self._scs = scs
        self._nvic = nvic
        self._elapsed = elapsed
        self._changed = changed
        self._value = 0  # at the time `_since`, while it runs
        self._since = 0
        self._zeros = 0  # times that it was seen to reach zero since then
        self._counted = False  # COUNTFLAG
        scs.add(_CSR, "SYST_CSR", 0x4, writable=0x7, read=self._read_csr, write=self._write_csr)
        scs.add(_RVR, "SYST_RVR", write=self._write_rvr)
        scs.add(_CVR, "SYST_CVR", read=self._read_cvr, write=self._write_cvr)
        scs.add(_CALIB, "SYST_CALIB", 0x4000_0000, writable=0)

    def reset(self) -> None:
        """Stop."""
        self._value = self._zeros = 0
        self._counted = False

    @property
    def armed(self) -> bool:
        """Whether it may make its exception pending."""
        both = _ENABLE | _TICKINT
        return self._scs.values[_CSR] & both == both and self.due() is not None

    @property
    def running(self) -> bool:
        """Whether it counts."""
        return bool(self._scs.values[_CSR] & _ENABLE)

    def due(self) -> int | None:
        """Return when it reaches zero next, in core cycles; None for never."""
        ticks = self._ticks_to_zero(self._zeros)
        return None if ticks is None else self._since + ticks * self._divider

    def advance(self, now: int) -> None:
        """Note the times that it reached zero."""
        zeros = self._zeros_at(now)
        if zeros > self._zeros:
            self._zeros = zeros
            self._counted = True
            if self._scs.values[_CSR] & _TICKINT:
                self._nvic.pend(SYSTICK)

    @property
    def _divider(self) -> int:
        return 1 if self._scs.values[_CSR] & _CLKSOURCE else 8

    def _ticks_to_zero(self, times: int) -> int | None:
        """Return the ticks from `_since` until it has reached zero once more than `times`."""
        reload = self._scs.values[_RVR]
        if not self._scs.values[_CSR] & _ENABLE:
            return None
        if reload == 0:  # it stops at zero
            return self._value if self._value and not times else None
        return (self._value or reload + 1) + times * (reload + 1)

    def _zeros_at(self, now: int) -> int:
        first = self._ticks_to_zero(0)
        ticks = (now - self._since) // self._divider
        if first is None or ticks < first:
            return 0
        reload = self._scs.values[_RVR]
        return 1 + ((ticks - first) // (reload + 1) if reload else 0)

    def _now(self) -> int:
        """Return the counter."""
        if not self._scs.values[_CSR] & _ENABLE:
            return self._value
        ticks, reload = (self._elapsed() - self._since) // self._divider, self._scs.values[_RVR]
        if self._value and ticks <= self._value:
            return self._value - ticks
        ticks -= self._value
        return -ticks % (reload + 1)

    def _restart(self, value: int) -> None:
        """Go on from `value` now."""
        self.advance(now := self._elapsed())
        self._value, self._since, self._zeros = value, now, 0
        self._changed()

    def _read_csr(self, master: Master) -> int:
        self.advance(self._elapsed())
        flag = _COUNTFLAG if self._counted else 0
        if master is Master.CORE:
            self._counted = False
        return self._scs.values[_CSR] | flag

    def _write_csr(self, value: int, _master: Master) -> None:
        self._restart(self._now())
        self._scs.store(_CSR, value)

    def _write_rvr(self, value: int, _master: Master) -> None:
        self._restart(self._now())
        self._scs.values[_RVR] = value & 0x00FF_FFFF

    def _read_cvr(self, _master: Master) -> int:
        return self._now()

    def _write_cvr(self, _value: int, _master: Master) -> None:
        self._restart(0)
        self._counted = False
