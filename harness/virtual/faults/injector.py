"""Decide where faults fall, and inflict those that are not on the wire."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import TYPE_CHECKING

from harness.virtual.faults.plan import FaultPlan

if TYPE_CHECKING:
    from harness.virtual.faults.points import FaultPoints

# Cells of a worn sector that stay programmed, and how far into it they may be.
_WORN_BYTES, _WORN_WITHIN = 16, 512
_OF_CORE = ("hardfault", "hang", "latchup")
PROGRAM = "program"
"""Name of a programming run of the flash among the commands of triggers."""


class ProbeGone(Exception):
    """The debug probe was pulled out."""


class Schedule:
    """Places in a stream of items at which a fault falls.

    Gaps between them are drawn at once (geometric), so that an item without a fault costs nothing.

    Args:
        share: Probability per item.
        source: Random numbers of this schedule alone.
    """

    def __init__(self, share: float, source: random.Random) -> None:
        self._share = share
        self._random = source
        self._left = self._gap()

    def _gap(self) -> float:
        """Return how many items pass before the next fault."""
        if self._share <= 0:
            return math.inf
        if self._share >= 1:
            return 0
        return int(math.log(1 - self._random.random()) / math.log(1 - self._share))

    def within(self, count: int) -> list[int]:
        """Let `count` items pass; return the positions among them that a fault falls on."""
        found: list[int] = []
        at = self._left
        while at < count:
            found.append(int(at))
            at += 1 + self._gap()
        self._left = at - count
        return found

    def next(self) -> bool:
        """Let one item pass; return whether a fault falls on it."""
        return bool(self.within(1))

    def arm(self) -> None:
        """Let a fault fall on the next item."""
        self._left = 0


class Injector:
    """The faults of one virtual board while a plan is in force."""

    def __init__(self, plan: FaultPlan, board: FaultPoints) -> None:
        self.plan = plan
        self._board = board
        #: How often each kind of fault has fallen.
        self.counts: Counter[str] = Counter()
        self._schedules: dict[str, Schedule] = {}
        self._commands: Counter[str] = Counter()
        self._core = {kind: self.schedule(kind, "command") for kind in _OF_CORE}
        self._rots = self.schedule("rot", "command")
        self._accesses = self.schedule("probe", "access")
        self._flips = self.schedule("flip", "flash")
        self._flash_random = self.random("flash bits")
        self._probe_gone = False
        self._install(plan)

    def random(self, name: str) -> random.Random:
        """Return the random numbers for one purpose; independent of all others."""
        return random.Random(f"{self.plan.seed}:{name}")

    def schedule(self, kind: str, stream: str) -> Schedule:
        """Return where faults of a kind fall in a stream; triggers use a kind's last one."""
        share = getattr(self.plan, kind)
        self._schedules[kind] = Schedule(share, self.random(f"{kind}:{stream}"))
        return self._schedules[kind]

    def _trigger(self, command: str) -> None:
        """Arm the faults that are planned for this command."""
        self._commands[command] += 1
        for trigger in self.plan.triggers:
            if (trigger.command, trigger.count) == (command, self._commands[command]):
                self._schedules[trigger.kind].arm()

    # The chip.

    def _install(self, plan: FaultPlan) -> None:
        chip = self._board.chip
        chip.clock.drift = plan.clock
        chip.clock.reference_works = plan.hse
        chip.clock.supply_works = plan.overdrive
        chip.dwt.defect = plan.counter
        noise = self.random("jitter")
        chip.dwt.stolen = (lambda: abs(noise.gauss(0, plan.jitter))) if plan.jitter else None
        chip.scs.caches_work = plan.caches
        programming = plan.flip or any(
            trigger.kind == "flip" or trigger.command == PROGRAM for trigger in plan.triggers
        )
        chip.flash.after_erase = self._erased if plan.worn is not None else None
        chip.flash.after_programming = self._programmed if programming else None

    def remove(self) -> None:
        """Make the board sound again; what happened to its flash stays."""
        self._install(FaultPlan())

    def _erased(self, sector: int | None, start: int) -> None:
        """Leave zeros in a worn sector."""
        if sector != self.plan.worn:
            return
        self.counts["worn"] += 1
        cells = self.random("worn")  # the same cells every time
        for _ in range(_WORN_BYTES):
            self._board.memory.flash.data[start + cells.randrange(_WORN_WITHIN)] = 0

    def _programmed(self, start: int, end: int) -> bool:
        """Flip a bit in the programmed bytes; False if all of them are erased."""
        content = self._board.memory.flash.data
        used = self._used(start, end)
        if not used:
            return False
        self._trigger(PROGRAM)
        if self._flips.next():
            self.counts["flip"] += 1
            content[self._flash_random.choice(used)] ^= 1 << self._flash_random.randrange(8)
        return True

    def _used(self, start: int, end: int) -> list[int]:
        """Return the offsets of the bytes in flash that are not erased."""
        content = bytes(self._board.memory.flash.data[start:end])
        return [start + at for at, byte in enumerate(content) if byte != 0xFF]

    # The core.

    def command_sent(self, command: str) -> None:
        """Inject the faults scheduled for a command that the host has ended."""
        self._trigger(command)
        if self._rots.next():
            self.counts["rot"] += 1
            used = self._used(0, len(self._board.memory.flash.data))
            self._board.flip_flash(self._flash_random.choice(used), self._flash_random.randrange(8))
        kinds = [kind for kind, schedule in self._core.items() if schedule.next()]
        if kinds:
            self.counts[kinds[0]] += 1
            if kinds[0] == "hardfault":
                self._board.core.raise_fault()
                return
            self._board.core.stall()
            if kinds[0] == "latchup":
                self._board.supply.latch_up()
                self._probe_gone = True

    # The probe.

    def debug_access(self) -> None:
        """Let a debugger's access pass.

        Raises:
            ProbeGone: The probe is disconnected; it comes back when it is opened again.
        """
        if self._accesses.next():
            self.counts["probe"] += 1
            self._probe_gone = True
        if self._probe_gone:
            raise ProbeGone("the probe was disconnected")

    def probe_opened(self) -> None:
        """Note that the probe was plugged in again, which helps if the board has power."""
        self._probe_gone = not self._board.supply.works
