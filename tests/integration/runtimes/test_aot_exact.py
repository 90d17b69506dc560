"""Outputs of the generated code equal TFLM's to the byte, in both kernel sets."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.models.graph import TFLiteModel, read_model
from harness.testing import ModelWriter
from support.aot import generate, random_inputs
from support.published import read_published

KERNELS = ("cmsis_nn", "portable")
ACTIVATIONS = ("NONE", "RELU", "RELU6")
SHARED = (
    "mlperf_tiny/ad01_int8",
    "mlperf_tiny/kws_ref_model",
    "mlperf_tiny/pretrainedResnet_quant",
    "mlperf_tiny/vww_96_int8",
    "micronets/kws_micronet_m_int8",
    "heim2021/lenet_mnist_int8",
)


def check(model, kernels, host, wheel, seeds=2):
    sources = generate(model, kernels)
    for seed in range(seeds):
        inputs = random_inputs(model, seed)
        got, expected = host.run(sources, inputs), wheel(model, inputs)
        for index, (mine, theirs) in enumerate(zip(got, expected, strict=True)):
            assert mine == theirs, f"output {index}, {_layer(model, index)}"


def _layer(model: TFLiteModel, output: int) -> str:
    graph = model.graph
    operator = next(o for o in graph.operators if graph.outputs[output] in o.outputs)
    shapes = [graph.tensors[i].shape for i in operator.inputs if i >= 0]
    return f"{operator.name} {shapes} {dict(operator.options)}"


class Zoo:
    """One model of many layers side by side, each with an input and an output of its own."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.writer = ModelWriter()
        self.inputs: list[int] = []
        self.outputs: list[int] = []

    def pick(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def choose(self, *options):
        return options[self.pick(0, len(options) - 1)]

    def source(self, shape, scale=None, zero_point=None) -> int:
        scale = scale or float(self.rng.uniform(0.01, 0.1))
        zero = self.pick(-128, 127) if zero_point is None else zero_point
        self.inputs.append(self.writer.tensor(shape, scale=scale, zero_point=zero))
        return self.inputs[-1]

    def target(self, shape, scale, zero_point=None) -> int:
        zero = self.pick(-128, 127) if zero_point is None else zero_point
        self.outputs.append(self.writer.tensor(shape, scale=scale, zero_point=zero))
        return self.outputs[-1]

    def model(self) -> TFLiteModel:
        return read_model(self.writer.finish(self.inputs, self.outputs), name="zoo")

    def weights(self, shape, channels, axis, in_scale, per_channel=True):
        count = channels if per_channel else 1
        scales = self.rng.uniform(0.001, 0.01, count).astype(np.float32)
        data = self.rng.integers(-127, 128, shape, dtype=np.int8)
        filters = self.writer.tensor(shape, scale=scales, axis=axis, data=data)
        biases = self.rng.integers(-3000, 3000, channels, dtype=np.int32)
        bias = self.writer.tensor(
            (channels,), "int32", scale=(scales * np.float32(in_scale)), data=biases
        )
        return [filters, bias] if self.pick(0, 4) else [filters]

    def window(self):
        kernel = (self.pick(1, 5), self.pick(1, 5))
        size = (self.pick(kernel[0], 11), self.pick(kernel[1], 11))
        stride = (self.pick(1, 3), self.pick(1, 3))
        padding = self.choose("SAME", "VALID")
        return size, kernel, stride, padding

    @staticmethod
    def out_size(size, kernel, stride, padding, dilation=1):
        if padding == "SAME":
            return math.ceil(size / stride)
        return math.ceil((size - (kernel - 1) * dilation) / stride)

    def conv(self, depthwise: bool) -> None:
        size, kernel, stride, padding = self.window()
        style = self.pick(0, 3)
        if style == 0:
            kernel, stride = ((1, 1), (1, 1)) if not depthwise else ((3, 3), (1, 1))
        size = (max(size[0], kernel[0]), max(size[1], kernel[1]))
        dilation = 2 if style == 1 and stride == (1, 1) and padding == "SAME" else 1
        in_c = self.choose(1, 3, 4, self.pick(1, 20), self.pick(1, 20))
        multiplier = self.choose(1, 1, 2, 4) if depthwise else 1
        out_c = in_c * multiplier if depthwise else self.pick(1, 20)
        out = [
            self.out_size(s, k, t, padding, dilation)
            for s, k, t in zip(size, kernel, stride, strict=True)
        ]
        scale = float(self.rng.uniform(0.01, 0.1))
        x = self.source((1, *size, in_c), scale)
        shape = (1, *kernel, out_c) if depthwise else (out_c, *kernel, in_c)
        per_channel = bool(self.pick(0, 3))
        weights = self.weights(shape, out_c, 3 if depthwise else 0, scale, per_channel)
        taps = kernel[0] * kernel[1] * (1 if depthwise else in_c)
        y = self.target((1, *out, out_c), scale * 0.2 * math.sqrt(taps))
        options = {
            "padding": padding,
            "stride_h": stride[0],
            "stride_w": stride[1],
            "dilation_h_factor": dilation,
            "dilation_w_factor": dilation,
            "fused_activation": self.choose(*ACTIVATIONS),
        }
        if depthwise:
            options["depth_multiplier"] = multiplier
        name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        self.writer.operator(name, [x, *weights], [y], **options)

    def fully_connected(self) -> None:
        inputs, outputs = self.pick(1, 70), self.pick(1, 20)
        scale = float(self.rng.uniform(0.01, 0.1))
        x = self.source((1, inputs), scale)
        weights = self.weights((outputs, inputs), outputs, 0, scale, bool(self.pick(0, 1)))
        y = self.target((1, outputs), scale * 0.2 * math.sqrt(inputs))
        self.writer.operator(
            "FULLY_CONNECTED", [x, *weights], [y], fused_activation=self.choose(*ACTIVATIONS)
        )

    def pool(self, name: str) -> None:
        size, kernel, stride, padding = self.window()
        channels = self.pick(1, 20)
        out = [
            self.out_size(s, k, t, padding) for s, k, t in zip(size, kernel, stride, strict=True)
        ]
        scale, zero = float(self.rng.uniform(0.01, 0.1)), self.pick(-128, 127)
        x = self.source((1, *size, channels), scale, zero)
        y = self.target((1, *out, channels), scale, zero)
        self.writer.operator(
            name,
            [x],
            [y],
            padding=padding,
            stride_h=stride[0],
            stride_w=stride[1],
            filter_height=kernel[0],
            filter_width=kernel[1],
            fused_activation=self.choose(*ACTIVATIONS),
        )

    def binary(self, name: str) -> None:
        shape = (1, self.pick(1, 5), self.pick(1, 5), self.pick(1, 9))
        x, z = self.source(shape), self.source(shape)
        scale = 0.1 if name == "ADD" else 0.02
        y = self.target(shape, scale * float(self.rng.uniform(0.5, 3)))
        self.writer.operator(name, [x, z], [y], fused_activation=self.choose(*ACTIVATIONS))

    def softmax(self) -> None:
        shape = (self.pick(1, 3), self.pick(1, 30))
        x = self.source(shape, float(self.rng.uniform(0.001, 0.5)))
        y = self.target(shape, 1 / 256, -128)
        self.writer.operator("SOFTMAX", [x], [y], beta=1.0)

    def mean(self) -> None:
        shape = (1, self.pick(1, 9), self.pick(1, 9), self.pick(1, 20))
        keep = self.pick(0, 1)
        scale = float(self.rng.uniform(0.01, 0.1))
        x = self.source(shape, scale)
        axes = self.writer.tensor((2,), "int32", data=[1, 2])
        out = (1, 1, 1, shape[3]) if keep else (1, shape[3])
        y = self.target(out, scale * float(self.rng.uniform(0.1, 2)))
        self.writer.operator("MEAN", [x, axes], [y], keep_dims=bool(keep))

    def unary(self, name: str) -> None:
        shape = (1, self.pick(1, 6), self.pick(1, 30))
        x_zero = self.pick(-128, 127)
        x_scale = float(self.rng.uniform(0.02, 0.1))
        x = self.source(shape, x_scale, x_zero)
        if name == "LOGISTIC":
            y = self.target(shape, 1 / 256, -128)
        elif name == "RELU6":
            y = self.target(shape, x_scale, x_zero)
        else:
            y = self.target(shape, x_scale * float(self.rng.uniform(0.3, 3)))
        self.writer.operator(name, [x], [y])

    def floats(self) -> None:
        shape = (1, self.pick(1, 40))
        x = self.writer.tensor(shape, "float32")
        self.inputs.append(x)
        middle = self.writer.tensor(shape, scale=0.03, zero_point=self.pick(-128, 127))
        self.writer.operator("QUANTIZE", [x], [middle])
        y = self.writer.tensor(shape, "float32")
        self.outputs.append(y)
        self.writer.operator("DEQUANTIZE", [middle], [y])

    def pad(self) -> None:
        shape = (1, self.pick(1, 5), self.pick(1, 5), self.pick(1, 5))
        pads = [[0, 0], *([self.pick(0, 2), self.pick(0, 2)] for _ in range(3))]
        zero = self.pick(-128, 127)
        x = self.source(shape, 0.1, zero)
        paddings = self.writer.tensor((4, 2), "int32", data=pads)
        out = tuple(n + sum(p) for n, p in zip(shape, pads, strict=True))
        y = self.target(out, 0.1, zero)
        self.writer.operator("PAD", [x, paddings], [y])

    def concat(self) -> None:
        shapes = [(1, 3, 4, self.pick(1, 9)) for _ in range(self.pick(2, 4))]
        xs = [self.source(shape, 0.1, 5) for shape in shapes]
        y = self.target((1, 3, 4, sum(shape[3] for shape in shapes)), 0.1, 5)
        self.writer.operator("CONCATENATION", xs, [y], axis=3)

    def reshape(self) -> None:
        n, m = self.pick(1, 9), self.pick(1, 9)
        x = self.source((1, n, m), 0.1, 3)
        shape = self.writer.tensor((2,), "int32", data=[1, n * m])
        middle = self.writer.tensor((1, n * m), scale=0.1, zero_point=3)
        self.writer.operator("RESHAPE", [x, shape], [middle])
        y = self.target((1, n * m), 0.2)
        self.writer.operator("QUANTIZE", [middle], [y])


@pytest.fixture(scope="module")
def convolutions() -> TFLiteModel:
    zoo = Zoo(1)
    for _ in range(40):
        zoo.conv(depthwise=False)
        zoo.conv(depthwise=True)
    return zoo.model()


@pytest.fixture(scope="module")
def small_operators() -> TFLiteModel:
    zoo = Zoo(2)
    for _ in range(12):
        zoo.fully_connected()
        zoo.pool("AVERAGE_POOL_2D")
        zoo.pool("MAX_POOL_2D")
        zoo.binary("ADD")
        zoo.binary("MUL")
        zoo.softmax()
        zoo.mean()
        for name in ("RELU", "RELU6", "LOGISTIC", "QUANTIZE"):
            zoo.unary(name)
        zoo.floats()
        zoo.pad()
        zoo.concat()
        zoo.reshape()
    return zoo.model()


@pytest.mark.parametrize("kernels", KERNELS)
def test_random_convolutions(convolutions, kernels, host, wheel):
    check(convolutions, kernels, host, wheel)


@pytest.mark.parametrize("kernels", KERNELS)
def test_random_small_operators(small_operators, kernels, host, wheel):
    check(small_operators, kernels, host, wheel)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("name", SHARED)
def test_shared_models(name, kernels, host, wheel) -> None:
    model = read_published(f"{name}.tflite")
    check(model, kernels, host, wheel, seeds=1)


@pytest.mark.parametrize("kernels", KERNELS)
def test_extreme_inputs(convolutions, kernels, host, wheel):
    sources = generate(convolutions, kernels)
    for value in (-128, 127):
        inputs = [np.full(t.shape, value, np.int8) for t in convolutions.graph.input_tensors()]
        assert host.run(sources, inputs) == wheel(convolutions, inputs)
