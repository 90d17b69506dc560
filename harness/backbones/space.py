"""The interfaces of a search space, and bounds for samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from harness.backbones.architecture import Architecture
from harness.backbones.draw import Draw
from harness.backbones.layers import Cost, LayerSpec, Shape
from harness.backbones.skeleton import Skeleton

Decisions = dict[str, tuple[int, ...]]

FULL_SCALE = 4096
"""Width multiplier, in parts of which 4096 are one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that a sample must keep; None is no bound."""

    max_working_memory_bytes: int | None = None  # bound of `Cost.working_memory_bytes`
    max_parameters: int | None = None  # bound of `Cost.parameters`
    max_ops: int | None = None  # bound of `Cost.ops`

    def broken_by(self, cost: Cost) -> str | None:
        """Return the name of the first bound that `cost` exceeds, or None."""
        for name in ("working_memory_bytes", "parameters", "ops"):
            bound: int | None = getattr(self, f"max_{name}")
            if bound is not None and getattr(cost, name) > bound:
                return f"max_{name}"
        return None


@dataclass(frozen=True, slots=True)
class Slot:
    """One decision: the values it may take."""

    minimum: int  # smallest value
    maximum: int  # largest value: the backbone's own width
    optional: bool = False  # whether 0 (the block is skipped) is allowed too
    # Bounds of what an architecture may have, where they are wider than what is sampled and
    # searched: published networks lie there.
    bounds: tuple[int, int] | None = None

    def allows(self, value: int) -> bool:
        """Return whether the decision may be `value`."""
        low, high = self.bounds or (self.minimum, self.maximum)
        return low <= value <= high or (self.optional and value == 0)

    def at(self, scale: int, step: int) -> int:
        """Return the width at `scale` / `FULL_SCALE` of the maximum, on the grid of `step`."""
        wanted = self.maximum * scale
        width = (wanted + FULL_SCALE * step - 1) // (FULL_SCALE * step) * step
        lowest = -(-self.minimum // step) * step
        return min(max(width, lowest), max(self.maximum // step * step, self.minimum))

    def choices(self, step: int) -> tuple[int, ...]:
        """Return the widths on the grid of `step`, with 0 first when the block is optional."""
        lowest = -(-self.minimum // step) * step
        widths = tuple(range(lowest, self.maximum + 1, step)) or (self.maximum,)
        return (0, *widths) if self.optional else widths

    def __str__(self) -> str:
        low, high = self.bounds or (self.minimum, self.maximum)
        return f"{low}..{high}" + (" or 0 (skipped)" if self.optional else "")


class Space(Protocol):
    """A family of networks: its decisions, its layers, how to propose one of a wanted size.

    Enough to sample networks, count, write, predict, measure and fit them. Frozen: methods that
    change something return another space.
    """

    @property
    def slots(self) -> Mapping[str, tuple[Slot, ...]]:
        """Return every decision by name, in order."""

    def with_classes(self, classes: int) -> Space:
        """Return the same space with another number of logits."""

    def with_resolution(self, side: int) -> Space:
        """Return the space whose samples all have inputs of one size.

        Raises:
            BackboneError: Its networks do not come at that size.
        """

    def normalize(self, decisions: Decisions) -> Decisions:
        """Return the one spelling of a network that can be written in several ways.

        Raises:
            BackboneError: Decisions that each are in range do not fit together.
        """

    def layers(self, architecture: Architecture) -> tuple[LayerSpec, ...]:
        """Return the operators in execution order."""

    def propose(self, draw: Draw, width_step: int) -> Callable[[int], Decisions]:
        """Draw depth and relative widths; return the decisions as a function of the scale.

        The function is non-decreasing in cost over ``[0, FULL_SCALE * 4]``.
        """

    def input_shape(self, architecture: Architecture | None) -> Shape:
        """Return height, width, channels; for None those of the largest input."""


@runtime_checkable
class SearchSpace(Space, Protocol):
    """A space that can be searched as well: a supernet of all its networks can be built."""

    def skeleton(self, input_shape: Shape) -> Skeleton:
        """Return the layers that all networks share, for inputs of one shape.

        For any decisions it has to describe the same layers as `layers`, by the same names.

        Raises:
            BackboneError: The networks do not take inputs of this shape; `expected` says which.
        """

    def hand_designed(self) -> tuple[frozenset[int], ...]:
        """Return the depths of hand-designed networks, the deepest last.

        Each is the set of optional blocks that are kept. Scaled to one share of the largest widths
        they are the baseline that a search starts from and has to beat.
        """
