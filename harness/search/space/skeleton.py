"""The layers of a whole search space: what a supernet is built from and expected costs follow.

`Space.layers` has the layers of one architecture; a skeleton has what all of them share: which
layer has which width decision, which block may be skipped and what replaces it. Tests compare the
two, cost by cost and output by output.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.backbones import Backbone
from harness.backbones.ds_cnn import DsCnnSpace
from harness.backbones.layers import Activation, Shape
from harness.backbones.mobilenet_v2 import BLOCKS, MobileNetV2Space
from harness.errors import SearchError

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


def skeleton_of(backbone: Backbone, input_shape: Shape) -> Skeleton:
    """Return the skeleton of `backbone` for inputs of one shape.

    Raises:
        SearchError: The backbone has no input of this shape, or no skeleton is written for it.
    """
    space = backbone.space
    if isinstance(space, DsCnnSpace):
        if input_shape != space.shape:
            raise _wrong_shape(backbone, input_shape, str(space.shape))
        return _ds_cnn(space)
    if isinstance(space, MobileNetV2Space):
        slot = space.slots["resolution"][0]
        if input_shape != (input_shape[0], input_shape[0], 1) or not slot.allows(input_shape[0]):
            raise _wrong_shape(backbone, input_shape, f"(n, n, 1) with n of {slot}")
        return _mobilenet_v2(space, input_shape)
    raise SearchError(f"backbone '{backbone.name}' has no supernet")


def _wrong_shape(backbone: Backbone, shape: Shape, expected: str) -> SearchError:
    return SearchError(
        f"the data has inputs of {shape}, which {backbone.name} does not take", expected=expected
    )


def _ds_cnn(space: DsCnnSpace) -> Skeleton:
    blocks = tuple(
        SuperBlock(
            index,
            (
                SuperConv(f"block{index}_dw", None, (3, 3), stride, "relu"),
                SuperConv(f"block{index}_pw", ("blocks", index), activation="relu"),
            ),
            ("blocks",),
            optional=True,
            stride=stride,
        )
        for index, stride in enumerate(space.strides)
    )
    stem = SuperConv("stem", ("stem", 0), space.kernel, 1, "relu")
    return Skeleton(space.shape, stem, blocks, None, space.classes)


def _mobilenet_v2(space: MobileNetV2Space, input_shape: Shape) -> Skeleton:
    blocks = []
    for index, block in enumerate(BLOCKS):
        expand = SuperConv(f"block{index}_expand", ("expansions", index), activation="relu6")
        convs = (
            *((expand,) if block.expansion else ()),
            SuperConv(f"block{index}_dw", None, (3, 3), block.stride, "relu6"),
            SuperConv(f"block{index}_project", ("outputs", index)),
        )
        blocks.append(
            SuperBlock(
                index,
                convs,
                ("expansions", "outputs"),
                optional=not block.first,
                stride=block.stride,
                residual=block.stride == 1 and index > 0,
            )
        )
    stem = SuperConv("stem", ("stem", 0), (3, 3), 2, "relu6")
    head = SuperConv("head", ("head", 0), activation="relu6")
    return Skeleton(input_shape, stem, tuple(blocks), head, space.classes)
