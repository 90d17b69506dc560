"""The supernet: every network of a grid in one, over shared weights. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from harness.backbones import Architecture
from harness.backbones.draw import Draw, key_of
from harness.backbones.normalisation import BatchNormalization
from harness.backbones.skeleton import SuperBlock, SuperConv, width_name
from harness.search.space.grid import Grid
from harness.search.supernet.decisions import Branch, Choice, Mask, Width, agreement, padded

_BATCH_NORM_EPSILON = 1e-3  # as in the networks that backbones build
_BATCH_NORM_MOMENTUM = 0.9  # a search has a few hundred steps, not tens of thousands
_SPREAD = 1.0  # neighbouring widths, about a tenth of the range, behave much alike

Weights = Mapping[str, Any]
"""Weights of each decision's options, by the decision's name."""

Start = Mapping[str, Sequence[float]]
"""Logits of each decision's options, by the decision's name."""


class Supernet(keras.Model):
    """Compute all networks of `grid` at once, weighted by the decisions.

    Channels beyond a width are exactly zero where the next layer mixes channels, so with one-hot
    decisions the output is that of the one network, batch normalisation included. The
    decisions start with the logits of `start`, zeros unless given.
    """

    def __init__(self, grid: Grid, seed: int = 0, start: Start | None = None) -> None:
        super().__init__(name=f"{grid.backbone.name}_supernet")
        self.grid = grid
        self._seeds = Draw(seed, key_of(grid.backbone.name))
        skeleton = grid.skeleton
        self.choices = {
            width_name(key): Choice(
                len(widths), (start or {}).get(width_name(key)), _SPREAD, name=width_name(key)
            )
            for key, widths in grid.widths.items()
        }
        for block in grid.optional:
            self.choices[block.gate] = Choice(2, (start or {}).get(block.gate), name=block.gate)
        self.convs: dict[str, Any] = {}
        self.norms: dict[str, Any] = {}
        self.out_widths: dict[str, Any] = {}
        self.mask, self.branch = Mask(), Branch()
        self._make(skeleton.stem, skeleton.input_shape[2])
        width = self._most(skeleton.stem)
        for block in skeleton.blocks:
            inner = width
            for conv in block.convs:
                self._make(conv, inner)
                inner = inner if conv.depthwise else self._most(conv)
            width = max(width, inner) if block.optional or block.residual else inner
        if skeleton.head:
            self._make(skeleton.head, width)
            width = self._most(skeleton.head)
        self.pool = keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool")
        self.classifier = keras.layers.Conv2D(
            skeleton.classes, 1, kernel_initializer=self._initializer(), name="classifier"
        )
        self.classifier.build((None, 1, 1, width))
        self.average = {
            block.stride: keras.layers.AveragePooling2D(block.stride, block.stride, "same")
            for block in skeleton.blocks
            if block.stride > 1
        }
        self.built = True

    def call(self, inputs: Any, weights: Weights, training: bool = False) -> Any:
        """Return logits of shape (batch, classes) for inputs (batch, height, width, channels)."""
        skeleton = self.grid.skeleton
        tensor, width = self._conv(skeleton.stem, inputs, None, weights, training)
        for block in skeleton.blocks:
            tensor, width = self._block(block, tensor, width, weights, training)
        if skeleton.head:
            tensor, width = self._conv(skeleton.head, tensor, width, weights, training)
        logits = self.classifier(self.pool(tensor))
        return ops.reshape(logits, (-1, skeleton.classes))

    def relaxed(self, temperature: Any, noise: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return softmax(logits / temperature) of all decisions, or samples by Gumbel noise."""
        value = ops.convert_to_tensor(temperature, "float32")
        return {
            name: choice(value, (noise or {}).get(name)) for name, choice in self.choices.items()
        }

    def one_hot(self, architecture: Architecture) -> dict[str, NDArray[np.float32]]:
        """Return the decisions of one network.

        Raises:
            SearchError: It is not on the grid.
        """
        point = self.grid.point(architecture)
        places = {
            width_name(key): choices.index(point.widths[key])
            for key, choices in self.grid.widths.items()
        } | {block.gate: int(point.kept[block.index]) for block in self.grid.optional}
        return {
            name: np.eye(self.choices[name].options, dtype=np.float32)[place]
            for name, place in places.items()
        }

    @property
    def architecture_variables(self) -> list[Any]:
        """Return what the logits of all decisions are made of."""
        return [choice.evidence for choice in self.choices.values()]

    @property
    def network_variables(self) -> list[Any]:
        """Return the trainable weights of the network itself."""
        layers = (*self.convs.values(), *self.norms.values(), self.classifier)
        return [variable for layer in layers for variable in layer.trainable_variables]

    def _block(
        self, block: SuperBlock, tensor: Any, width: Any, weights: Weights, training: bool
    ) -> tuple[Any, Any]:
        output, inner = tensor, width
        for conv in block.convs:
            output, inner = self._conv(conv, output, inner, weights, training)
        if not (block.optional or block.residual):
            return output, inner
        channels = max(output.shape[-1], tensor.shape[-1])
        output, tensor = _pad(output, channels), _pad(tensor, channels)
        if block.residual:
            output = output + ops.sum(agreement(width, inner)) * tensor
        if not block.optional:
            return output, padded(inner, channels)
        gate = weights[block.gate]
        skipped = self.average[block.stride](tensor) if block.stride > 1 else tensor
        return (
            self.branch(output, skipped, gate),
            self.branch(padded(inner, channels), padded(width, channels), gate),
        )

    def _conv(
        self, conv: SuperConv, tensor: Any, width: Any, weights: Weights, training: bool
    ) -> tuple[Any, Any]:
        tensor = self.norms[conv.name](self.convs[conv.name](tensor), training=training)
        if conv.activation != "linear":
            tensor = ops.relu6(tensor) if conv.activation == "relu6" else ops.relu(tensor)
        if conv.width is not None:
            width = self.out_widths[conv.name](weights[width_name(conv.width)])
        # A depthwise layer needs its mask too: normalisation shifts channels that are not there.
        return self.mask(tensor, width), width

    def _make(self, conv: SuperConv, channels: int) -> None:
        common: dict[str, Any] = {"use_bias": False, "name": conv.name}
        if conv.depthwise:
            layer = keras.layers.DepthwiseConv2D(
                conv.kernel, conv.stride, "same",
                depthwise_initializer=self._initializer(), **common,
            )  # fmt: skip
        else:
            layer = keras.layers.Conv2D(
                self._most(conv), conv.kernel, conv.stride, "same",
                kernel_initializer=self._initializer(), **common,
            )  # fmt: skip
            widths = self.grid.widths[conv.width or ("", 0)]
            self.out_widths[conv.name] = Width(widths, widths[-1])
        layer.build((None, None, None, channels))
        norm = BatchNormalization(
            epsilon=_BATCH_NORM_EPSILON, momentum=_BATCH_NORM_MOMENTUM, name=f"{conv.name}_bn"
        )
        norm.build((None, None, None, channels if conv.depthwise else self._most(conv)))
        self.convs[conv.name], self.norms[conv.name] = layer, norm

    def _most(self, conv: SuperConv) -> int:
        return self.grid.widths[conv.width or ("", 0)][-1]

    def _initializer(self) -> Any:
        return keras.initializers.HeNormal(seed=self._seeds.below(1 << 31))


def _pad(tensor: Any, channels: int) -> Any:
    lacking = channels - tensor.shape[-1]
    return ops.pad(tensor, [[0, 0], [0, 0], [0, 0], [0, lacking]]) if lacking else tensor
