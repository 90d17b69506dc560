"""What clock controllers have in common: sources, dividers, reset flags, faults of the clock."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from harness.boards.stm32 import stm32_facts
from harness.errors import VirtualError
from harness.virtual.chip.bus import Master
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.stm32.flash import KeyedFlash
from harness.virtual.chip.peripherals.clock import CoreClock, ResetCause

CR, CFGR = 0x00, 0x08
# In CR of every family; a ready flag is one bit above its enable, but for `Layout.internal`.
_HSEON, _HSEBYP, _PLLON, _OTHER_PLLS = 1 << 16, 1 << 18, 1 << 24, (1 << 26, 1 << 28)
_LSION = 1 << 0
# In the register of the backup domain, the same in every family.
_LSEON, _LSERDY, _RTCSEL, _RTCEN, _BDRST = 1 << 0, 1 << 1, 3 << 8, 1 << 15, 1 << 16
#: Low-speed crystal and low-speed internal oscillator.
LSE_HZ, LSI_HZ = 32_768, 32_000


# Flags of RCC_CSR. Every reset pulls the pin down too, and a power-on is a brown-out as well.
_FLAGS = {
    ResetCause.BOR: 1 << 25 | 1 << 26,
    ResetCause.PIN: 1 << 26,
    ResetCause.POWER_ON: 1 << 27 | 1 << 25 | 1 << 26,
    ResetCause.SOFTWARE: 1 << 28 | 1 << 26,
    ResetCause.WATCHDOG: 1 << 29 | 1 << 26,
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a family's RCC has what clock controllers have in common."""

    base: int
    manual: str
    cr_reset: int
    cr_writable: int
    #: Enable bit and ready flag of the internal oscillators, HSI last; SW numbers these from 0, and
    #: then HSE and PLL.
    internal: tuple[tuple[int, int], ...]
    #: Control and status register: offset, value after reset, bits that software sets, RMVF.
    csr: tuple[int, int, int, int]
    #: Backup domain control register: offset, bits that software sets.
    bdcr: tuple[int, int]
    #: What HSE is divided by for the RTC; None if RTCPRE of CFGR says so.
    rtc_divider: int | None
    #: Register with the enable bits of each APB bus, and lowest bit of its divider in CFGR.
    apb: dict[str, tuple[int, int]]
    #: Register that selects the clock of a UART, and the lowest bit of the field for UART 0.
    uart_select: tuple[int, int] | None
    hz_per_wait_state: int  # of the flash's clock; each step needs one more
    cfgr: int = CFGR  # offset of CFGR
    sws: int = 2  # lowest bit of SWS in it, which tells what SW got


def prescaler(code: int) -> int:
    """Return how often a clock is halved: HPRE's 1 to 512, without 32."""
    return (1, 2, 3, 4, 6, 7, 8, 9)[code & 7] if code & 8 else 0


class ClockController(CoreClock):
    """Base of a family's RCC: clock registers, and the frequencies that follow from them."""

    def __init__(self, to: Connections, flash: KeyedFlash, layout: Layout) -> None:
        super().__init__("RCC", layout.base, layout.manual)
        self.board, self.facts = to.board, stm32_facts(to.board)
        self._flash = flash
        self.layout = layout
        self._hse = len(layout.internal)
        self._pll = self._hse + 1
        #: Send the console's next access through the checks, as a clock or pin changes.
        self.recheck_console = partial(to.console.set_fast, None)
        self.before_write = self._about_to_change
        #: Called before any clock may change, and before a reset.
        self.before_change: list[Callable[[], None]] = []
        #: Called after any clock may have changed, and after a reset.
        self.after_change: list[Callable[[], None]] = []
        #: Called as BDRST resets the backup domain.
        self.backup_reset: list[Callable[[], None]] = []
        self._elapsed = to.counter.elapsed
        self._anchor = 0, 0  # core cycles and picoseconds since power-on, at the last change
        read, write = self.read_cr, self.write_cr
        self.add(CR, "CR", layout.cr_reset, writable=layout.cr_writable, read=read, write=write)
        self.add(layout.cfgr, "CFGR", read=self._read_cfgr, write=self._write_cfgr)
        csr, reset, writable, _ = layout.csr
        read, write = self._read_csr, self._write_csr
        self.add(csr, "CSR", reset, writable=writable, read=read, write=write)
        bdcr, writable = layout.bdcr
        read, write = self._read_bdcr, self._write_bdcr
        self.add(bdcr, "BDCR", writable=writable, read=read, write=write)

    def reset(self) -> None:
        """Return to the clock after reset; the backup domain survives."""
        self._about_to_change()
        backup = self.values[self.layout.bdcr[0]]
        super().reset()
        self.values[self.layout.bdcr[0]] = backup
        self._changed()

    def write(self, offset: int, value: int, mask: int, master: Master) -> None:
        """Write a register, and tell what depends on a clock."""
        super().write(offset, value, mask, master)
        self._changed()

    def _changed(self) -> None:
        for listener in self.after_change:
            listener()

    def _about_to_change(self) -> None:
        self.recheck_console()
        for listener in self.before_change:
            listener()
        now = self._elapsed()
        self._anchor = now, self._picoseconds(now)

    # What families differ in.

    @property
    @abstractmethod
    def pll_source(self) -> int:
        """Source of the PLL, by its number in SW; -1 for none."""

    @abstractmethod
    def backup_writable(self) -> bool:
        """Return whether the backup domain takes writes (DBP of PWR)."""

    @abstractmethod
    def pll_factors(self) -> tuple[int, int]:
        """Return what the PLL's source is multiplied and divided by for the system clock."""

    @abstractmethod
    def check_supply(self, hclk: int, nominal: float, before: int) -> None:
        """Raise `VirtualError` if the chip's supply is not set up for a core clock.

        Args:
            hclk: The core clock in Hz.
            nominal: What it would be without a fault of the reference clock.
            before: The core clock that it follows.
        """

    def pll_enabled(self) -> bool:
        """Return whether the PLL is on, with its output to the system clock."""
        return bool(self.values[CR] & _PLLON)

    def write_cr(self, value: int, _master: Master) -> None:
        """Switch oscillators."""
        self.store(CR, value)

    def reset_flags(self) -> int:
        """Return the reset flags as CSR has them."""
        flags = 0
        for cause, bits in _FLAGS.items():
            flags |= bits if self.causes & cause else 0
        return flags

    # Sources.

    def runs(self, source: int) -> bool:
        """Return whether the clock that SW calls `source` is ready."""
        value = self.values[CR]
        if source == self._pll:
            return self.pll_enabled() and self.runs(self.pll_source)
        if source == self._hse:
            clock = self.facts.clock
            fed = clock.hse_hz is not None and self.reference_works and bool(value & _HSEON)
            if fed and clock.hse_bypass and not value & _HSEBYP:
                self.warn(
                    f"{self.board.id}: the firmware starts HSE without HSEBYP, but a clock feeds "
                    "OSC_IN on this board, not a crystal; boards are known to start that way"
                )
            return fed
        return 0 <= source < self._hse and bool(value & self.layout.internal[source][0])

    def read_cr(self, _master: Master) -> int:
        """Return CR: what is switched on and can run is ready."""
        value = self.values[CR]
        ready = [flag for _, flag in self.layout.internal] + [_HSEON << 1, _PLLON << 1]
        running = [flag for source, flag in enumerate(ready) if self.runs(source)]
        others = [on for on in _OTHER_PLLS if value & on and self.runs(self.pll_source)]
        every = sum(ready) + 2 * sum(_OTHER_PLLS)
        return value & ~every | sum(running) | 2 * sum(others)

    @property
    def active(self) -> int:
        """Source of the system clock, as SWS has it; 0 while the one that SW wants is off."""
        wanted = self.values[self.layout.cfgr] & 3
        return wanted if self.runs(wanted) else 0

    # Registers.

    def _read_cfgr(self, _master: Master) -> int:
        cfgr, sws = self.layout.cfgr, self.layout.sws
        return self.values[cfgr] & ~(3 << sws) | self.active << sws

    def _write_cfgr(self, value: int, _master: Master) -> None:
        self.change_clock(self.layout.cfgr, value)

    def _read_csr(self, _master: Master) -> int:
        value = self.values[self.layout.csr[0]]
        return value | (value & _LSION) << 1 | self.reset_flags()

    def _write_csr(self, value: int, _master: Master) -> None:
        csr, _, _, remove = self.layout.csr
        self.store(csr, value)
        if value & remove:
            self.causes = ResetCause(0)

    def lse_runs(self) -> bool:
        """Return whether the low-speed crystal's oscillator runs; all boards have the crystal."""
        return self.reference_works and bool(self.values[self.layout.bdcr[0]] & _LSEON)

    def _read_bdcr(self, _master: Master) -> int:
        return self.values[self.layout.bdcr[0]] | (_LSERDY if self.lse_runs() else 0)

    def _write_bdcr(self, value: int, _master: Master) -> None:
        offset, _ = self.layout.bdcr
        old = self.values[offset]
        if not self.backup_writable():  # the chip drops the write too
            return
        if value & _BDRST:
            self.values[offset] = _BDRST
            for listener in self.backup_reset:
                listener()
            return
        if old & _RTCSEL:  # only BDRST takes the selection back
            value = value & ~_RTCSEL | old & _RTCSEL
        self.store(offset, value)

    def change_clock(self, register: int, value: int) -> None:
        """Store CR or a divider; undo it and raise `VirtualError` if the chip would not run."""
        old = self.values[register]
        before = self.hclk_hz if register != CR else None
        self.store(register, value)
        try:
            self._check_speed(before)
        except VirtualError:
            self.values[register] = old
            raise

    def _check_speed(self, before: int | None) -> None:
        hclk, limit = self.hclk_hz, self.facts.clock.sysclk_hz
        nominal = hclk / max(1.0, self.drift)
        if nominal > limit:
            raise self.broken(f"the core clock would be {hclk} Hz", f"at most {limit} Hz")
        self.check_supply(hclk, nominal, hclk if before is None else before)
        wait_states = self._flash.wait_states
        needed = self.wait_states_for(nominal)
        if wait_states < needed:
            raise self.broken(
                f"{nominal:.0f} Hz is selected with {wait_states} flash wait states",
                f"FLASH_ACR.LATENCY of at least {needed} first",
            )

    def wait_states_for(self, nominal: float) -> int:
        """Return the wait states that the flash needs at a core clock in Hz."""
        return int(nominal - 1) // self.layout.hz_per_wait_state

    def broken(self, what: str, expected: str, where: str = "RCC_CFGR") -> VirtualError:
        """Return the error for a set-up on which the chip would not run."""
        return VirtualError(
            f"the firmware sets up a clock on which the chip would not run: {what}",
            where=where,
            expected=expected,
            fix="correct the firmware's clock set-up",
        )

    # Frequencies.

    @property
    def sysclk_hz(self) -> int:
        """System clock that the registers give."""
        if self.active != self._pll:
            return self.source_hz(self.active)
        multiplied, divided = self.pll_factors()
        return self.source_hz(self.pll_source) * multiplied // divided

    def source_hz(self, source: int) -> int:
        """Return the frequency of HSI or HSE."""
        clock = self.facts.clock
        return round((clock.hse_hz or 0) * self.drift) if source == self._hse else clock.hsi_hz

    @property
    def hclk_hz(self) -> int:
        """Core clock."""
        return self.sysclk_hz >> prescaler(self.values[CFGR] >> 4 & 0xF)

    @property
    def ahb_hz(self) -> int:
        """Clock of the buses that the peripherals' clocks are divided from."""
        return self.hclk_hz

    def _picoseconds(self, cycles: int) -> int:
        since, then = self._anchor
        return then + (cycles - since) * 10**12 // self.hclk_hz

    def ticks(self, hz: int, cycles: int) -> int:
        """Return the ticks of a clock since power-on, at a time in core cycles."""
        return self._picoseconds(cycles) * hz // 10**12

    def cycle_of(self, hz: int, ticks: int) -> int:
        """Return the time in core cycles of such a tick, if no clock changes before."""
        since, then = self._anchor
        return since + -(-(-(-ticks * 10**12 // hz) - then) * self.hclk_hz // 10**12)

    def apb_hz(self, bus: str) -> int:
        """Clock of ``apb1`` or ``apb2``."""
        code = self.values[CFGR] >> self.layout.apb[bus][1] & 7  # PPRE: 1 to 16
        return self.hclk_hz >> ((code & 3) + 1 if code & 4 else 0)

    def rtc_hz(self) -> int | None:
        """Return the clock of the RTC; None while it has none."""
        backup = self.values[self.layout.bdcr[0]]
        source = backup >> 8 & 3 if backup & _RTCEN else 0
        if source == 1 and self.lse_runs():
            return LSE_HZ
        if source == 2 and self.values[self.layout.csr[0]] & _LSION:
            return LSI_HZ
        divider = self.layout.rtc_divider or self.rtc_divider()
        if source == 3 and divider > 1 and self.runs(self._hse):
            return self.source_hz(self._hse) // divider
        return None

    def rtc_divider(self) -> int:
        """Return what HSE is divided by for the RTC."""
        return self.values[CFGR] >> 16 & 0x1F

    def usart_hz(self, number: int, bus: str) -> int | None:
        """Return the clock of UART `number`; None when it is the LSE, which is not modelled."""
        if self.layout.uart_select is None:
            return self.apb_hz(bus)
        register, lowest = self.layout.uart_select
        select = self.values[register] >> lowest + 2 * number & 3
        return (self.apb_hz(bus), self.sysclk_hz, self.facts.clock.hsi_hz, None)[select]
