"""What the rest of a virtual board asks of the UART that is its console."""

from __future__ import annotations

from abc import ABC, abstractmethod

from harness.virtual.chip.bus import Peripheral
from harness.virtual.native.callbacks import Page

# A receiver follows a rate that is off by a few per cent (RM0385 31.5.5).
_TOLERANCE = 0.03


class ConsoleUart(Peripheral, ABC):
    """UART of the console; it may interrupt the core, as a `Source` does."""

    @property
    @abstractmethod
    def baud(self) -> int | None:
        """Rate that the registers give; None without one."""

    @property
    @abstractmethod
    def page(self) -> Page:
        """The compiled callbacks of the UART's page."""

    @property
    @abstractmethod
    def armed(self) -> bool:
        """Whether it may interrupt."""

    @property
    def running(self) -> bool:
        """Return False: the host changes it, not time."""
        return False

    def due(self) -> int | None:
        """Return None: it waits for the host, not for a time."""
        return None

    @abstractmethod
    def advance(self, _now: int = 0) -> None:
        """Drive the interrupt."""

    def off_from(self, host: int | None) -> bool:
        """Return whether a host at this rate (None: none listens) and the UART miss each other."""
        own = self.baud
        return host is not None and (own is None or abs(own - host) > _TOLERANCE * host)
