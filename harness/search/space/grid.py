"""The choices that one search has: a backbone's decisions thinned to what the budgets leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from harness.backbones import Architecture, Backbone
from harness.backbones.layers import Shape
from harness.backbones.skeleton import Key, Skeleton, SuperBlock
from harness.errors import BackboneError, SearchError
from harness.search.space.skeleton import skeleton_of


@dataclass(frozen=True, slots=True)
class Point:
    """One choice for every decision."""

    widths: Mapping[Key, int]  # width of every layer that has a decision, of skipped blocks as well
    kept: Mapping[int, bool]  # whether each optional block, by index, is kept

    def with_width(self, key: Key, width: int) -> Point:
        """Return the point with another width."""
        return Point({**self.widths, key: width}, self.kept)

    def with_kept(self, index: int, kept: bool) -> Point:
        """Return the point with a block kept or skipped."""
        return Point(self.widths, {**self.kept, index: kept})


@dataclass(frozen=True)
class Grid:
    """The points that a search may choose among."""

    backbone: Backbone
    skeleton: Skeleton  # its layers, for inputs of one shape
    widths: Mapping[Key, tuple[int, ...]]  # choices of each width decision, ascending

    @cached_property
    def optional(self) -> tuple[SuperBlock, ...]:
        """Return the blocks that may be skipped."""
        return tuple(block for block in self.skeleton.blocks if block.optional)

    @cached_property
    def block_of(self) -> Mapping[Key, SuperBlock]:
        """Return the block of each width decision that has one."""
        return {
            conv.width: block
            for block in self.skeleton.blocks
            for conv in block.convs
            if conv.width is not None
        }

    def active(self, point: Point, key: Key) -> bool:
        """Return whether the layer of a width decision is in the network."""
        block = self.block_of.get(key)
        return block is None or point.kept.get(block.index, True)

    def architecture(self, point: Point) -> Architecture | None:
        """Return the network of a point, None where too few blocks are kept for one."""
        decisions = {
            name: [
                point.widths.get((name, place), 0) if self.active(point, (name, place)) else 0
                for place in range(len(slots))
            ]
            for name, slots in self.backbone.space.slots.items()
        }
        if "resolution" in decisions:
            decisions["resolution"] = [self.skeleton.input_shape[0]]
        try:
            return self.backbone.architecture(**decisions)
        except BackboneError:
            return None

    def network(self, point: Point) -> Architecture:
        """Return the network of a point that has one."""
        architecture = self.architecture(point)
        if architecture is None:
            raise ValueError(f"{self.backbone.name} has no network of blocks {dict(point.kept)}")
        return architecture

    def kept(self, architecture: Architecture) -> dict[int, bool]:
        """Return whether a network keeps each optional block, by index."""
        return {
            block.index: architecture[block.decisions[-1]][block.index] > 0
            for block in self.optional
        }

    def point(self, architecture: Architecture) -> Point:
        """Return the point of a network; what it skips has the smallest width.

        Raises:
            SearchError: It is not on this grid.
        """
        kept = self.kept(architecture)
        widths: dict[Key, int] = {}
        for key, choices in self.widths.items():
            name, place = key
            width = architecture[name][place]
            if width not in choices and (width or kept.get(place, True)):
                raise SearchError(
                    f"{name}[{place}] = {width} is not on the grid of this search",
                    expected=", ".join(map(str, choices)),
                )
            widths[key] = width or choices[0]
        return Point(widths, kept)

    def smallest(self) -> Point:
        """Return the point of smallest widths, with every block."""
        widths = {key: choices[0] for key, choices in self.widths.items()}
        return Point(widths, {block.index: True for block in self.optional})

    def depths(self) -> dict[Architecture, Point]:
        """Return the smallest network of every distinct depth of the space, and its point."""
        found: dict[Architecture, Point] = {}
        smallest = self.smallest()
        for choice in product((False, True), repeat=len(self.optional)):
            point = Point(smallest.widths, dict(zip(smallest.kept, choice, strict=True)))
            if (architecture := self.architecture(point)) is not None:
                found.setdefault(architecture, point)
        return found


def full_grid(backbone: Backbone, input_shape: Shape, width_step: int = 4) -> Grid:
    """Return every width on the grid of `width_step`.

    The input's resolution, where a backbone has a choice of it, is that of the data: one search
    is for one resolution.

    Raises:
        SearchError: The backbone does not take inputs of this shape.
    """
    skeleton = skeleton_of(backbone, input_shape)
    slots = backbone.space.slots
    widths = {
        (name, place): tuple(width for width in slots[name][place].choices(width_step) if width)
        for name, place in skeleton.widths()
    }
    return Grid(backbone, skeleton, widths)


def thinned(grid: Grid, caps: Mapping[Key, int], most: int, floor: float = 0.0) -> Grid:
    """Return `grid` with at most `most` evenly spread choices of each width.

    `most` is 2 or more; `floor` is a share of the largest width that its cap leaves.
    """
    widths = {}
    for key, choices in grid.widths.items():
        left = [width for width in choices if width <= caps[key]] or [choices[0]]
        left = [width for width in left if width >= floor * left[-1]]
        if len(left) > most:
            last = len(left) - 1
            left = [left[round(place * last / (most - 1))] for place in range(most)]
        widths[key] = tuple(left)
    return Grid(grid.backbone, grid.skeleton, widths)
