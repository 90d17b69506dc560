"""What the rest of a virtual board asks of any chip's clocks: frequency, reset causes, faults."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import IntFlag, auto

from harness.virtual.chip.bus import Peripheral


class ResetCause(IntFlag):
    """Why a chip was reset; a family says which of its flags that sets."""

    POWER_ON = auto()
    BOR = auto()  # the supply fell too low
    PIN = auto()
    SOFTWARE = auto()
    WATCHDOG = auto()


class CoreClock(Peripheral, ABC):
    """Register block that decides on the core's clock."""

    def __init__(self, name: str, base: int, manual: str) -> None:
        super().__init__(name, base, manual)
        #: Causes of resets that the firmware has not removed.
        self.causes = ResetCause.POWER_ON
        #: True frequency of the reference clock over the nominal one; other than 1 is a fault.
        self.drift = 1.0
        #: Whether the reference clock starts; False is a fault.
        self.reference_works = True
        #: Whether the supply gets ready for the full speed, where that takes any preparation; False
        #: is a fault.
        self.supply_works = True

    @property
    @abstractmethod
    def hclk_hz(self) -> int:
        """Core clock."""
