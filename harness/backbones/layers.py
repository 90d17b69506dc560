"""The layers of an architecture and their cost: the one source for both.

A `LayerSpec` is one operator of the .tflite graph, so counting and building read the same list.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

Shape = tuple[int, int, int]
Activation = Literal["linear", "relu", "relu6"]
Padding = Literal["same", "valid"]
Operator = Literal["CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "ADD", "RESHAPE"]


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One operator after batch normalisation and activation are folded in."""

    name: str  # unique in the network, the same for the same role in every architecture
    operator: Operator  # TFLite builtin name
    input_shape: Shape  # height, width, channels
    output_shape: Shape  # height, width, channels
    kernel: tuple[int, int] = (1, 1)  # height and width
    stride: int = 1  # of both axes
    padding: Padding = "same"
    activation: Activation = "linear"  # fused activation
    # Whether a batch normalisation is folded into it (else it has a plain bias).
    normalized: bool = True
    adds: str | None = None  # name of the earlier layer whose output an ADD also takes
    block: int = -1  # index of the block that it belongs to; -1 for stem and head

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padding included; 0 where there are no weights."""
        if self.operator == "CONV_2D":
            return prod(self.output_shape) * prod(self.kernel) * self.input_shape[2]
        if self.operator == "DEPTHWISE_CONV_2D":
            return prod(self.output_shape) * prod(self.kernel)
        return 0

    @property
    def parameters(self) -> int:
        """Weights and biases, counted in elements."""
        channels = self.output_shape[2]
        if self.operator == "CONV_2D":
            return prod(self.kernel) * self.input_shape[2] * channels + channels
        if self.operator == "DEPTHWISE_CONV_2D":
            return prod(self.kernel) * channels + channels
        return 0

    @property
    def working_memory_bytes(self) -> int:
        """Bytes of int8 inputs and outputs."""
        inputs = 2 if self.operator == "ADD" else 1
        return inputs * prod(self.input_shape) + prod(self.output_shape)


@dataclass(frozen=True, slots=True)
class Cost:
    """What an architecture costs, counted from its layers."""

    macs: int  # multiply-accumulates of convolutions
    parameters: int  # weights and biases, in elements
    # Maximum over nodes of inputs + outputs, int8 (MicroNets section 5: the SRAM term of the
    # search). A residual input that outlives its node is not in it.
    working_memory_bytes: int
    layers: tuple[LayerSpec, ...]  # what was counted, in execution order

    @property
    def ops(self) -> int:
        """Operations, two for each multiply-accumulate (MicroNets section 3)."""
        return 2 * self.macs


class LayerChain:
    """Collect layers one after another; each takes what the one before it gives."""

    def __init__(self, input_shape: Shape) -> None:
        self.shape = input_shape
        self.layers: list[LayerSpec] = []

    def conv(
        self,
        name: str,
        channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: int = 1,
        *,
        activation: Activation = "linear",
        normalized: bool = True,
        block: int = -1,
    ) -> None:
        """Append a convolution."""
        self._append(
            name, "CONV_2D", channels, kernel, stride, activation=activation,
            normalized=normalized, block=block,
        )  # fmt: skip

    def depthwise(self, name: str, stride: int, *, activation: Activation, block: int) -> None:
        """Append a 3×3 depthwise convolution."""
        channels = self.shape[2]
        self._append(
            name, "DEPTHWISE_CONV_2D", channels, (3, 3), stride, activation=activation, block=block
        )

    def pool(self, name: str, size: tuple[int, int], stride: int = 1, *, block: int = -1) -> None:
        """Append an average pool; over the whole map when `size` is the map's."""
        whole = size == self.shape[:2]
        self._append(
            name, "AVERAGE_POOL_2D", self.shape[2], size, max(size) if whole else stride,
            padding="valid" if whole else "same", normalized=False, block=block,
        )  # fmt: skip

    def add(self, name: str, other: str, *, block: int) -> None:
        """Append the sum of the newest output and the output of layer `other`."""
        self._append(name, "ADD", self.shape[2], normalized=False, adds=other, block=block)

    def classifier(self, classes: int) -> tuple[LayerSpec, ...]:
        """Append global average pool, 1×1 convolution to logits and reshape; return all layers."""
        self.pool("pool", self.shape[:2])
        self.conv("classifier", classes, normalized=False)
        self._append("logits", "RESHAPE", classes, normalized=False)
        return tuple(self.layers)

    def _append(
        self,
        name: str,
        operator: Operator,
        channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: int = 1,
        *,
        padding: Padding = "same",
        activation: Activation = "linear",
        normalized: bool = True,
        adds: str | None = None,
        block: int = -1,
    ) -> None:
        shape = (-(-self.shape[0] // stride), -(-self.shape[1] // stride), channels)
        if padding == "valid":
            shape = (1, 1, channels)
        self.layers.append(
            LayerSpec(
                name, operator, self.shape, shape, kernel, stride, padding, activation,
                normalized, adds, block,
            )
        )  # fmt: skip
        self.shape = shape
