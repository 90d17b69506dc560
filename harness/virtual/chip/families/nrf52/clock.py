"""CLOCK, POWER and APPROTECT, which share their addresses.

nRF52840 Product Specification v1.7, chapters CLOCK, POWER and "Debug and trace". Oscillators start
at once. The core runs at 64 MHz from either high-frequency oscillator; they differ in accuracy.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.virtual.chip.bus import Master, ignore_write
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.families.nrf52.block import Tasks
from harness.virtual.chip.peripherals.clock import CoreClock, ResetCause
from harness.virtual.chip.peripherals.nvic import Nvic

CORE_HZ, LFCLK_HZ = 64_000_000, 32_768
_INTERRUPT = 0  # POWER_CLOCK
_HFCLKSTARTED, _LFCLKSTARTED, _DONE = 0x100, 0x104, 0x10C
_LFCLKSRC = 0x518
_STATE, _XTAL = 1 << 16, 1
_RESETREAS, _DISABLE = 0x400, 0x558
# Bits of RESETREAS; a reset by the supply sets none.
_CAUSES = {ResetCause.PIN: 1 << 0, ResetCause.WATCHDOG: 1 << 1, ResetCause.SOFTWARE: 1 << 2}
_STORED = (
    (0x510, "POFCON"), (0x538, "CTIV"), (0x55C, "TRACECONFIG"),
    (0x578, "DCDCEN"), (0x580, "DCDCEN0"), (0x5B4, "LFRCMODE"),
)  # fmt: skip
_RETAINED = ((0x51C, "GPREGRET"), (0x520, "GPREGRET2"))
_OTHER_EVENTS = (
    (0x108, "POFWARN"), (0x110, "CTTO"), (0x114, "SLEEPENTER"), (0x118, "SLEEPEXIT"),
    (0x11C, "USBDETECTED"), (0x120, "USBREMOVED"), (0x124, "USBPWRRDY"), (0x128, "CTSTARTED"),
    (0x12C, "CTSTOPPED"),
)  # fmt: skip
_RAMS = 9
_SW_DISABLE = 0x5A


class Clock(Tasks, CoreClock):
    """The clocks, reset causes, and the firmware's part in opening the debug port."""

    def __init__(self, to: Connections, nvic: Nvic) -> None:
        super().__init__("CLOCK", 0x4000_0000, "CLOCK and POWER", nvic, _INTERRUPT)
        self._recheck_console: Callable[[], None] = lambda: to.console.set_fast(None)
        self._hfxo = self._lfclk = False
        self.add_task(0x000, "HFCLKSTART", self._start_hfxo)
        self.add_task(0x004, "HFCLKSTOP", self._stop_hfxo)
        self.add_task(0x008, "LFCLKSTART", self._start_lfclk)
        self.add_task(0x00C, "LFCLKSTOP", self._stop_lfclk)
        self.add_task(0x010, "CAL", lambda: self.raise_event(_DONE))
        for offset, name in ((0x078, "CONSTLAT"), (0x07C, "LOWPWR")):
            self.add_task(offset, name, lambda: None)
        self.add_events(((_HFCLKSTARTED, "HFCLKSTARTED"), (_LFCLKSTARTED, "LFCLKSTARTED")))
        self.add_events(((_DONE, "DONE"), *_OTHER_EVENTS))
        self.add(0x408, "HFCLKRUN", writable=0, read=lambda _master: int(self._hfxo))
        self.add(0x40C, "HFCLKSTAT", writable=0, read=self._read_hfclk)
        self.add(0x414, "LFCLKRUN", writable=0, read=lambda _master: int(self._lfclk))
        self.add(0x418, "LFCLKSTAT", writable=0, read=self._read_lfclk)
        self.add(0x41C, "LFCLKSRCCOPY", writable=0, read=lambda _master: self.values[_LFCLKSRC])
        self.add(_LFCLKSRC, "LFCLKSRC", writable=0x3_0003)
        self.add_storage(_STORED)
        self.add(0x528, "HFXODEBOUNCE", 0x10, writable=0xFF)
        self.add_storage(_RETAINED, writable=0xFF)
        self.add(_RESETREAS, "RESETREAS", read=self._read_causes, write=self._clear_causes)
        self.add(0x428, "RAMSTATUS", writable=0)
        self.add(0x438, "USBREGSTATUS", writable=0)
        self.add(0x500, "SYSTEMOFF", refuse=(1, "System OFF"), write=ignore_write)
        self.add(0x640, "MAINREGSTATUS", writable=0)
        self.add(0x550, "APPROTECT_FORCEPROTECT", 0xFFFF_FFFF, writable=0xFF)
        self.add(_DISABLE, "APPROTECT_DISABLE", writable=0xFF)
        for n in range(_RAMS):
            for offset, suffix in ((0, ""), (4, "SET"), (8, "CLR")):
                self.add(0x900 + 0x10 * n + offset, f"RAM{n}_POWER{suffix}", 0xFFFF)

    def reset(self) -> None:
        """Go back to the internal oscillator; what is retained stays."""
        kept = {offset: self.values[offset] for offset, _ in _RETAINED}
        super().reset()
        self.values.update(kept)
        self._hfxo = self._lfclk = False
        self._recheck_console()

    @property
    def hclk_hz(self) -> int:
        """64 MHz; off as the crystal is, once that runs."""
        runs = self._hfxo and self.reference_works
        return round(CORE_HZ * self.drift) if runs else CORE_HZ

    @property
    def lfclk_runs(self) -> bool:
        """Whether the low-frequency clock runs."""
        return self._lfclk

    @property
    def opened(self) -> bool:
        """Whether the firmware has opened the debug port, as build codes Fxx ask it to."""
        return self.values[_DISABLE] == _SW_DISABLE

    def _start_hfxo(self) -> None:
        self._hfxo = True
        self._recheck_console()
        if self.reference_works:
            self.raise_event(_HFCLKSTARTED)

    def _stop_hfxo(self) -> None:
        self._hfxo = False
        self._recheck_console()

    def _start_lfclk(self) -> None:
        self._lfclk = True
        self.raise_event(_LFCLKSTARTED)

    def _stop_lfclk(self) -> None:
        self._lfclk = False

    def _read_hfclk(self, _master: Master) -> int:
        return _STATE | (_XTAL if self._hfxo and self.reference_works else 0)

    def _read_lfclk(self, _master: Master) -> int:
        return (_STATE | self.values[_LFCLKSRC] & 3) if self._lfclk else 0

    def _read_causes(self, _master: Master) -> int:
        return sum(bit for cause, bit in _CAUSES.items() if self.causes & cause)

    def _clear_causes(self, value: int, _master: Master) -> None:
        for cause, bit in _CAUSES.items():
            if value & bit:
                self.causes &= ~cause
