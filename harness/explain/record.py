"""What an explanation holds: cycles by layer and by function, split by cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import add

from harness.virtual.time.events import DCACHE_FLASH, DCACHE_RAM, FETCH_JUMP, FETCH_NEXT, NAMES

#: Causes in the order of every split: the cycles that issuing takes where every issue slot is used,
#: those that slots left empty add, and then those of each event.
CAUSES = ("issue, every slot used", "issue, slots left empty", *NAMES)


@dataclass(frozen=True, slots=True)
class Split:
    """Modelled cycles by cause, of some part of a run."""

    instructions: int = 0
    slots: int = 0  # issue slots: two a cycle on a Cortex-M7, one on a Cortex-M4
    cycles: tuple[int, ...] = (0,) * len(CAUSES)  # by cause, as `CAUSES`
    events: tuple[int, ...] = (0,) * len(NAMES)  # counts, as `harness.virtual.time.events`

    def __add__(self, other: Split) -> Split:
        """Return both parts together."""
        cycles, events = map(add, self.cycles, other.cycles), map(add, self.events, other.events)
        instructions, slots = self.instructions + other.instructions, self.slots + other.slots
        return Split(instructions, slots, tuple(cycles), tuple(events))

    @property
    def total(self) -> int:
        """All cycles."""
        return sum(self.cycles)

    @property
    def slots_used(self) -> float | None:
        """Share of the issue slots that took an instruction."""
        return self.instructions / self.slots if self.slots else None

    @property
    def code_misses(self) -> int:
        """Lines of code that came from memory."""
        return self.events[FETCH_JUMP] + self.events[FETCH_NEXT]

    @property
    def load_misses(self) -> int:
        """Loads that missed the data cache."""
        return self.events[DCACHE_FLASH] + self.events[DCACHE_RAM]


@dataclass(frozen=True, slots=True)
class LayerSplit:
    """A layer: its name, operator and MACs, and its cycles by function."""

    name: str
    operator: str
    macs: int | None
    functions: dict[str, Split]

    @property
    def split(self) -> Split:
        """All its functions."""
        return sum(self.functions.values(), Split())


@dataclass(frozen=True, slots=True)
class Explanation:
    """One firmware's inference on a virtual board."""

    label: str  # runtime, kernels and flags
    board: str
    timing: str  # name and version of the model
    layers: tuple[LayerSplit, ...]
    expected_error: float | None  # of the timing model, as a share; see docs/fidelity.md

    @property
    def total(self) -> Split:
        """The sum of the layers."""
        return sum((layer.split for layer in self.layers), Split())

    def functions(self) -> dict[str, Split]:
        """Return the layers' functions added up, most cycles first."""
        return _summed(item for layer in self.layers for item in layer.functions.items())

    def operators(self) -> dict[str, Split]:
        """Return the split by operator, most cycles first."""
        return _summed((layer.operator, layer.split) for layer in self.layers)

    def macs(self, operator: str) -> int:
        """Return the MACs of all layers of an operator."""
        return sum(layer.macs or 0 for layer in self.layers if layer.operator == operator)


def _summed(parts: Iterable[tuple[str, Split]]) -> dict[str, Split]:
    found: dict[str, Split] = {}
    for name, split in parts:
        found[name] = found.get(name, Split()) + split
    return dict(sorted(found.items(), key=lambda item: -item[1].total))
