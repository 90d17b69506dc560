"""Real-time clock: calendar, alarms A and B, wake-up timer, backup registers.

RM0390 chapter 22 (F446), RM0385 chapter 29 (F7), RM0432 chapter RTC. The calendar is kept as ticks
of RTCCLK, and turned into BCD as it is read.
"""

from __future__ import annotations

from datetime import date, time
from functools import partial

from harness.virtual.chip.bus import Master, Peripheral, read_zero
from harness.virtual.chip.families.stm32.clocks import ClockController
from harness.virtual.chip.families.stm32.exti import Exti
from harness.virtual.time.counting import BlockCounter

_TR, _DR, _CR, _ISR, _PRER, _WUTR = range(0x00, 0x18, 4)
_CALIBR, _ALRMAR, _ALRMBR, _WPR, _SSR, _SHIFTR = range(0x18, 0x30, 4)
_CALR, _TAMPCR, _ALRMASSR, _ALRMBSSR, _OR, _BKP0R = range(0x3C, 0x54, 4)
_BYPSHAD, _FMT, _ALRAE, _ALRBE, _WUTE = 1 << 5, 1 << 6, 1 << 8, 1 << 9, 1 << 10
_WUCKSEL = 7
# Reference clock, coarse calibration, time stamps, summer time, outputs.
_OTHERS = 1 << 4 | 1 << 7 | 1 << 11 | 1 << 15 | 3 << 16 | 7 << 21 | 1 << 24
_TAMPERS = 0xAD  # enable bits
_INITS, _RSF, _INITF, _INIT = 1 << 4, 1 << 5, 1 << 6, 1 << 7
# Flags in ISR; the bit that enables one is as high in CR, and that of its interrupt 4 higher.
_ALARMS = {1 << 8: (_ALRMAR, _ALRMASSR), 1 << 9: (_ALRMBR, _ALRMBSSR)}
_WUTF, _FLAGS = 1 << 10, 7 << 8
_ALARM_OF = {offset: flag for flag, offsets in _ALARMS.items() for offset in offsets}
_SYNCHRONISED = 2  # ticks until the shadow registers follow
_DAY, _CENTURY = 86_400, 36_525  # seconds and days
_EPOCH = date(2000, 1, 1).toordinal()
_LOOKS = 400  # at most, for an alarm; the day of a month comes again within two months
_GATES = {"stm32l4": ("apb1", 10), "stm32h7": ("apb4", 16)}  # RTCAPBEN
_LINES = {"stm32l4": (18, 20), "stm32h7": (17, 19)}  # of the alarms and of the wake-up timer


def _bcd(value: int) -> int:
    return value // 10 << 4 | value % 10


def _number(bcd: int) -> int:
    return (bcd >> 4 & 0xF) * 10 + (bcd & 0xF)


class Rtc(Peripheral):
    """Runs while RTCEN is set and the selected source is ready."""

    def __init__(
        self, family: str, rcc: ClockController, exti: Exti, counter: BlockCounter
    ) -> None:
        h7 = family == "stm32h7"
        base = 0x5800_4000 if h7 else 0x4000_2800
        super().__init__("RTC", base, "RM0390 22.6, RM0385 29.6, RM0432 and RM0433 RTC registers")
        self._rcc, self._exti, self._counter = rcc, exti, counter
        self._alarm_line, self._wake_line = self.interrupts(family)
        if family in _GATES:
            bus, bit = _GATES[family]
            self.gate = rcc, rcc.layout.apb[bus][0], bit
        rcc.before_change.append(self._hold)
        rcc.after_change.append(self._go_on)
        rcc.backup_reset.append(self._clear)
        for offset, name, reset in ((_TR, "TR", 0), (_DR, "DR", 0x2101), (_SSR, "SSR", 0)):
            read, write = partial(self._read_calendar, offset), partial(self._set, offset)
            self.add(offset, name, reset, read=read, write=write)
        others = _OTHERS, "reference clock, time stamps, summer time or outputs"
        self.add(_CR, "CR", refuse=others, write=self._write_cr)
        self.add(_ISR, "ISR", read=self._read_isr, write=self._write_isr)
        self.add(_PRER, "PRER", 0x7F_00FF, writable=0x7F_7FFF)
        self.add(_WUTR, "WUTR", 0xFFFF, writable=0xFFFF)
        self.add_storage(((_ALRMAR, "ALRMAR"), (_ALRMBR, "ALRMBR")))
        self.add_storage(((_ALRMASSR, "ALRMASSR"), (_ALRMBSSR, "ALRMBSSR")), writable=0xF00_7FFF)
        self.add(_WPR, "WPR", read=read_zero, write=self._write_key)
        self.add(_SHIFTR, "SHIFTR", read=read_zero, refuse=(0xFFFF_FFFF, "a shift"))
        self.add(_CALR, "CALR", writable=0xE1FF)  # stored: the crystal needs no correction
        self.add(_TAMPCR, "TAMPCR", refuse=(_TAMPERS, "tamper detection"))
        f4 = family == "stm32f4"
        if f4:
            self.add(_CALIBR, "CALIBR", refuse=(0xFFFF_FFFF, "coarse calibration"))
        else:
            self.add(_OR, "OR", writable=0xF)
        self.add_storage((_BKP0R + 4 * n, f"BKP{n}R") for n in range(20 if f4 else 32))
        self._clear()

    @staticmethod
    def interrupts(family: str) -> dict[int, int]:
        """Return the interrupts of its lines of EXTI: of the alarms, and of the wake-up timer."""
        alarm, wake = _LINES.get(family, (17, 22))
        return {alarm: 41, wake: 3}

    def reset(self) -> None:
        """End what a system reset ends; the calendar and all settings survive."""
        self._hold()
        self.values[_ISR] &= ~_INIT
        self._held.clear()
        self._synchronised = self._passed + _SYNCHRONISED
        self._go_on()

    def _clear(self) -> None:
        """Reset the backup domain."""
        super().reset()
        self._hz: int | None = None
        self._origin: int | None = None  # tick of RTCCLK at `_base`; None while it stands still
        # Seconds since 2000 that the calendar started from, ticks that had passed since when it
        # was last held, and the number of a day with its weekday.
        self._base, self._passed, self._weekday = 0, 0, (0, 1)
        self._synchronised = _SYNCHRONISED
        self._held: dict[int, tuple[int, int]] = {}  # locked shadow registers
        self._wake: int | None = None  # ticks when the wake-up timer ends
        self._next: dict[int, int] = {}  # and when the flags are set next
        self._unlocked = self._first_key = False
        self._high: set[int] = set()  # lines

    # As a source of interrupts.

    @property
    def running(self) -> bool:
        """Whether the calendar counts."""
        return self._origin is not None

    @property
    def armed(self) -> bool:
        """Whether it counts and may interrupt."""
        return self.running and bool(self._interrupting)

    @property
    def _interrupting(self) -> int:
        control = self.values[_CR]
        return control & control >> 4 & _FLAGS

    def due(self) -> int | None:
        """Return when the next flag that interrupts is set, in core cycles."""
        wanted = self._interrupting & ~self.values[_ISR]
        soonest = min((t for flag, t in self._next.items() if flag & wanted), default=None)
        if self._origin is None or self._hz is None or soonest is None:
            return None
        return self._rcc.cycle_of(self._hz, self._origin + soonest)

    def advance(self, now: int) -> None:
        """Set the flags of what has happened, and drive the lines."""
        passed = self._position(now)
        if self.running and any(ticks <= passed for ticks in self._next.values()):
            for flag, ticks in self._next.items():
                self.values[_ISR] |= flag if ticks <= passed else 0
            self._find_next(passed)
        high = self.values[_ISR] & self.values[_CR] >> 4
        for line, flags in ((self._alarm_line, _ALRAE | _ALRBE), (self._wake_line, _WUTF)):
            if not high & flags:
                self._high.discard(line)
            elif line not in self._high:
                self._high.add(line)
                self._exti.trigger(line)

    # Counting.

    @property
    def _async(self) -> int:
        return (self.values[_PRER] >> 16 & 0x7F) + 1

    @property
    def _sync(self) -> int:
        return (self.values[_PRER] & 0x7FFF) + 1

    def _position(self, now: int | None = None) -> int:
        """Return the ticks since the calendar was at `_base`."""
        if self._origin is None or self._hz is None:
            return self._passed
        now = self._counter.elapsed() if now is None else now
        return self._rcc.ticks(self._hz, now) - self._origin

    def _hold(self) -> None:
        """Stand still, as a clock or a register is about to change."""
        if self._origin is not None:
            self.advance(now := self._counter.elapsed())
            self._passed, self._origin = self._position(now), None

    def _go_on(self) -> None:
        """Count from here, if there is a clock."""
        self._hz = self._rcc.rtc_hz()
        if self._hz is not None and not self.values[_ISR] & _INIT:
            self._origin = self._rcc.ticks(self._hz, self._counter.elapsed()) - self._passed
        if self.values[_CR] & _FLAGS:
            self._find_next(self._passed)
            self._counter.request_stop()

    def _find_next(self, passed: int) -> None:
        """Find when the flags are set next, after so many ticks."""
        enabled = self.values[_CR] & _FLAGS
        found = {flag: self._alarm_after(flag, passed) for flag in _ALARMS if enabled & flag}
        if self._wake is not None and self._wake <= passed:
            period = self._wake_period()
            self._wake += ((passed - self._wake) // period + 1) * period
        found[_WUTF] = self._wake
        self._next = {flag: ticks for flag, ticks in found.items() if ticks is not None}

    def _wake_period(self) -> int:
        select, count = self.values[_CR] & _WUCKSEL, self.values[_WUTR] + 1
        if select & 4:  # of the calendar's seconds
            return (count + (select >> 1 & 1) * 0x1_0000) * self._async * self._sync
        return count << 4 - select

    def _alarm_after(self, flag: int, passed: int) -> int | None:
        """Return the ticks when an alarm next compares equal."""
        alarm, fraction = (self.values[offset] for offset in _ALARMS[flag])
        bits = fraction >> 24 & 0xF
        step = 1 << bits if bits else self._sync  # between matches within a second
        first = (self._sync - 1 - (fraction & 0x7FFF)) % step if bits else 0
        if first >= self._sync:
            return None
        length = self._async * self._sync
        second, inside = divmod(passed, length)
        count = first + max(0, -(-(inside // self._async + 1 - first) // step)) * step
        second += self._base
        if count < self._sync and self._match(alarm, second) == second:
            return (second - self._base) * length + count * self._async
        found = self._match(alarm, second + 1)
        return None if found is None else (found - self._base) * length + first * self._async

    def _match(self, alarm: int, second: int) -> int | None:
        """Return the first second from `second` on that an alarm compares equal to."""
        for _ in range(_LOOKS):
            day = self._dr(second)
            day = day >> 13 & 7 if alarm & 1 << 30 else day & 0x3F
            different = (day << 24 | self._tr(second)) ^ alarm & ~(1 << 30)
            for mask, field, unit in ((1 << 31, 0x3F << 24, _DAY), (1 << 23, 0x7F_0000, 3600),
                                      (1 << 15, 0x7F00, 60), (1 << 7, 0x7F, 1)):  # fmt: skip
                if not alarm & mask and different & field:
                    second = (second // unit + 1) * unit
                    break
            else:
                return second
        return None

    # The calendar in BCD.

    def _tr(self, second: int) -> int:
        hour, within = divmod(second % _DAY, 3600)
        top = _bcd(hour)
        if self.values[_CR] & _FMT:
            top = (hour >= 12) << 6 | _bcd((hour - 1) % 12 + 1)
        return top << 16 | _bcd(within // 60) << 8 | _bcd(within % 60)

    def _dr(self, second: int) -> int:
        day = second // _DAY % _CENTURY
        found, (known, weekday) = date.fromordinal(_EPOCH + day), self._weekday
        if day != known:
            weekday = (weekday - 1 + (day - known) % _CENTURY) % 7 + 1
        year, month = _bcd(found.year - 2000), _bcd(found.month)
        return year << 16 | weekday << 13 | month << 8 | _bcd(found.day)

    def _read_calendar(self, offset: int, _master: Master) -> int:
        """Read SSR, TR or DR; what is read first locks the others until DR is read."""
        second, inside = divmod(self._position(), self._async * self._sync)
        moment = self._base + second, inside // self._async
        if not self.values[_CR] & _BYPSHAD:
            moment = self._held.get(offset, moment)
            for later in {_SSR: (_TR, _DR), _TR: (_DR,), _DR: ()}[offset]:
                self._held.setdefault(later, moment)
            if offset == _DR:
                self._held.clear()
        if offset == _SSR:
            return self._sync - 1 - moment[1]
        return self._tr(moment[0]) if offset == _TR else self._dr(moment[0])

    def _set(self, offset: int, value: int, _master: Master) -> None:
        day, second = divmod(self._base, _DAY)
        try:
            if offset == _TR:
                hour, half = _number(value >> 16 & 0x3F), value >> 22 & 1
                hour = hour % 12 + 12 * half if self.values[_CR] & _FMT else hour
                at = time(hour, _number(value >> 8 & 0x7F), _number(value & 0x7F))
                second = at.hour * 3600 + at.minute * 60 + at.second
            elif offset == _DR:
                year, month = _number(value >> 16 & 0xFF), _number(value >> 8 & 0x1F)
                day = date(2000 + year, month, _number(value & 0x3F)).toordinal() - _EPOCH
                self._weekday = day, value >> 13 & 7
        except ValueError as error:
            what = f"{value:#x}, which is no time or date, by write"
            raise self.unmodelled(offset, what) from error
        self._base = day * _DAY + second

    # Other registers.

    def write(self, offset: int, value: int, mask: int, master: Master) -> None:
        """Write a register, if its protection lets it."""
        if self.has(offset) and not self._takes(offset):
            self.warn(
                f"the firmware writes RTC_{self.registers[offset].name} while that is protected "
                "(DBP, WPR, or the mode that it needs): the write is lost, as on the chip"
            )
            return
        self._hold()
        try:
            super().write(offset, value, mask, master)
        finally:
            self._go_on()
            self.advance(self._counter.elapsed())

    def _takes(self, offset: int) -> bool:
        initialising = bool(self.values[_ISR] & _INIT) and self._hz is not None
        if not self._rcc.backup_writable():
            return False
        if offset in (_ISR, _WPR, _TAMPCR) or offset >= _OR:  # ST's HAL writes OR without the key
            return True
        if offset in (_TR, _DR, _PRER) and not initialising:
            return False
        if offset in _ALARM_OF and self.values[_CR] & _ALARM_OF[offset] and not initialising:
            return False
        return self._unlocked and not (offset == _WUTR and self.values[_CR] & _WUTE)

    def _write_key(self, value: int, _master: Master) -> None:
        self._unlocked = self._first_key and value == 0x53
        self._first_key = value == 0xCA

    def _write_cr(self, value: int, _master: Master) -> None:
        old = self.values[_CR]
        kept = (0 if self.values[_ISR] & _INIT else _FMT) | (_WUCKSEL if old & _WUTE else 0)
        self.values[_CR] = value & ~kept | old & kept
        if not value & _WUTE:
            self._wake = None
        elif not old & _WUTE:
            second = self._async * self._sync
            since = self._passed % second if value & 4 else 0
            self._wake = self._passed - since + self._wake_period()

    def _read_isr(self, _master: Master) -> int:
        self.advance(self._counter.elapsed())
        control, value = self.values[_CR], self.values[_ISR]
        initialising = bool(value & _INIT) and self._hz is not None
        value |= ~control >> 8 & 7  # ALRAWF, ALRBWF, WUTWF
        value |= _INITF | 3 if initialising else 0
        if not value & _INIT and not control & _BYPSHAD and self._position() >= self._synchronised:
            value |= _RSF
        return value | (_INITS if self._dr(self._base) >> 16 else 0)

    def _write_isr(self, value: int, _master: Master) -> None:
        self.values[_ISR] &= value | ~_FLAGS
        if not self._unlocked:
            return
        if not value & _RSF:
            self._synchronised = self._passed + _SYNCHRONISED
        if value & _INIT and not self.values[_ISR] & _INIT:
            # The prescalers start again, so that what had passed of the second is lost.
            self._base += self._passed // (self._async * self._sync)
            self._wake = None if self._wake is None else self._wake - self._passed
            self._passed, self._synchronised = 0, _SYNCHRONISED
            self._held.clear()
        self.values[_ISR] = self.values[_ISR] & ~_INIT | value & _INIT
