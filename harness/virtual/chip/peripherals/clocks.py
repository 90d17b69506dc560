"""What clock controllers have in common: sources, dividers, reset flags, faults of the clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import IntFlag

from harness.errors import VirtualError
from harness.virtual.chip.bus import Master, Peripheral
from harness.virtual.chip.connections import Connections

CR, CFGR = 0x00, 0x08


class ResetCause(IntFlag):
    """Reset flags, as RCC_CSR of the STM32F4 and F7 has them."""

    BOR = 1 << 25
    PIN = 1 << 26
    POWER_ON = 1 << 27
    SOFTWARE = 1 << 28
    WATCHDOG = 1 << 29


class ClockController(Peripheral, ABC):
    """Base of a family's RCC.

    Args:
        enables: Offset of the register with the enable bits of each APB bus.
        dividers: Lowest bit of the divider of each APB bus in CFGR.
    """

    def __init__(
        self,
        to: Connections,
        base: int,
        source: str,
        *,
        enables: dict[str, int],
        dividers: dict[str, int],
    ) -> None:
        super().__init__("RCC", base, source)
        self.board = to.board
        self.bus_enables = enables
        self._dividers = dividers
        self._console = to.console
        self.causes = ResetCause.POWER_ON | ResetCause.BOR | ResetCause.PIN
        #: True frequency of the reference clock over the nominal one; other than 1 is a fault.
        self.drift = 1.0
        #: Whether the reference clock starts; False is a fault.
        self.hse_works = True
        self.add(CFGR, "CFGR", read=self._read_cfgr, write=self.write_cfgr)

    @abstractmethod
    def write_cfgr(self, value: int, _master: Master) -> None:
        """Select the system clock and the dividers."""

    @abstractmethod
    def runs(self, source: int) -> bool:
        """Return whether the clock that SW calls `source` is ready."""

    @property
    @abstractmethod
    def sysclk_hz(self) -> int:
        """System clock that the registers give."""

    @property
    def active(self) -> int:
        """Source of the system clock, as SWS has it; 0 while the one that SW wants is off."""
        wanted = self.values[CFGR] & 3
        return wanted if self.runs(wanted) else 0

    @property
    def hclk_hz(self) -> int:
        """Core clock."""
        code = self.values[CFGR] >> 4 & 0xF  # HPRE: 1 to 512, without 32
        return self.sysclk_hz >> ((1, 2, 3, 4, 6, 7, 8, 9)[code & 7] if code & 8 else 0)

    def apb_hz(self, bus: str) -> int:
        """Clock of ``apb1`` or ``apb2``."""
        code = self.values[CFGR] >> self._dividers[bus] & 7  # PPRE: 1 to 16
        return self.hclk_hz >> ((code & 3) + 1 if code & 4 else 0)

    @abstractmethod
    def usart_hz(self, number: int, bus: str) -> int | None:
        """Return the clock of UART `number`; None when it is one that is not modelled."""

    def note(self, cause: ResetCause) -> None:
        """Set reset flags; they survive a reset until the firmware removes them."""
        self.causes |= cause

    def write(self, offset: int, value: int, mask: int, master: Master) -> None:
        """Write a register."""
        self.changing()
        super().write(offset, value, mask, master)

    def changing(self) -> None:
        """Send the console's next access through the checks, as a clock or pin changes."""
        self._console.set_fast(None)

    def off(self, offset: int, bit: int) -> str | None:
        """Return why a block cannot be used whose enable bit is clear; None if it is set."""
        if self.values[offset] >> bit & 1:
            return None
        return f"its clock is off (RCC_{self.registers[offset].name} bit {bit})"

    def crystal_runs(self, on: int, bypass: int) -> bool:
        """Return whether the HSE is ready, with its bits in CR."""
        # A board that feeds OSC_IN with a clock has no crystal to start without HSEBYP.
        value, clock = self.values[CR], self.board.facts.clock
        fed = clock.hse_hz is not None and self.hse_works
        return fed and bool(value & on) and (not clock.hse_bypass or bool(value & bypass))

    def _read_cfgr(self, _master: Master) -> int:
        return self.values[CFGR] & ~0xC | self.active << 2

    def broken(self, what: str, expected: str, where: str = "RCC_CFGR") -> VirtualError:
        """Return the error for a set-up on which the chip would not run."""
        return VirtualError(
            f"the firmware sets up a clock on which the chip would not run: {what}",
            where=where,
            expected=expected,
            fix="correct the firmware's clock set-up",
        )

    def check_wait_states(self, hz: float, wait_states: int, hz_per_wait_state: int) -> None:
        """Raise `VirtualError` if the flash is too slow for a nominal core clock."""
        needed = int(hz - 1) // hz_per_wait_state
        if wait_states < needed:
            raise self.broken(
                f"{hz:.0f} Hz is selected with {wait_states} flash wait states",
                f"FLASH_ACR.LATENCY of at least {needed} first",
            )
