from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import ModelError
from harness.models.graph import read_model, require_int8
from harness.testing import ModelWriter
from support.published import published, read_published


def small_model() -> bytes:
    """Convolution, depthwise convolution, pool, reshape, fully connected, softmax."""
    rng = np.random.default_rng(0)
    writer = ModelWriter()
    x = writer.tensor((1, 8, 6, 1), scale=0.1, zero_point=3, name="input")
    scales = rng.uniform(0.01, 0.02, 4)
    w0 = writer.tensor((4, 3, 2, 1), scale=scales, data=rng.integers(-9, 9, (4, 3, 2, 1)))
    b0 = writer.tensor((4,), "int32", scale=scales * 0.1, data=rng.integers(-9, 9, 4))
    a = writer.tensor((1, 4, 3, 4), scale=0.2)
    window = {"padding": "SAME", "stride_h": 2, "stride_w": 2}
    writer.operator("CONV_2D", [x, w0, b0], [a], fused_activation="RELU", **window)
    w1 = writer.tensor((1, 3, 3, 4), scale=scales, axis=3, data=rng.integers(-9, 9, (1, 3, 3, 4)))
    b = writer.tensor((1, 2, 2, 4), scale=0.2)
    writer.operator("DEPTHWISE_CONV_2D", [a, w1], [b], depth_multiplier=1, **window)
    c = writer.tensor((1, 1, 1, 4), scale=0.2)
    pool = {"padding": "VALID", "stride_h": 2, "stride_w": 2}
    writer.operator("AVERAGE_POOL_2D", [b], [c], filter_height=2, filter_width=2, **pool)
    d = writer.tensor((1, 4), scale=0.2)
    shape = writer.tensor((2,), "int32", data=[1, 4])
    writer.operator("RESHAPE", [c, shape], [d])
    w2 = writer.tensor((3, 4), scale=0.01, data=rng.integers(-9, 9, (3, 4)))
    e = writer.tensor((1, 3), scale=0.2)
    writer.operator("FULLY_CONNECTED", [d, w2, -1], [e])
    f = writer.tensor((1, 3), scale=1 / 256, zero_point=-128)
    writer.operator("SOFTMAX", [e], [f], beta=1.0)
    return writer.finish([x], [f])


CONTENT = small_model()


def test_reads_what_was_written():
    model = read_model(CONTENT, name="small")
    graph = model.graph
    assert [o.name for o in graph.operators] == [
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "AVERAGE_POOL_2D",
        "RESHAPE",
        "FULLY_CONNECTED",
        "SOFTMAX",
    ]
    conv = graph.operators[0]
    assert conv.options["padding"] == "SAME"
    assert conv.options["fused_activation"] == "RELU"
    assert (conv.options["stride_h"], conv.options["dilation_w_factor"]) == (2, 1)
    (source,) = graph.input_tensors()
    assert (source.name, source.shape, source.dtype) == ("input", (1, 8, 6, 1), "int8")
    assert (source.scale, source.zero_point) == (float(np.float32(0.1)), 3)
    filters = graph.tensors[conv.inputs[1]]
    assert filters.is_constant and len(filters.scales) == 4
    assert not filters.data.flags.writeable
    with pytest.raises(ModelError, match="4 scales"):
        _ = filters.scale
    require_int8(model)
    assert len(model.model_id) == 16 and model.sha256.startswith(model.model_id)
    assert model == read_model(CONTENT, name="another name")


def test_costs():
    graph = read_model(CONTENT).graph
    conv, depthwise, dense = 1 * 4 * 3 * 4 * 6, 2 * 2 * 4 * 9, 3 * 4
    assert graph.macs_by_operator() == {
        "CONV_2D": conv,
        "DEPTHWISE_CONV_2D": depthwise,
        "FULLY_CONNECTED": dense,
    }
    assert graph.ops == 2 * graph.macs == 2 * (conv + depthwise + dense)
    assert graph.parameters == 24 + 4 + 36 + 12
    assert graph.weights_bytes == 24 + 16 + 36 + 12
    assert graph.working_memory_bytes == 48 + 48
    assert [layer.macs for layer in graph.layers()] == [conv, depthwise, 0, 0, dense, 0]


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("mlperf_tiny/kws_ref_model.tflite", 2_656_768),
        ("mlperf_tiny/vww_96_int8.tflite", 7_489_664),
        ("mlperf_tiny/pretrainedResnet_quant.tflite", 12_501_632),
        ("mlperf_tiny/ad01_int8.tflite", 264_192),
        ("micronets/kws_micronet_m_int8.tflite", 15_556_352),  # 31.1 Mops
    ],
)
def test_published_costs(name, macs):
    model = read_published(name)
    assert model.graph.macs == macs
    assert model.name == Path(name).stem
    require_int8(model)


def test_float_inputs_around_an_int8_core_are_int8():
    require_int8(read_published("heim2021/lenet_mnist_int8.tflite"))


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint8"])
def test_other_types_are_refused_by_name(dtype):
    writer = ModelWriter()
    x = writer.tensor((1, 2), dtype, scale=0.5, name="culprit")
    y = writer.tensor((1, 2), dtype, scale=0.5)
    writer.operator("RELU", [x], [y])
    with pytest.raises(ModelError, match="'culprit'") as caught:
        require_int8(read_model(writer.finish([x], [y]), name="m"))
    assert caught.value.data["dtype"] == dtype


def test_missing_file():
    with pytest.raises(ModelError, match="no such model file"):
        read_model("nowhere.tflite")


def test_folder_is_not_a_model(tmp_path):
    with pytest.raises(ModelError, match="cannot read"):
        read_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x7fELF" + bytes(100), b"not a model at all"])
def test_not_a_tflite(content):
    with pytest.raises(ModelError, match="not a TensorFlow Lite model"):
        read_model(content)


def test_every_truncation_is_a_model_error():
    for length in range(0, len(CONTENT), 7):
        with pytest.raises(ModelError):
            read_model(CONTENT[:length])


def test_order_of_execution_is_checked():
    writer = ModelWriter()
    x, y, z = (writer.tensor((1, 2), scale=0.5) for _ in range(3))
    writer.operator("RELU", [y], [z])
    writer.operator("RELU", [x], [y])
    with pytest.raises(ModelError, match="nothing before it writes"):
        read_model(writer.finish([x], [z]))


def test_wrong_buffer_size_is_named():
    writer = ModelWriter()
    x = writer.tensor((1, 4), scale=0.5)
    w = writer.tensor((3, 4), scale=0.5, data=np.ones((2, 4)))
    y = writer.tensor((1, 3), scale=0.5)
    writer.operator("FULLY_CONNECTED", [x, w], [y])
    with pytest.raises(ModelError, match="buffer of 8 bytes"):
        read_model(writer.finish([x], [y]))


def survives(content: bytes) -> None:
    """Either a model whose costs can be computed, or a `ModelError`."""
    try:
        graph = read_model(content).graph
    except ModelError as failure:
        assert failure.fix
        return
    graph.layers()
    graph.macs_by_operator()
    assert graph.working_memory_bytes >= 0


edits = st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=4)), max_size=6)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(edits)
def test_mutated_model_never_raises_anything_else(changes):
    content = bytearray(CONTENT)
    for position, new in changes:
        start = position % len(content)
        content[start : start + len(new)] = new
    survives(bytes(content))


@settings(max_examples=60, deadline=None)
@given(edits)
def test_mutated_real_model_never_raises_anything_else(changes):
    content = bytearray(published("mlperf_tiny/kws_ref_model.tflite").read_bytes())
    for position, new in changes:
        # The tables are at both ends, weights between them.
        start = position % 4000 if position % 2 else len(content) - 1 - position % 9000
        content[start : start + len(new)] = new
    survives(bytes(content))


@given(st.binary(max_size=300))
def test_garbage_with_the_right_identifier(content):
    survives(content[:4] + b"TFL3" + content[4:])


def test_garbage_with_a_huge_count_is_quick():
    # Every 32-bit value of the file in turn becomes the largest count there is.
    for position in range(0, len(CONTENT) - 4, 4):
        content = bytearray(CONTENT)
        content[position : position + 4] = b"\xff\xff\xff\x7f"
        survives(bytes(content))
