"""Where faults get at a virtual board: its wire, probe, core, flash and supply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.virtual.chip.memory import MemoryMap
from harness.virtual.chip.peripherals.clock import ResetCause
from harness.virtual.core.run import Core
from harness.virtual.faults.supply import Supply
from harness.virtual.ports.console import Console

if TYPE_CHECKING:
    from harness.virtual.chip.chip import Chip
    from harness.virtual.faults.injector import Injector
    from harness.virtual.faults.line import FaultyLine
    from harness.virtual.faults.plan import FaultPlan


class FaultPoints:
    """What goes wrong on a board under a fault plan; without one, nothing."""

    def __init__(
        self, core: Core, chip: Chip, memory: MemoryMap, console: Console, supply: Supply
    ) -> None:
        self.supply = supply
        self.core = core
        self.chip = chip
        self.memory = memory
        self.injector: Injector | None = None  # None on a sound board
        self._console = console
        self._line: FaultyLine | None = None

    def line(self, plan: FaultPlan | None) -> Console | FaultyLine:
        """Return the console's wire under a fault plan, which is in force from now on."""
        if self.injector is not None and self.injector.plan != plan:
            self.injector.remove()
            self.injector = self._line = None
        if plan is None:
            return self._console
        if self._line is None:
            from harness.virtual.faults.injector import Injector
            from harness.virtual.faults.line import FaultyLine

            self.injector = Injector(plan, self)
            self._line = FaultyLine(self, self._console, self.injector)
        return self._line

    def probe_opened(self) -> None:
        """Note that the probe was plugged in again."""
        if self.injector is not None:
            self.injector.probe_opened()

    def debug_access(self) -> None:
        """Let an access of the debugger pass, or raise `ProbeGone`."""
        if self.injector is not None:
            self.injector.debug_access()

    def flip_flash(self, offset: int, bit: int) -> None:
        """Flip a bit in flash while the core may be running from it."""
        with self.core.paused():
            for origin in self.memory.flash.origins:
                self.core.cpu.invalidate(origin + offset, origin + offset + 1)
            self.memory.flash.data[offset] ^= 1 << bit

    def upset(self, *, watchdog: bool) -> None:
        """Reset the chip in the middle; what it was sending is lost."""
        with self.core.paused():
            self._console.discard_input()
            self.core.reset(ResetCause.WATCHDOG if watchdog else ResetCause.BOR)
