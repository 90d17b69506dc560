"""What clock controllers have in common: reset flags, faults of the reference, who is told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import IntFlag

from harness.boards import Board
from harness.errors import VirtualError
from harness.virtual.chip.bus import Master, Peripheral


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
        board: Its clock facts.
        base: Address of the first register.
        source: Reference manual and section.
        bus_enables: Offset of the register with the enable bits of ``apb1`` and ``apb2``.
    """

    def __init__(self, board: Board, base: int, source: str, bus_enables: dict[str, int]) -> None:
        super().__init__("RCC", base, source)
        self.board = board
        self.bus_enables = bus_enables
        #: Called before any clock changes.
        self.on_change: Callable[[], None] = lambda: None
        self.causes = ResetCause.POWER_ON | ResetCause.BOR | ResetCause.PIN
        #: True frequency of the reference clock over the nominal one; other than 1 is a fault.
        self.drift = 1.0
        #: Whether the reference clock starts; False is a fault.
        self.hse_works = True

    @property
    @abstractmethod
    def hclk_hz(self) -> int:
        """Core clock."""

    @abstractmethod
    def apb_hz(self, bus: str) -> int:
        """Clock of ``apb1`` or ``apb2``."""

    @abstractmethod
    def usart_hz(self, number: int, bus: str) -> int | None:
        """Return the clock of UART `number`; None when it is one that is not modelled."""

    def note(self, cause: ResetCause) -> None:
        """Set reset flags; they survive a reset until the firmware removes them."""
        self.causes |= cause

    def write(self, offset: int, value: int, mask: int, master: Master) -> None:
        """Write a register and tell who depends on clocks."""
        self.on_change()
        super().write(offset, value, mask, master)

    def enabled(self, offset: int, bit: int) -> bool:
        """Return whether the enable bit at `offset` is set."""
        return bool(self.values[offset] >> bit & 1)

    def broken(self, what: str, expected: str, where: str = "RCC_CFGR") -> VirtualError:
        """Return the error for a set-up on which the chip would not run."""
        return VirtualError(
            f"the firmware sets up a clock on which the chip would not run: {what}",
            where=where,
            expected=expected,
            fix="correct the firmware's clock set-up",
        )

    def check_wait_states(self, hz: float, wait_states: int, hz_per_wait_state: int) -> None:
        """Refuse a core clock that the flash is too slow for.

        Args:
            hz: Nominal core clock.
            wait_states: That the flash interface is set to.
            hz_per_wait_state: How much more each of them allows.

        Raises:
            VirtualError: More wait states are needed.
        """
        needed = int(hz - 1) // hz_per_wait_state
        if wait_states < needed:
            raise self.broken(
                f"{hz:.0f} Hz is selected with {wait_states} flash wait states",
                f"FLASH_ACR.LATENCY of at least {needed} first",
            )


def ahb_shift(code: int) -> int:
    """Return by how many bits HPRE divides (1 to 512, without 32)."""
    return (1, 2, 3, 4, 6, 7, 8, 9)[code & 7] if code & 8 else 0


def apb_shift(code: int) -> int:
    """Return by how many bits PPRE divides (1 to 16)."""
    return (code & 3) + 1 if code & 4 else 0
