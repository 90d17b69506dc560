"""Expected counts of a supernet's decisions, differentiable. Imports TensorFlow.

Decisions are independent, so the expectation of a convolution's MACs is the product of those of
its widths. Working memory is the maximum over nodes of expected inputs + outputs (MicroNets
section 5). Everything is float64: at one-hot decisions the counts are exact integers, equal to
those of `Backbone.cost`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

from keras import ops

from harness.search.decisions import agreement, padded
from harness.search.grid import Grid
from harness.search.skeleton import SuperBlock, SuperConv
from harness.search.supernet import width_name


class Counts(NamedTuple):
    """Expected counts, as float64 tensors; the fields are those of `Cost`."""

    ops: Any
    parameters: Any
    working_memory_bytes: Any


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
    )


class _Walk:
    """Follow size and width of the newest tensor through the network."""

    def __init__(self, grid: Grid, weights: Mapping[str, Any]) -> None:
        self._grid, self._weights = grid, weights
        height, width, channels = grid.skeleton.input_shape
        self._size = (height, width)
        self._width = ops.one_hot(ops.array(channels), channels + 1, dtype="float64")
        self.macs: list[Any] = []
        self.parameters: list[Any] = []
        self.memory: list[Any] = []

    def conv(self, conv: SuperConv, present: Any = 1.0) -> None:
        source, before = _mean(self._width), prod(self._size)
        self._shrink(conv.stride)
        if conv.width is not None:
            widths = self._grid.widths[conv.width]
            rows = ops.one_hot(ops.array(widths), widths[-1] + 1, dtype="float64")
            self._width = ops.matmul(self._weights[width_name(conv.width)], rows)
        sink, after = _mean(self._width), prod(self._size)
        weights = prod(conv.kernel) * sink * (1.0 if conv.depthwise else source)
        self.macs.append(present * (after * weights))
        self.parameters.append(present * (weights + sink))
        self.memory.append(present * (before * source + after * sink))

    def block(self, block: SuperBlock) -> None:
        width, size = self._width, self._size
        gate = self._weights[block.gate] if block.optional else None
        present = 1.0 if gate is None else gate[1]
        for conv in block.convs:
            self.conv(conv, present)
        if block.residual:
            same = agreement(width, self._width)
            self.memory.append(present * (3 * prod(size) * _mean(same)))
        if gate is None:
            return
        if block.stride > 1:
            self.memory.append(gate[0] * ((prod(size) + prod(self._size)) * _mean(width)))
        channels = max(width.shape[0], self._width.shape[0]) - 1
        kept, skipped = padded(self._width, channels), padded(width, channels)
        self._width = gate[1] * kept + gate[0] * skipped

    def classifier(self, classes: int) -> None:
        width = _mean(self._width)
        self.macs.append(classes * width)
        self.parameters.append(classes * width + classes)
        self.memory += [(prod(self._size) + 1) * width, width + classes]
        self.memory.append(ops.cast(2 * classes, "float64"))  # reshape to logits

    def _shrink(self, stride: int) -> None:
        height, width = self._size
        self._size = (-(-height // stride), -(-width // stride))


def _mean(distribution: Any) -> Any:
    """Return the sum of channel counts, each with its weight."""
    counts = ops.arange(distribution.shape[0], dtype="float64")
    return ops.sum(counts * distribution)
