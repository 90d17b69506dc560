"""Expected counts of a supernet's decisions, differentiable. Imports TensorFlow.

Decisions are independent, so the expectation of a convolution's MACs is the product of those of
its widths. Working memory is the maximum over nodes of expected inputs + outputs (MicroNets
section 5). Everything is float64: at one-hot decisions the counts are exact integers, equal to
those of `counts_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from keras import ops

from harness.backbones.skeleton import SuperBlock, SuperConv, width_name
from harness.fit.features import ALIGNMENT, FEATURES
from harness.search.cost.counts import Counts
from harness.search.space.grid import Grid
from harness.search.supernet.decisions import agreement, padded


def expected_counts(grid: Grid, weights: Mapping[str, Any]) -> Counts:
    """Return the expected counts of `weights`, which give each decision's options by name."""
    walk = _Walk(grid, {name: ops.cast(value, "float64") for name, value in weights.items()})
    skeleton = grid.skeleton
    walk.conv(skeleton.stem)
    for block in skeleton.blocks:
        walk.block(block)
    if skeleton.head:
        walk.conv(skeleton.head)
    walk.classifier(skeleton.classes)
    return Counts(
        2 * ops.sum(ops.stack(walk.macs)),
        ops.sum(ops.stack(walk.parameters)),
        ops.max(ops.stack(walk.memory)),
        walk.features,
    )


class _Walk:
    """Follow size and width of the newest tensor through the network."""

    def __init__(self, grid: Grid, weights: Mapping[str, Any]) -> None:
        self._grid, self._weights = grid, weights
        height, width, channels = grid.skeleton.input_shape
        self._size = (height, width)
        self._width = _exactly(channels)
        self.macs: list[Any] = []
        self.parameters: list[Any] = []
        self.memory: list[Any] = []
        self.features: dict[str, Any] = {
            name: ops.convert_to_tensor(0.0, "float64") for name in FEATURES
        }

    def conv(self, conv: SuperConv, present: Any = 1.0) -> None:
        into, before = self._width, prod(self._size)
        height, width = self._size
        self._size = (-(-height // conv.stride), -(-width // conv.stride))
        if conv.width is not None:
            widths = self._grid.widths[conv.width]
            rows = ops.one_hot(ops.array(widths), widths[-1] + 1, dtype="float64")
            self._width = ops.matmul(self._weights[width_name(conv.width)], rows)
        self._weights_of(conv.kernel, into, self._width, present, depthwise=conv.depthwise)
        source, sink = _mean(into), _mean(self._width)
        self.memory.append(present * (before * source + prod(self._size) * sink))

    def block(self, block: SuperBlock) -> None:
        width, size = self._width, self._size
        gate = self._weights[block.gate] if block.optional else None
        present = 1.0 if gate is None else gate[1]
        for conv in block.convs:
            self.conv(conv, present)
        if block.residual:
            same = agreement(width, self._width)
            self.memory.append(present * (3 * prod(size) * _mean(same)))
            self._count("added_elements", present * (prod(size) * _mean(same)))
            self._count("layers", present * ops.sum(same))
        if gate is None:
            return
        if block.stride > 1:
            self.memory.append(gate[0] * ((prod(size) + prod(self._size)) * _mean(width)))
            self._count("pooled_elements", gate[0] * (prod(size) * _mean(width)))
            self._count("layers", gate[0])
        channels = max(width.shape[0], self._width.shape[0]) - 1
        kept, skipped = padded(self._width, channels), padded(width, channels)
        self._width = gate[1] * kept + gate[0] * skipped

    def classifier(self, classes: int) -> None:
        width = _mean(self._width)
        self.memory += [(prod(self._size) + 1) * width, width + classes]
        self.memory.append(ops.cast(2 * classes, "float64"))  # reshape to logits
        self._count("pooled_elements", prod(self._size) * width)
        self._count("layers", 2.0)  # pool and reshape
        self._size = (1, 1)
        into, self._width = self._width, _exactly(classes)
        self._weights_of((1, 1), into, self._width, 1.0)

    def _weights_of(
        self, kernel: tuple[int, int], into: Any, out: Any, present: Any, *, depthwise: bool = False
    ) -> None:
        """Count a layer with weights, from its distributions of input and output channels."""
        taps, after, sink = prod(kernel), prod(self._size), _mean(out)
        unaligned_sink = _mean(out, lambda channels: channels % ALIGNMENT)
        self._count("layers", present)
        if depthwise:
            weights = taps * sink
            self._count("depthwise_macs", present * (after * weights))
            self._count("unaligned_depthwise_macs", present * (after * taps * unaligned_sink))
        else:
            source = _mean(into)
            unaligned_source = _mean(into, lambda channels: taps * channels % ALIGNMENT)
            weights = taps * sink * source
            macs = present * (after * weights)
            self._count("pointwise_macs" if taps == 1 else "conv_macs", macs)
            self._count("conv_outputs", present * (after * sink))
            self._count("unaligned_input_macs", present * (after * taps * sink * unaligned_source))
            self._count("unaligned_output_macs", present * (after * taps * source * unaligned_sink))
        self.macs.append(present * (after * weights))
        self.parameters.append(present * (weights + sink))
        self._count("parameters", present * (weights + sink))

    def _count(self, feature: str, value: Any) -> None:
        self.features[feature] = self.features[feature] + value


def _exactly(channels: int) -> Any:
    return ops.one_hot(ops.array(channels), channels + 1, dtype="float64")


def _mean(distribution: Any, where: Callable[[int], int] | None = None) -> Any:
    """Return the sum of channel counts, each with its weight; only of those `where` is not 0."""
    counts = range(distribution.shape[0])
    taken = [float(count) if where is None or where(count) else 0.0 for count in counts]
    return ops.sum(ops.array(taken, dtype="float64") * distribution)
