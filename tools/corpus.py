"""Networks that cover the operators of the aot runtime, to fit reference predictions on.

Each has up to eight branches, one for each input: an operator of random shape, kernel, stride and
channels, one or two more behind it, and a reduction to a few values. Every second branch has
channels that are no multiple of four.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.models.writer import ModelWriter

MOST_MACS = 400_000  # of one operator
_INPUT_BYTES = 30 * 1024  # of all inputs, as one firmware for many models stages them
_SCALE = 0.05
_ACTIVATIONS = ("NONE", "RELU", "RELU6")
_ELEMENTWISE = ("RELU", "RELU6", "MUL", "PAD", "QUANTIZE", "CONCATENATION", "DEQUANTIZE")
_KERNELS = ((3, 3), (3, 3), (1, 3), (3, 1), (5, 5), (2, 2), (10, 4), (4, 10), (7, 1), (1, 8))


@dataclass(frozen=True, slots=True)
class _Place:
    """A tensor of the network."""

    tensor: int
    shape: tuple[int, int, int]
    scale: float = _SCALE

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def network(seed: int, ballast_bytes: int = 0) -> bytes:
    """Return the .tflite of one network.

    Args:
        seed: Decides everything.
        ballast_bytes: Size of a tensor that lives as long as the network, so that the others lie
            behind it: beyond the tightly coupled memory of a Cortex-M7.
    """
    return _Writer(seed).network(ballast_bytes)


class _Writer:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.writer = ModelWriter("reference corpus")

    def network(self, ballast_bytes: int) -> bytes:
        inputs, outputs, left = [], [], _INPUT_BYTES
        ballast = None
        for branch in range(8):
            shape = self.shape(min(left // (8 - branch) * 2, left), aligned=branch % 2 == 0)
            left -= math.prod(shape)
            inputs.append(self.place(shape))
        if ballast_bytes:
            ballast = self.ballast(inputs[0], ballast_bytes)
        for branch, source in enumerate(inputs):
            place = source
            for _ in range(int(self.rng.integers(1, 4))):
                place = self.layer(place, aligned=branch % 2 == 0)
            outputs.append(self.reduced(place))
        outputs[0] = self.every(outputs[0])
        if ballast is not None:
            stride = max(ballast.shape[0], ballast.shape[1])
            outputs[-1] = self.pool(ballast, "MAX_POOL_2D", (1, 1), (stride, stride), "VALID")
        return self.writer.finish([p.tensor for p in inputs], [p.tensor for p in outputs])

    def shape(self, most: int, *, aligned: bool) -> tuple[int, int, int]:
        channels = self.channels(aligned, 96)
        if self.rng.random() < 0.15:
            channels = int(self.rng.choice([1, 1, 3]))
        pixels = max(1, most // channels)
        height = int(min(64, max(1, math.sqrt(pixels) * self.rng.uniform(0.3, 1))))
        if self.rng.random() < 0.12:
            height = 1
        width = int(min(64, max(1, pixels / height * self.rng.uniform(0.4, 1))))
        return height, width, channels

    def channels(self, aligned: bool, most: int) -> int:
        found = round(math.exp(self.rng.uniform(math.log(2), math.log(most))))
        return max(4, found // 4 * 4) if aligned else found

    def place(self, shape: tuple[int, int, int], scale: float = _SCALE) -> _Place:
        return _Place(self.writer.tensor((1, *shape), scale=scale), shape, scale)

    def ballast(self, source: _Place, size: int) -> _Place:
        height, width, channels = source.shape
        rows = -(-size // (width * channels))
        target = self.place((rows + height, width, channels))
        pads = np.array([[0, 0], [0, rows], [0, 0], [0, 0]], np.int32)
        amounts = self.writer.tensor((4, 2), "int32", data=pads)
        self.writer.operator("PAD", [source.tensor, amounts], [target.tensor])
        return target

    def layer(self, source: _Place, *, aligned: bool) -> _Place:
        names = ("conv", "pointwise", "depthwise", "average", "max", "add", "other")
        kind = str(self.rng.choice(names, p=(0.24, 0.22, 0.26, 0.06, 0.06, 0.06, 0.1)))
        if kind in ("conv", "pointwise"):
            return self.conv(source, wide=kind == "conv", aligned=aligned)
        if kind == "depthwise":
            return self.depthwise(source)
        if kind in ("average", "max"):
            size = (int(self.rng.integers(1, 5)), int(self.rng.integers(1, 5)))
            size = min(size[0], source.shape[0]), min(size[1], source.shape[1])
            stride = (size[0], size[1]) if self.rng.random() < 0.7 else (1, 1)
            padding = str(self.rng.choice(["SAME", "VALID"]))
            name = "AVERAGE_POOL_2D" if kind == "average" else "MAX_POOL_2D"
            return self.pool(source, name, size, stride, padding)
        if kind == "add":
            return self.add(source)
        return self.elementwise(source, _ELEMENTWISE[self.rng.integers(len(_ELEMENTWISE))])

    def every(self, place: _Place) -> _Place:
        """Add each operator once, so that all networks have the same kernels in their firmware."""
        place = self.elementwise(place, "QUANTIZE")  # a softmax has another zero point
        place = self.pool(place, "MAX_POOL_2D", (1, 1), (1, 1), "VALID")
        for name in _ELEMENTWISE:
            place = self.elementwise(place, name)
        place = self.depthwise(self.conv(place, wide=True, aligned=True))
        place = self.mean(self.add(place))
        place = self.pool(place, "AVERAGE_POOL_2D", (1, 1), (1, 1), "VALID")
        place = self.connected(self.connected(place, 8), 8, channels=True)
        return self.soft(self.soft(place, "SOFTMAX"), "LOGISTIC")

    def add(self, source: _Place) -> _Place:
        target = self.place(source.shape)
        self.writer.operator("ADD", [source.tensor, source.tensor], [target.tensor], version=2)
        return target

    def mean(self, source: _Place) -> _Place:
        axes = self.writer.tensor((2,), "int32", data=np.array([1, 2], np.int32))
        target = self.place((1, 1, source.shape[2]))
        self.writer.operator("MEAN", [source.tensor, axes], [target.tensor], keep_dims=True)
        return target

    def elementwise(self, source: _Place, name: str) -> _Place:
        height, width, channels = source.shape
        operands, options = [source.tensor], {}
        if name == "DEQUANTIZE":  # and back: a network's values are int8
            operands = [self.writer.tensor((1, *source.shape), "float32")]
            self.writer.operator(name, [source.tensor], operands)
            name = "QUANTIZE"
        if name == "PAD":
            target = self.place((height + 1, width + 2, channels))
            pads = np.array([[0, 0], [0, 1], [1, 1], [0, 0]], np.int32)
            operands.append(self.writer.tensor((4, 2), "int32", data=pads))
        elif name == "CONCATENATION":
            target, options = self.place((height, width, 2 * channels)), {"axis": 3}
            operands.append(source.tensor)
        else:
            target = self.place(source.shape)
            operands += [source.tensor] if name == "MUL" else []
        self.writer.operator(name, operands, [target.tensor], **options)
        return target

    def conv(self, source: _Place, *, wide: bool, aligned: bool) -> _Place:
        height, width, inner = source.shape
        kernel = _KERNELS[self.rng.integers(len(_KERNELS))] if wide else (1, 1)
        kernel = min(kernel[0], height), min(kernel[1], width)
        stride = tuple(int(self.rng.choice([1, 1, 1, 2])) for _ in range(2))
        padding = str(self.rng.choice(["SAME", "SAME", "VALID"]))
        high = _out(height, kernel[0], stride[0], padding)
        broad = _out(width, kernel[1], stride[1], padding)
        row = kernel[0] * kernel[1] * inner
        most = max(1, MOST_MACS // (row * high * broad))
        outer = min(self.channels(aligned, 160), most)
        outer = max(1, outer // 4 * 4) if aligned and outer >= 4 else outer
        return self.weighted(
            "CONV_2D", source, (high, broad, outer), (outer, *kernel, inner), 0, row,
            stride_h=stride[0], stride_w=stride[1], padding=padding,
        )  # fmt: skip

    def depthwise(self, source: _Place) -> _Place:
        height, width, inner = source.shape
        kernel = (3, 3) if self.rng.random() < 0.6 else _KERNELS[self.rng.integers(len(_KERNELS))]
        kernel = min(kernel[0], height), min(kernel[1], width)
        stride = (int(self.rng.choice([1, 1, 2])),) * 2
        padding = str(self.rng.choice(["SAME", "SAME", "VALID"]))
        times = int(self.rng.choice([1, 2, 3, 4, 8])) if inner <= 8 else 1
        shape = (
            _out(height, kernel[0], stride[0], padding),
            _out(width, kernel[1], stride[1], padding),
            inner * times,
        )
        return self.weighted(
            "DEPTHWISE_CONV_2D", source, shape, (1, *kernel, inner * times), 3,
            kernel[0] * kernel[1], stride_h=stride[0], stride_w=stride[1], padding=padding,
            depth_multiplier=times,
        )  # fmt: skip

    def reduced(self, source: _Place) -> _Place:
        height, width, _ = source.shape
        kind = self.rng.choice(["mean", "average", "connected", "connected"])
        if kind == "average":
            return self.soft(self.pool(source, "AVERAGE_POOL_2D", (height, width), (1, 1), "VALID"))
        if kind == "mean":
            return self.soft(self.mean(source))
        inputs = source.elements
        outputs = min(int(self.rng.integers(2, 129)), max(2, MOST_MACS // 10 // inputs))
        return self.soft(self.connected(source, outputs))

    def connected(self, source: _Place, outputs: int, *, channels: bool = False) -> _Place:
        inputs = source.elements
        scales = self.scales(outputs if channels else 1, inputs, source.scale)
        weights = self.weights((outputs, inputs), scales, 0)
        bias = self.writer.tensor(
            (outputs,), "int32", scale=[source.scale * s for s in scales],
            data=np.zeros(outputs, np.int32),
        )  # fmt: skip
        target = self.place((1, 1, outputs))
        self.writer.operator(
            "FULLY_CONNECTED", [source.tensor, weights, bias], [target.tensor], version=4,
            fused_activation=str(self.rng.choice(_ACTIVATIONS)), keep_num_dims=True,
        )  # fmt: skip
        return target

    def soft(self, source: _Place, name: str | None = None) -> _Place:
        if name is None:
            name = str(self.rng.choice(["SOFTMAX", "LOGISTIC", ""], p=[0.4, 0.1, 0.5]))
        if not name:
            return source
        scale = 1 / 256
        target = self.writer.tensor((1, *source.shape), scale=scale, zero_point=-128)
        self.writer.operator(name, [source.tensor], [target])
        return _Place(target, source.shape, scale)

    def pool(
        self,
        source: _Place,
        name: str,
        size: tuple[int, int],
        stride: tuple[int, int],
        padding: str,
    ) -> _Place:
        height, width, channels = source.shape
        high = _out(height, size[0], stride[0], padding)
        wide = _out(width, size[1], stride[1], padding)
        target = self.place((high, wide, channels), source.scale)
        self.writer.operator(
            name, [source.tensor], [target.tensor], version=2, padding=padding,
            filter_height=size[0], filter_width=size[1], stride_h=stride[0], stride_w=stride[1],
        )  # fmt: skip
        return target

    def weighted(
        self,
        name: str,
        source: _Place,
        shape: tuple[int, int, int],
        filters: tuple[int, ...],
        axis: int,
        row: int,
        **options: int | str,
    ) -> _Place:
        outer = shape[2]
        scales = self.scales(outer, row, source.scale)
        weights = self.weights(filters, scales, axis)
        bias = self.writer.tensor(
            (outer,), "int32", scale=[source.scale * s for s in scales], axis=0,
            data=self.rng.integers(-1000, 1000, outer).astype(np.int32),
        )  # fmt: skip
        target = self.place(shape)
        self.writer.operator(
            name, [source.tensor, weights, bias], [target.tensor], version=3,
            fused_activation=str(self.rng.choice(_ACTIVATIONS)), **options,
        )  # fmt: skip
        return target

    def weights(self, shape: tuple[int, ...], scales: list[float], axis: int) -> int:
        data = self.rng.integers(-127, 128, shape).astype(np.int8)
        return self.writer.tensor(shape, scale=scales, axis=axis, data=data)

    def scales(self, count: int, row: int, source: float) -> list[float]:
        """Return weight scales with which sums of `row` random products fill int8."""
        middle = 45 * _SCALE / (73 * 73 * math.sqrt(row) * source)
        return [float(scale) for scale in middle * self.rng.uniform(0.7, 1.4, count)]


def _out(size: int, kernel: int, stride: int, padding: str) -> int:
    return -(-size // stride) if padding == "SAME" else (size - kernel) // stride + 1
