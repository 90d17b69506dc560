from __future__ import annotations

import re
import time

import numpy as np
import pytest

from harness.errors import ConfigError, ModelError, RuntimeUnsupported
from harness.models.graph import read_model
from harness.runtimes import RuntimeOptions, get_runtime
from harness.runtimes.aot.lower import supported_operators
from harness.testing import ModelWriter
from support.aot import generate
from support.published import published, read_published


def softmax_writer():
    writer = ModelWriter()
    x = writer.tensor((1, 4), scale=0.5)
    y = writer.tensor((1, 4), scale=1 / 256, zero_point=-128)
    writer.operator("SOFTMAX", [x], [y], beta=1.0)
    return writer, x, y


def test_file_names_and_library_do_not_depend_on_the_model():
    writer, x, y = softmax_writer()
    first = generate(read_model(writer.finish([x], [y])))
    writer = ModelWriter()
    x = writer.tensor((1, 2), scale=0.5)
    y = writer.tensor((1, 2), scale=0.25)
    writer.operator("RELU", [x], [y])
    second = generate(read_model(writer.finish([x], [y])))
    assert set(first.files) == set(second.files) == {"model/model.c", "model/model_weights.S"}
    assert first.library_sources == second.library_sources
    assert first.include_dirs == second.include_dirs
    assert first.defines == second.defines
    assert all(path.is_file() for path in first.library_sources)
    assert all(path.is_dir() for path in first.include_dirs)


def test_same_model_gives_same_text():
    content = published("mlperf_tiny/vww_96_int8.tflite").read_bytes()
    assert generate(read_model(content)).files == generate(read_model(content)).files


def test_keyword_spotter_is_generated_quickly():
    model = read_published("mlperf_tiny/kws_ref_model.tflite")
    generate(model)
    start = time.perf_counter()
    generate(model)
    assert time.perf_counter() - start < 0.15


def test_weights_text_holds_the_weights():
    writer = ModelWriter()
    x = writer.tensor((1, 7), scale=0.1)
    data = np.arange(-7, 14, dtype=np.int8).reshape(3, 7)
    weights = writer.tensor((3, 7), scale=0.02, data=data)
    y = writer.tensor((1, 3), scale=0.1)
    writer.operator("FULLY_CONNECTED", [x, weights], [y])
    sources = generate(read_model(writer.finish([x], [y])))
    words = re.findall(r"0x[0-9a-f]+", str(sources.files["model/model_weights.S"]))
    blob = b"".join(int(word, 16).to_bytes(8, "little") for word in words)
    assert blob[:21] == data.tobytes()
    assert sources.weights_bytes == 21
    assert ".rodata.model_weights" in sources.files["model/model_weights.S"]


def test_every_unsupported_operator_is_listed():
    writer, x, y = softmax_writer()
    z = writer.tensor((1, 4), scale=0.5)
    writer.operator("TANH", [y], [z])
    grouped_in = writer.tensor((1, 3, 3, 4), scale=0.5)
    filters = writer.tensor((4, 1, 1, 2), scale=0.1, data=np.ones((4, 1, 1, 2)))
    grouped_out = writer.tensor((1, 3, 3, 4), scale=0.5)
    writer.operator(
        "CONV_2D", [grouped_in, filters], [grouped_out], padding="SAME", stride_h=1, stride_w=1
    )
    wrong = writer.tensor((1, 4), scale=0.01)
    writer.operator("SOFTMAX", [z], [wrong], beta=1.0)
    model = read_model(writer.finish([x, grouped_in], [wrong, grouped_out]), name="odd")
    with pytest.raises(RuntimeUnsupported) as caught:
        generate(model)
    text = str(caught.value)
    assert "operator 1 TANH: the runtime does not have this operator" in text
    assert "operator 2 CONV_2D: a grouped convolution (2 groups) has no kernel" in text
    assert "operator 3 SOFTMAX: the output is not quantised by 1/256" in text
    assert len(caught.value.data["reasons"]) == 3


@pytest.mark.parametrize(
    ("scale", "out_scale"), [(1e30, 1e-30), (1e9, 1e-6)], ids=["huge", "large"]
)
def test_absurd_scales_are_refused(scale, out_scale):
    writer = ModelWriter()
    x = writer.tensor((1, 2), scale=scale)
    y = writer.tensor((1, 2), scale=out_scale)
    writer.operator("QUANTIZE", [x], [y])
    with pytest.raises(RuntimeUnsupported, match="scales' ratio"):
        generate(read_model(writer.finish([x], [y])))


def test_wrong_output_shape_is_refused():
    writer = ModelWriter()
    x = writer.tensor((1, 5, 5, 2), scale=0.5)
    y = writer.tensor((1, 4, 4, 2), scale=0.5)
    writer.operator(
        "MAX_POOL_2D",
        [x],
        [y],
        padding="SAME",
        stride_h=1,
        stride_w=1,
        filter_height=2,
        filter_width=2,
    )
    with pytest.raises(RuntimeUnsupported, match=r"the operator gives \(1, 5, 5, 2\)"):
        generate(read_model(writer.finish([x], [y])))


def test_float_model_is_refused_by_tensor_name():
    writer = ModelWriter()
    x = writer.tensor((1, 2), "float32", name="sound")
    y = writer.tensor((1, 2), "float32")
    writer.operator("RELU", [x], [y])
    with pytest.raises(ModelError, match="'sound'"):
        generate(read_model(writer.finish([x], [y])))


def test_unknown_runtime_and_kernels():
    writer, x, y = softmax_writer()
    model = read_model(writer.finish([x], [y]))
    with pytest.raises(ConfigError, match="unknown runtime 'tvm'"):
        get_runtime("tvm")
    with pytest.raises(ConfigError, match="no kernels 'fast'"):
        get_runtime("aot").generate(model, RuntimeOptions(kernels="fast"), None)


def test_reshape_shares_memory():
    writer = ModelWriter()
    x = writer.tensor((1, 4, 4), scale=0.5)
    middle = writer.tensor((1, 16), scale=0.5)
    shape = writer.tensor((2,), "int32", data=[1, 16])
    y = writer.tensor((1, 16), scale=0.25)
    writer.operator("RESHAPE", [x, shape], [middle])
    writer.operator("RELU", [middle], [y])
    sources = generate(read_model(writer.finish([x], [y])))
    assert sources.arena_planned_bytes == 32
    assert [layer.operator for layer in sources.layers] == ["RESHAPE", "RELU"]


def test_layer_names_are_short_printable_tokens():
    graph = read_published("micronets/kws_micronet_m_int8.tflite").graph
    for operator in graph.operators:
        assert re.fullmatch(r"[A-Za-z0-9_.:-][A-Za-z0-9_.:/-]{0,39}", graph.layer(operator).name)


def test_supported_operators_are_sorted():
    names = supported_operators()
    assert list(names) == sorted(names)
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "SOFTMAX", "ADD"} <= set(names)
