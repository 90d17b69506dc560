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


def distribution_of(widths: Sequence[int], weights: Any) -> Any:
    """Return the weight of each channel count from 0 to the last of `widths`, by a decision."""
    return ops.matmul(weights, ops.one_hot(ops.array(widths), widths[-1] + 1, dtype=weights.dtype))


def masked(tensor: Any, distribution: Any) -> Any:
    """Multiply each channel by the weight with which it is there: of all larger channel counts."""
    # From the right, because sums of one-hot weights are exact that way as well.
    presence = ops.flip(ops.cumsum(ops.flip(distribution)))[1:]
    return tensor * ops.cast(presence, tensor.dtype)


def mixed(kept: Any, skipped: Any, gate: Any) -> Any:
    """Mix a block's output with what stands in for it, by the weights of the depth decision."""
    return gate[1] * kept + gate[0] * skipped


def padded(distribution: Any, channels: int) -> Any:
    """Return `distribution` over a larger or equal number of channels."""
    lacking = channels + 1 - distribution.shape[0]
    return ops.pad(distribution, [[0, lacking]]) if lacking else distribution


def agreement(left: Any, right: Any) -> Any:
    """Return the weight with which two widths are the same, by channel count."""
    count = min(left.shape[0], right.shape[0])
    return left[:count] * right[:count]
