"""A virtual board: its parts, put together."""

from __future__ import annotations

import atexit
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from harness.boards import Board
from harness.errors import VirtualError
from harness.virtual.chip.chip import Chip
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.memory import MemoryMap
from harness.virtual.core.debugger import Debugger
from harness.virtual.core.run import Core
from harness.virtual.faults.points import FaultPoints
from harness.virtual.faults.supply import Supply
from harness.virtual.ports.console import Console
from harness.virtual.time import timing_model
from harness.virtual.time.counting import BlockCounter
from harness.virtual.time.model import TimingModel
from harness.virtual.time.observer import Observer

_powered: weakref.WeakSet[VirtualMachine] = weakref.WeakSet()


class VirtualMachine:
    """A board that is powered on.

    Args:
        board: What to emulate.
        flash_file: File that keeps the flash; None for a private erased flash.
        block_cycles: Cycles of one execution of a basic block, from its bytes and address; None for
            the timing model.
        model: Timing model of this board alone; None for the default (`timing_model`).
        number: Which of several boards of this type; each has a unique id of its own.

    Raises:
        VirtualError: The board has no emulation, or the flash file cannot be used.
    """

    def __init__(
        self,
        board: Board,
        *,
        flash_file: Path | None = None,
        block_cycles: Callable[[bytes, int], int] | None = None,
        model: TimingModel | None = None,
        number: int = 1,
    ) -> None:
        if not board.facts.emulation:
            raise VirtualError(
                f"board '{board.id}' cannot be emulated",
                where=board.manifest,
                expected='a board with "emulation": true',
            )
        self.board = board
        self.number = number
        self.model = model or timing_model(board)
        self.memory = MemoryMap(board, flash_file)
        cycles = block_cycles or self.model.block_cycles
        counter = BlockCounter(cycles, self.memory.read, self._idle)
        #: Counts the events that the timing model needs; None if it needs none.
        self.observer: Observer | None = None
        if block_cycles is None and self.model.observes:
            self.observer = Observer(board, self.memory)
            counter.observe(self.observer, self.model.event_cycles)
        self.console = Console(0 if self.observer is None else self.observer.cold_address)
        to = Connections(
            board, self.memory, self.console, counter, self.observer, lambda: self.core, number
        )
        self.chip = Chip(to)
        self.core = Core(to, self.chip)
        self.cpu = self.core.cpu
        self.faults = FaultPoints(
            self.core, self.chip, self.memory, self.console, Supply(board.id, number)
        )
        self.debugger = Debugger(board, self.core, self.chip, self.memory, self.faults.debug_access)
        _powered.add(self)
        self.core.resume()

    def now(self) -> float:
        """Return seconds of virtual time; differences hold while the clock tree stays as it is."""
        with self.core.paused():
            return self.cpu.counter.elapsed() / self.chip.clock.hclk_hz

    def let_pass(self, seconds: float) -> None:
        """Let virtual time pass while the core waits for input."""
        if self.core.paced:
            time.sleep(seconds)
            return
        with self.core.paused():
            self.console.add_idle_ns(round(seconds * 1e9))

    def close(self) -> None:
        """Power the board off; its console then refuses use."""
        if self.core.closed:
            return
        self.core.close()
        self.console.power_off()
        self.memory.close()
        _powered.discard(self)

    def _idle(self) -> int:
        """Return the cycles that the core has waited for input since the last call."""
        return self.console.take_idle_ns() * self.chip.clock.hclk_hz // 1_000_000_000


@atexit.register
def _power_off_all() -> None:
    # A core that still ran would use memory that the interpreter has freed.
    for machine in list(_powered):
        machine.close()
