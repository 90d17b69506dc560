"""The layers of a whole search space: what a supernet is built from and expected costs follow.

`Space.layers` has the layers of one architecture; a skeleton has what all of them share: which
layer has which width decision, which block may be skipped and what replaces it. Tests compare the
two, cost by cost and output by output.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.backbones.layers import Activation, Shape

Key = tuple[str, int]
"""A width decision: its name in the architecture and its place there."""


def width_name(key: Key) -> str:
    """Return the name of a width decision."""
    return f"{key[0]}_{key[1]}"


@dataclass(frozen=True, slots=True)
class SuperConv:
    """One convolution; `width` is None for a depthwise one, which keeps its input's width."""

    name: str
    width: Key | None
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    activation: Activation = "linear"

    @property
    def depthwise(self) -> bool:
        """Return whether each channel is convolved by itself."""
        return self.width is None


@dataclass(frozen=True, slots=True)
class SuperBlock:
    """One block."""

    index: int
    convs: tuple[SuperConv, ...]  # in order
    # Names of the decisions that are 0 at `index` when the block is skipped
    decisions: tuple[str, ...]
    optional: bool  # whether it may be skipped: identity at stride 1, an average pool at others
    stride: int
    residual: bool = False  # whether its input is added where stride and widths allow it

    @property
    def gate(self) -> str:
        """Return the name of the decision to keep the block."""
        return f"block{self.index}_gate"


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A stem, blocks, maybe a head; then global average pool and a 1×1 classifier."""

    input_shape: Shape  # height, width, channels
    stem: SuperConv
    blocks: tuple[SuperBlock, ...]  # in order
    head: SuperConv | None  # last convolution before the pool, if there is one
    classes: int  # number of logits

    def convs(self) -> Iterator[SuperConv]:
        """Iterate over all convolutions but the classifier, in order."""
        yield self.stem
        for block in self.blocks:
            yield from block.convs
        if self.head:
            yield self.head

    def widths(self) -> tuple[Key, ...]:
        """Return every width decision, in order."""
        return tuple(conv.width for conv in self.convs() if conv.width is not None)
