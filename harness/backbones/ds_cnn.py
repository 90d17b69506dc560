"""DS-CNN search spaces: keyword spotting and anomaly detection.

Source: Banbury et al., "MicroNets", MLSys 2021, sections 5 and 6 and appendix. The backbone is
DS-CNN(L) of Zhang et al. 2017 (276 channels, 10×4 first convolution), its first convolution at
stride 1 and its first block at stride 2; the published MicroNet-KWS models have widths of 10 %
steps of 276, rounded up to multiples of 4 (84, 112, 140, 196 ...), because a channel count that is
not divisible by 4 leaves CMSIS-NN's fast path (section 3: 138 → 140 channels, 37.5 → 21.5 ms).
Those widths are all on the grid of 4 from 4 to 276 that is sampled here by default.
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

MAX_WIDTH = 276
_DEPTHS = (4, 5)  # DS-CNN S and M have four blocks, L has five (Zhang et al. 2017)


@dataclass(frozen=True)
class DsCnnSpace:
    """A convolution and a row of depthwise-separable blocks.

    Decisions: ``stem`` (channels of the first convolution) and ``blocks`` (output channels of each
    block, 0 where it is skipped: identity at stride 1, a 2×2 average pool at stride 2).
    """

    shape: Shape  # input height, width, channels
    classes: int  # number of logits
    strides: tuple[int, ...]  # stride of each block
    min_blocks: int  # fewest blocks that are not skipped
    kernel: tuple[int, int] = (10, 4)  # of the first convolution

    @cached_property
    def slots(self) -> Mapping[str, tuple[Slot, ...]]:
        """Return every decision by name."""
        block = Slot(1, MAX_WIDTH, optional=True)
        return {"stem": (Slot(1, MAX_WIDTH),), "blocks": (block,) * len(self.strides)}

    def with_classes(self, classes: int) -> DsCnnSpace:
        """Return the same space with another number of logits."""
        return replace(self, classes=classes)

    def with_resolution(self, side: int) -> DsCnnSpace:
        """Return the same space; its features have one size only.

        Raises:
            BackboneError: `side` is another.
        """
        if (side, side) != self.shape[:2]:
            height, width, _ = self.shape
            raise BackboneError(
                f"resolution {side}",
                expected=f"none: the features are {height}×{width}",
                fix="remove `resolution`",
            )
        return self

    def normalize(self, decisions: Decisions) -> Decisions:
        """Move skipped blocks of stride 1 behind the others of their resolution."""
        blocks: list[int] = []
        for first, end in self._stages():
            widths = decisions["blocks"][first:end]
            start = 1 if self.strides[first] > 1 else 0
            kept = [width for width in widths[start:] if width]
            blocks += [*widths[:start], *kept, *[0] * (len(widths) - start - len(kept))]
        active = sum(width > 0 for width in blocks)
        if active < self.min_blocks:
            raise BackboneError(
                f"decision 'blocks' keeps {active} blocks: {tuple(blocks)}",
                expected=f"{self.min_blocks} to {len(self.strides)} widths that are not 0",
                decision="blocks",
            )
        return {"stem": decisions["stem"], "blocks": tuple(blocks)}

    def layers(self, architecture: Architecture) -> tuple[LayerSpec, ...]:
        """Return the operators in execution order."""
        chain = LayerChain(self.shape)
        chain.conv("stem", architecture["stem"][0], self.kernel, activation="relu")
        for index, (width, stride) in enumerate(
            zip(architecture["blocks"], self.strides, strict=True)
        ):
            if width:
                chain.depthwise(f"block{index}_dw", stride, activation="relu", block=index)
                chain.conv(f"block{index}_pw", width, activation="relu", block=index)
            elif stride > 1:
                chain.pool(f"block{index}_pool", (stride, stride), stride, block=index)
        return chain.classifier(self.classes)

    def propose(self, draw: Draw, width_step: int) -> Callable[[int], Decisions]:
        """Draw the depth uniformly and each width within a factor of four of the widest."""
        optional = [index for index, stride in enumerate(self.strides) if stride == 1]
        always = len(self.strides) - len(optional)
        depth = draw.between(max(self.min_blocks, always), len(self.strides))
        skipped: set[int] = set()
        while len(skipped) < len(self.strides) - depth:
            skipped.add(draw.choice([index for index in optional if index not in skipped]))
        stem, *blocks = (
            draw.between(FULL_SCALE // 4, FULL_SCALE) for _ in range(1 + len(self.strides))
        )
        slot = Slot(1, MAX_WIDTH)

        def at(scale: int) -> Decisions:
            return {
                "stem": (slot.at(stem * scale // FULL_SCALE, width_step),),
                "blocks": tuple(
                    0 if index in skipped else slot.at(part * scale // FULL_SCALE, width_step)
                    for index, part in enumerate(blocks)
                ),
            }

        return at

    def input_shape(self, architecture: Architecture | None) -> Shape:  # noqa: ARG002
        """Return height, width, channels: the same for every architecture."""
        return self.shape

    def skeleton(self, input_shape: Shape) -> Skeleton:
        """Return the layers that all networks share; every block may be skipped."""
        if input_shape != self.shape:
            raise BackboneError(f"inputs of {input_shape}", expected=str(self.shape))
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
            for index, stride in enumerate(self.strides)
        )
        stem = SuperConv("stem", ("stem", 0), self.kernel, 1, "relu")
        return Skeleton(self.shape, stem, blocks, None, self.classes)

    def hand_designed(self) -> tuple[frozenset[int], ...]:
        """Return the depths of DS-CNN S, M and L: as many blocks, those with a stride first."""
        strided = [index for index, stride in enumerate(self.strides) if stride > 1]
        plain = [index for index, stride in enumerate(self.strides) if stride == 1]
        return tuple(frozenset([*strided, *plain[: depth - len(strided)]]) for depth in _DEPTHS)

    def _stages(self) -> list[tuple[int, int]]:
        starts = [0, *(i for i, stride in enumerate(self.strides) if stride > 1 and i)]
        return list(zip(starts, [*starts[1:], len(self.strides)], strict=True))


KWS = DsCnnSpace(shape=(49, 10, 1), classes=12, strides=(2, 1, 1, 1, 1, 1, 1, 1), min_blocks=4)
"""Keyword spotting. MicroNet-KWS-S and -M have 5 blocks, -L has 7, all with these strides."""

AD = DsCnnSpace(shape=(32, 32, 1), classes=4, strides=(2, 1, 1, 1, 2, 1, 2, 1), min_blocks=3)
"""Anomaly detection by machine-id classification, on 32×32 log-mel images.

Strides 2, 1, 1, 2, 2 as MicroNet-AD; one further block of stride 1 at each resolution leaves the
search room in depth. The first convolution is that of DS-CNN (10×4).
"""

AD_3X3 = replace(AD, kernel=(3, 3))
"""The same with the first convolution of MicroNet-AD-S, -M and -L (table 5), which is 3×3."""

IC = DsCnnSpace(
    shape=(32, 32, 3), classes=10, strides=(2, 1, 2, 1, 1, 1, 2, 1), min_blocks=4, kernel=(3, 3)
)
"""Image classification on CIFAR-10, in colour: DS-CNN's blocks, at 16×16, 8×8 and 4×4."""
