"""MobileNetV2 search space for visual wake words.

Source: Banbury et al., "MicroNets", MLSys 2021, section 5: the widths of MobileNetV2's inverted
bottlenecks between 10 % and 100 %, grey-scale inputs of 50×50 for the smallest and 160×160 for the
larger microcontroller. Backbone: Sandler et al. 2018, table 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from harness.backbones.architecture import Architecture
from harness.backbones.draw import Draw
from harness.backbones.layers import LayerChain, LayerSpec, Shape
from harness.backbones.skeleton import Skeleton, SuperBlock, SuperConv
from harness.backbones.space import FULL_SCALE, Decisions, Slot
from harness.errors import BackboneError

# Expansion, output channels, blocks, stride of the first block (Sandler et al. 2018, table 2).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM_WIDTH = 32
HEAD_WIDTH = 1280
RESOLUTIONS = (50, 64, 80, 96, 112, 128, 144, 160)


@dataclass(frozen=True, slots=True)
class _Block:
    stage: int
    first: bool
    stride: int
    expansion: int
    output: int


def _blocks() -> tuple[_Block, ...]:
    blocks = []
    width = STEM_WIDTH
    for stage, (factor, output, count, stride) in enumerate(STAGES):
        for place in range(count):
            expansion = 0 if factor == 1 else factor * width
            blocks.append(_Block(stage, place == 0, stride if place == 0 else 1, expansion, output))
            width = output
    return tuple(blocks)


BLOCKS = _blocks()


def _slot(width: int, *, optional: bool = False) -> Slot:
    # The published networks have widths of 10 % that were rounded down as well.
    return Slot(-(-width // 10), width, optional, bounds=(1, width))


@dataclass(frozen=True)
class MobileNetV2Space:
    """A convolution, 17 inverted bottlenecks, a 1×1 convolution.

    Decisions: ``resolution``; ``stem``; ``expansions`` and ``outputs``, the channels of each
    block; ``head``. The first bottleneck has no expansion (0) where networks are sampled and
    searched; MicroNets' own have one. Every block but the first of its stage may be skipped (0 in
    both). The input is added where stride is 1 and widths are equal.
    """

    classes: int = 2  # number of logits
    resolutions: tuple[int, ...] = RESOLUTIONS  # sides of the square inputs that are sampled from

    @cached_property
    def slots(self) -> Mapping[str, tuple[Slot, ...]]:
        """Return every decision by name."""
        return {
            "resolution": (Slot(min(RESOLUTIONS), max(RESOLUTIONS)),),
            "stem": (_slot(STEM_WIDTH),),
            "expansions": tuple(
                _slot(block.expansion, optional=not block.first)
                if block.expansion
                else Slot(0, 0, bounds=(0, STEM_WIDTH))
                for block in BLOCKS
            ),
            "outputs": tuple(_slot(block.output, optional=not block.first) for block in BLOCKS),
            "head": (_slot(HEAD_WIDTH),),
        }

    def with_classes(self, classes: int) -> MobileNetV2Space:
        """Return the same space with another number of logits."""
        return replace(self, classes=classes)

    def with_resolution(self, side: int) -> MobileNetV2Space:
        """Return the space whose samples all have inputs of `side` by `side`."""
        if side not in RESOLUTIONS:
            raise BackboneError(
                f"resolution {side}", expected=f"one of {', '.join(map(str, RESOLUTIONS))}"
            )
        return replace(self, resolutions=(side,))

    def normalize(self, decisions: Decisions) -> Decisions:
        """Move skipped blocks behind the others of their stage."""
        pairs = list(zip(decisions["expansions"], decisions["outputs"], strict=True))
        for index, (expansion, output) in enumerate(pairs):
            if index and (expansion == 0) != (output == 0):
                raise BackboneError(
                    f"block {index} has expansions={expansion} and outputs={output}",
                    expected="both 0 (the block is skipped) or neither",
                    decision="expansions" if expansion == 0 else "outputs",
                )
        ordered = sorted(
            range(len(BLOCKS)), key=lambda index: (BLOCKS[index].stage, pairs[index][1] == 0)
        )
        return {
            **decisions,
            "expansions": tuple(pairs[index][0] for index in ordered),
            "outputs": tuple(pairs[index][1] for index in ordered),
        }

    def layers(self, architecture: Architecture) -> tuple[LayerSpec, ...]:
        """Return the operators in execution order."""
        side = architecture["resolution"][0]
        chain = LayerChain((side, side, 1))
        chain.conv("stem", architecture["stem"][0], (3, 3), 2, activation="relu6")
        widths = zip(BLOCKS, architecture["expansions"], architecture["outputs"], strict=True)
        for index, (block, expansion, output) in enumerate(widths):
            if not output:
                continue
            source, source_width = chain.layers[-1].name, chain.shape[2]
            if expansion:
                chain.conv(f"block{index}_expand", expansion, activation="relu6", block=index)
            chain.depthwise(f"block{index}_dw", block.stride, activation="relu6", block=index)
            chain.conv(f"block{index}_project", output, block=index)
            if block.stride == 1 and output == source_width and index:
                chain.add(f"block{index}_add", source, block=index)
        chain.conv("head", architecture["head"][0], activation="relu6")
        return chain.classifier(self.classes)

    def propose(self, draw: Draw, width_step: int) -> Callable[[int], Decisions]:
        """Draw resolution, depth of each stage and relative widths.

        Three stages in four have one output width, so that their blocks have residual additions.
        """
        resolution = draw.choice(self.resolutions)
        stem, head = (draw.between(FULL_SCALE // 4, FULL_SCALE) for _ in range(2))
        expansions: list[int] = []
        outputs: list[int] = []
        depth = 0
        shared = 0
        place = 0
        for block in BLOCKS:
            if block.first:
                depth, place = draw.between(1, STAGES[block.stage][2]), 0
                shared = draw.between(FULL_SCALE // 4, FULL_SCALE) if draw.below(4) else 0
            expansion = draw.between(FULL_SCALE // 4, FULL_SCALE)
            output = draw.between(FULL_SCALE // 4, FULL_SCALE)
            kept = place < depth
            expansions.append(expansion if kept else 0)
            outputs.append((shared or output) if kept else 0)
            place += 1

        def at(scale: int) -> Decisions:
            def widths(name: str, parts: list[int]) -> tuple[int, ...]:
                return tuple(
                    slot.at(part * scale // FULL_SCALE, width_step) if part and slot.maximum else 0
                    for slot, part in zip(self.slots[name], parts, strict=True)
                )

            return {
                "resolution": (resolution,),
                "stem": widths("stem", [stem]),
                "expansions": widths("expansions", expansions),
                "outputs": widths("outputs", outputs),
                "head": widths("head", [head]),
            }

        return at

    def input_shape(self, architecture: Architecture | None) -> Shape:
        """Return height, width, channels."""
        side = max(RESOLUTIONS) if architecture is None else architecture["resolution"][0]
        return (side, side, 1)

    def skeleton(self, input_shape: Shape) -> Skeleton:
        """Return the layers that all networks share; all but the first block of a stage may go."""
        side, slot = input_shape[0], self.slots["resolution"][0]
        if input_shape != (side, side, 1) or not slot.allows(side):
            raise BackboneError(f"inputs of {input_shape}", expected=f"(n, n, 1) with n of {slot}")
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
        return Skeleton(input_shape, stem, tuple(blocks), head, self.classes)

    def hand_designed(self) -> tuple[frozenset[int], ...]:
        """Return one block a stage, then all of them."""
        optional = (index for index, block in enumerate(BLOCKS) if not block.first)
        return frozenset(), frozenset(optional)


VWW = MobileNetV2Space()
"""Visual wake words: person or no person."""
