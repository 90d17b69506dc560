"""Decisions of a supernet, as Keras layers. Imports TensorFlow: import it late.

Relaxation: Gumbel-softmax (Jang et al. 2017). Widths: one convolution at the largest width, its
output multiplied by the weighted sum of binary masks (Wan et al., FBNetV2, CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


class Choice(keras.layers.Layer):
    """One decision: logits over its options, relaxed to weights that sum to one.

    Where options are ordered, as widths are, what is learned about one says something about its
    neighbours: `spread` lets them share it, so that the noise of sampled networks does not pick a
    width at random. Logits are `initial` plus the learned evidence, smoothed by a Gaussian kernel.

    Args:
        spread: Standard deviation of the kernel, in options; 0 for options without an order.
    """

    def __init__(
        self,
        options: int,
        initial: Sequence[float] | None = None,
        spread: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.options = options
        self._initial = np.array(initial if initial else [0.0] * options, np.float32)
        place = np.arange(options)
        if spread > 0:
            kernel = np.exp(-0.5 * ((place[:, None] - place[None, :]) / spread) ** 2)
            kernel /= np.sqrt((kernel**2).sum(axis=1, keepdims=True))  # as strong as without
        else:
            kernel = np.eye(options)
        self._kernel = kernel.astype(np.float32)
        self.evidence = self.add_weight(shape=(options,), initializer="zeros", name="evidence")

    @property
    def logits(self) -> Any:
        """Return the logits, of shape (options,)."""
        return self._initial + ops.matmul(self._kernel, self.evidence)

    def call(self, temperature: Any, noise: Any = None) -> Any:
        """Return softmax((logits + noise) / temperature), of shape (options,).

        Args:
            noise: Gumbel noise of shape (options,): the result is then a relaxed sample. Without
                it, it is deterministic and becomes the argmax.
        """
        logits = self.logits if noise is None else self.logits + noise
        return ops.softmax(logits / temperature)


class Width(keras.layers.Layer):
    """Turn the weights of a width decision into a distribution over channel counts.

    Args:
        widths: The options, ascending.
        channels: Channels of the tensor, at least the last of `widths`.
    """

    def __init__(self, widths: Sequence[int], channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.widths, self.channels = tuple(widths), channels

    def call(self, weights: Any) -> Any:
        """Return the weight of each channel count from 0 to `channels`: shape (channels + 1,)."""
        rows = ops.one_hot(ops.array(self.widths), self.channels + 1, dtype=weights.dtype)
        return ops.matmul(weights, rows)


class Mask(keras.layers.Layer):
    """Multiply each channel by the weight with which it is there."""

    def call(self, tensor: Any, distribution: Any) -> Any:
        """Return (..., channels) masked by a distribution over channel counts."""
        return tensor * ops.cast(presence(distribution), tensor.dtype)


class Branch(keras.layers.Layer):
    """Mix a block's output with what stands in for it: the depth decision."""

    def call(self, kept: Any, skipped: Any, weights: Any) -> Any:
        """Return weights[1] · kept + weights[0] · skipped."""
        return weights[1] * kept + weights[0] * skipped


def presence(distribution: Any) -> Any:
    """Return the weight with which each channel is there: that of all larger channel counts."""
    # From the right, because sums of one-hot weights are exact that way as well.
    return ops.flip(ops.cumsum(ops.flip(distribution)))[1:]


def padded(distribution: Any, channels: int) -> Any:
    """Return `distribution` over a larger or equal number of channels."""
    lacking = channels + 1 - distribution.shape[0]
    return ops.pad(distribution, [[0, lacking]]) if lacking else distribution


def agreement(left: Any, right: Any) -> Any:
    """Return the weight with which two widths are the same, by channel count."""
    count = min(left.shape[0], right.shape[0])
    return left[:count] * right[:count]
