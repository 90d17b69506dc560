"""Residual networks of plain convolutions for 32×32 colour images, as a backbone.

After the residual networks for CIFAR-10 of He et al. 2016 (section 4.2): a 3×3 convolution, then
blocks of two 3×3 convolutions in three stages of 32×32, 16×16 and 8×8 (MLPerf Tiny's ResNet-8 has
one block a stage). A block's input is added to its output where sizes and widths are the same;
there are no convolutions in the shortcuts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from harness.backbones import Architecture, Backbone, LayerChain, LayerSpec
from harness.backbones.draw import Draw
from harness.backbones.layers import Shape
from harness.backbones.skeleton import Skeleton, SuperBlock, SuperConv
from harness.backbones.space import FULL_SCALE, Decisions, Slot
from harness.errors import BackboneError

_STAGES = (32, 64, 128)  # largest width of each stage
_BLOCKS = 2  # of each stage; the first halves the size, but in the first stage, and stays
_SHAPE = (32, 32, 3)


def _stride(index: int) -> int:
    return 2 if index and index % _BLOCKS == 0 else 1


def _optional(index: int) -> bool:
    return index % _BLOCKS > 0


@dataclass(frozen=True)
class ResidualSpace:
    """Decisions: ``stem``; ``inner`` and ``outer``, the channels of a block's two convolutions."""

    classes: int = 10

    @property
    def slots(self) -> Mapping[str, tuple[Slot, ...]]:
        """Return every decision by name."""
        widths = tuple(
            Slot(4, _STAGES[index // _BLOCKS], _optional(index))
            for index in range(_BLOCKS * len(_STAGES))
        )
        return {"stem": (Slot(4, _STAGES[0]),), "inner": widths, "outer": widths}

    def with_classes(self, classes: int) -> ResidualSpace:
        """Return the same space with another number of logits."""
        return replace(self, classes=classes)

    def with_resolution(self, side: int) -> ResidualSpace:
        """Return the same space: images have one size."""
        if side != _SHAPE[0]:
            raise BackboneError(f"resolution {side}", expected="none: images are 32×32")
        return self

    def normalize(self, decisions: Decisions) -> Decisions:
        """Check that both convolutions of a block are skipped, or neither."""
        for index, pair in enumerate(zip(decisions["inner"], decisions["outer"], strict=True)):
            if 0 in pair and any(pair):
                raise BackboneError(
                    f"block {index} has widths {pair}", expected="both 0 (skipped) or neither"
                )
        return decisions

    def layers(self, architecture: Architecture) -> tuple[LayerSpec, ...]:
        """Return the operators in execution order."""
        chain = LayerChain(_SHAPE)
        chain.conv("stem", architecture["stem"][0], (3, 3), activation="relu")
        widths = zip(architecture["inner"], architecture["outer"], strict=True)
        for index, (inner, outer) in enumerate(widths):
            if not outer:
                continue
            source, before = chain.layers[-1].name, chain.shape
            stride = _stride(index)
            chain.conv(f"block{index}_a", inner, (3, 3), stride, activation="relu", block=index)
            chain.conv(f"block{index}_b", outer, (3, 3), block=index)
            if chain.shape == before:
                chain.add(f"block{index}_add", source, block=index)
        return chain.classifier(self.classes)

    def propose(self, draw: Draw, width_step: int) -> Callable[[int], Decisions]:
        """Draw depth and relative widths; return the decisions as a function of the scale."""
        slots = self.slots
        stem = draw.between(FULL_SCALE // 4, FULL_SCALE)
        parts: dict[str, list[int]] = {"inner": [], "outer": []}
        for index in range(len(slots["outer"])):
            kept = draw.below(2) if _optional(index) else 1
            for values in parts.values():
                values.append(kept * draw.between(FULL_SCALE // 4, FULL_SCALE))

        def at(scale: int) -> Decisions:
            blocks = {
                name: tuple(
                    slot.at(part * scale // FULL_SCALE, width_step) if part else 0
                    for slot, part in zip(slots[name], values, strict=True)
                )
                for name, values in parts.items()
            }
            width = slots["stem"][0].at(stem * scale // FULL_SCALE, width_step)
            return {"stem": (width,), **blocks}

        return at

    def input_shape(self, architecture: Architecture | None) -> Shape:  # noqa: ARG002
        """Return height, width, channels: the same for every architecture."""
        return _SHAPE

    # What follows is for the search alone.

    def skeleton(self, input_shape: Shape) -> Skeleton:
        """Return the layers that all networks share."""
        if input_shape != _SHAPE:
            raise BackboneError(f"inputs of {input_shape}", expected=str(_SHAPE))
        blocks = tuple(
            SuperBlock(
                index,
                (
                    SuperConv(f"block{index}_a", ("inner", index), (3, 3), _stride(index), "relu"),
                    SuperConv(f"block{index}_b", ("outer", index), (3, 3)),
                ),
                ("inner", "outer"),
                optional=_optional(index),
                stride=_stride(index),
                residual=_stride(index) == 1,
            )
            for index in range(_BLOCKS * len(_STAGES))
        )
        stem = SuperConv("stem", ("stem", 0), (3, 3), activation="relu")
        return Skeleton(_SHAPE, stem, blocks, None, self.classes)

    def hand_designed(self) -> tuple[frozenset[int], ...]:
        """Return one block a stage, as ResNet-8 has, then all of them."""
        optional = filter(_optional, range(_BLOCKS * len(_STAGES)))
        return frozenset(), frozenset(optional)


OWN = Backbone(
    name="own",
    task="image classification, residual networks",
    space=ResidualSpace(),
    classes=10,
    signed_input=False,
    min_ops=2_000_000,
    octaves=4,
)
"""The backbone that the entry point names."""
