"""What an explanation holds: cycles by layer and by function, split by cause."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.virtual.time.events import DCACHE_FLASH, DCACHE_RAM, FETCH_JUMP, FETCH_NEXT, NAMES

#: Causes in the order of every split: full use of the issue slots, what the issue rules add to it,
#: and then one per event.
CAUSES = ("issue", "dependencies and slot rules", *NAMES)


@dataclass(slots=True)
class Split:
    """Cycles by cause of some part of a run.

    Attributes:
        instructions: Executed.
        slots: Instructions that the core could have issued in the cycles that issuing took.
        cycles: By cause, as `CAUSES`.
        events: Counts, as `timing.events`.
    """

    instructions: int = 0
    slots: int = 0
    cycles: list[int] = field(default_factory=lambda: [0] * len(CAUSES))
    events: list[int] = field(default_factory=lambda: [0] * len(NAMES))

    @property
    def total(self) -> int:
        """All cycles."""
        return sum(self.cycles)

    @property
    def slots_used(self) -> float | None:
        """Share of the issue slots of all cycles that were used."""
        return self.instructions / self.slots if self.slots else None

    @property
    def code_misses(self) -> int:
        """Lines of code that came from memory."""
        return self.events[FETCH_JUMP] + self.events[FETCH_NEXT]

    @property
    def load_misses(self) -> int:
        """Loads that missed the data cache."""
        return self.events[DCACHE_FLASH] + self.events[DCACHE_RAM]

    def add(self, other: Split) -> None:
        """Add another part."""
        self.instructions += other.instructions
        self.slots += other.slots
        self.cycles = [a + b for a, b in zip(self.cycles, other.cycles, strict=True)]
        self.events = [a + b for a, b in zip(self.events, other.events, strict=True)]


@dataclass(frozen=True, slots=True)
class LayerSplit:
    """A layer: its name, operator and MACs, and its cycles by function."""

    name: str
    operator: str
    macs: int | None
    split: Split
    functions: dict[str, Split]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One firmware's inference on a virtual board.

    Attributes:
        label: Runtime, kernels and flags.
        board: Id.
        timing: Name and version of the model.
        layers: In order.
    """

    label: str
    board: str
    timing: str
    layers: tuple[LayerSplit, ...]

    @property
    def total(self) -> Split:
        """The sum of the layers."""
        whole = Split()
        for layer in self.layers:
            whole.add(layer.split)
        return whole

    def functions(self) -> dict[str, Split]:
        """Return the layers' functions added up, most cycles first."""
        found: dict[str, Split] = {}
        for layer in self.layers:
            for name, split in layer.functions.items():
                found.setdefault(name, Split()).add(split)
        return dict(sorted(found.items(), key=lambda item: -item[1].total))

    def operators(self) -> dict[str, tuple[int, Split]]:
        """Return MACs and split by operator, most cycles first."""
        found: dict[str, tuple[int, Split]] = {}
        for layer in self.layers:
            macs, split = found.get(layer.operator, (0, Split()))
            split.add(layer.split)
            found[layer.operator] = macs + (layer.macs or 0), split
        return dict(sorted(found.items(), key=lambda item: -item[1][1].total))
