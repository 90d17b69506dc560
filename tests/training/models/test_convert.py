from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from harness.backbones import Architecture, Backbone, backbone_names, get_backbone
from harness.errors import BackboneError, ModelError
from harness.models import convert, read_model, require_int8
from harness.models.reference import run_tflite
from harness.models.stimulus import random_inputs
from support import needs

pytestmark = needs.tensorflow


def _small(name: str) -> tuple[Backbone, Architecture]:
    backbone = get_backbone(name)
    return backbone, backbone.sample(0, 0)


def _assert_costs_agree(backbone: Backbone, architecture: Architecture, content: bytes) -> None:
    graph = read_model(content).graph
    cost = backbone.cost(architecture)
    assert [layer.operator for layer in graph.layers()] == [layer.operator for layer in cost.layers]
    assert [layer.macs for layer in graph.layers()] == [layer.macs for layer in cost.layers]
    assert graph.macs == cost.macs
    assert graph.ops == cost.ops
    assert graph.parameters == cost.parameters
    assert graph.working_memory_bytes == cost.working_memory_bytes


@pytest.mark.parametrize("name", backbone_names())
@pytest.mark.parametrize(("index", "width_step"), [(0, 4), (2, 1)])
def test_counted_cost_is_the_cost_of_the_tflite(name: str, index: int, width_step: int) -> None:
    backbone = get_backbone(name)
    architecture = backbone.sample(6, index, width_step=width_step)
    content = convert.convert_architecture(name, architecture.dumps(), 1)
    model = read_model(content)
    require_int8(model)
    assert {tensor.dtype for tensor in model.graph.input_tensors()} == {"int8"}
    assert {tensor.dtype for tensor in model.graph.output_tensors()} == {"int8"}
    _assert_costs_agree(backbone, architecture, content)


def test_average_pool_in_place_of_a_block_converts() -> None:
    backbone = get_backbone("ds_cnn_kws")
    architecture = backbone.architecture(stem=[16], blocks=[0, 16, 8, 12, 20, 0, 0, 0])
    content = convert.convert_architecture(backbone.name, architecture.to_json(), 0)
    _assert_costs_agree(backbone, architecture, content)


@pytest.mark.parametrize("name", backbone_names())
def test_counted_cost_is_the_cost_of_the_tflite_for_many(name: str) -> None:
    backbone = get_backbone(name)
    for index in range(12):
        architecture = backbone.sample(60, index, width_step=1 + index % 4)
        content = convert.convert_architecture(name, architecture.dumps(), index)
        _assert_costs_agree(backbone, architecture, content)


def test_same_arguments_give_the_same_bytes() -> None:
    _, architecture = _small("ds_cnn_kws")
    text = architecture.dumps()
    first = convert.convert_architecture("ds_cnn_kws", text, 3)
    assert convert.convert_architecture("ds_cnn_kws", text, 3) == first
    assert convert.convert_architecture("ds_cnn_kws", text, 4) != first


def test_bytes_are_the_same_in_a_silent_other_process() -> None:
    _, architecture = _small("ds_cnn_kws")
    text = architecture.dumps()
    code = (
        "import sys, hashlib\n"
        "from harness.models.convert import convert_architecture\n"
        "content = convert_architecture('ds_cnn_kws', sys.argv[1], 3)\n"
        "sys.stdout.write(hashlib.sha256(content).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", code, text], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    here = convert.convert_architecture("ds_cnn_kws", text, 3)
    assert run.stdout == hashlib.sha256(here).hexdigest()


def test_weights_depend_on_the_seed_alone() -> None:
    tensorflow = convert.load_tensorflow()
    backbone, architecture = _small("ds_cnn_ad")
    weights: list[list[Any]] = []
    for global_seed, seed in ((1, 5), (2, 5), (2, 6)):
        tensorflow.random.set_seed(global_seed)
        weights.append(backbone.build(architecture, seed).get_weights())
    same, other = zip(*weights[:2], strict=True), zip(*weights[1:], strict=True)
    assert all(np.array_equal(a, b) for a, b in same)
    assert not all(np.array_equal(a, b) for a, b in other)


def test_built_model_has_batch_one_and_logits() -> None:
    for name in backbone_names():
        backbone, architecture = _small(name)
        model = backbone.build(architecture)
        assert tuple(model.inputs[0].shape) == (1, *backbone.input_shape_of(architecture))
        assert tuple(model.outputs[0].shape) == (1, backbone.classes)


def test_int8_outputs_follow_the_float_model_and_are_not_degenerate() -> None:
    convert.load_tensorflow()
    for name in ("ds_cnn_kws", "ds_cnn_ad"):
        backbone, architecture = _small(name)
        model = backbone.build(architecture, 2)
        content = convert.to_int8_tflite(model, backbone.representative(0, 8, architecture))
        parsed = read_model(content)
        source, result = parsed.graph.input_tensors()[0], parsed.graph.output_tensors()[0]
        outputs, expected = [], []
        for seed in range(6):
            stimulus = random_inputs(parsed, seed)
            raw = np.frombuffer(stimulus[0], np.int8).reshape(source.shape).astype(np.float32)
            real = (raw - source.zero_point) * np.float32(source.scale)
            expected.append(np.asarray(model(real, training=False))[0])
            outputs.append(np.frombuffer(run_tflite(parsed, stimulus)[0], np.int8))
        int8 = np.array(outputs)
        assert np.mean(np.abs(int8.astype(int)) >= 127) < 0.25
        assert len(np.unique(int8)) >= 12
        dequantized = (int8.astype(np.float32) - result.zero_point) * result.scale
        assert np.corrcoef(dequantized.ravel(), np.array(expected).ravel())[0, 1] > 0.9


def test_conversion_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    _, architecture = _small("ds_cnn_ad")
    convert.convert_architecture("ds_cnn_ad", architecture.dumps(), 0)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_wrong_calibration_inputs_are_refused() -> None:
    convert.load_tensorflow()
    backbone, architecture = _small("ds_cnn_kws")
    model = backbone.build(architecture)
    for inputs in (np.zeros((0, 49, 10, 1), np.float32), np.zeros((2, 49, 11, 1), np.float32)):
        with pytest.raises(ModelError, match="calibration inputs"):
            convert.to_int8_tflite(model, inputs)


def test_models_that_do_not_fit_are_refused() -> None:
    keras = convert.load_tensorflow().keras
    one = keras.layers.Input((4,), batch_size=1)
    free = keras.layers.Input((4,))
    inputs = np.zeros((2, 4), np.float32)
    with pytest.raises(ModelError, match="batch size None"):
        convert.to_int8_tflite(keras.Model(free, keras.layers.Dense(2)(free)), inputs)
    with pytest.raises(ModelError, match="2 outputs"):
        convert.to_int8_tflite(
            keras.Model(one, [keras.layers.Dense(2)(one), keras.layers.Dense(2)(one)]), inputs
        )


def test_what_the_converter_refuses_is_a_model_error() -> None:
    tensorflow = convert.load_tensorflow()
    one = tensorflow.keras.layers.Input((4,), batch_size=1)
    layer = tensorflow.keras.layers.Lambda(
        lambda x: tensorflow.math.igamma(x, x), output_shape=(4,)
    )
    model = tensorflow.keras.Model(one, layer(one), name="odd")
    with pytest.raises(ModelError, match="cannot convert 'odd'"):
        convert.to_int8_tflite(model, np.ones((2, 4), np.float32))


def test_architecture_errors_come_before_tensorflow() -> None:
    with pytest.raises(BackboneError):
        convert.convert_architecture("ds_cnn_kws", "{}", 0)
    with pytest.raises(BackboneError):
        convert.convert_architecture("nope", "{}", 0)


def test_converter_version_names_tensorflow() -> None:
    assert convert.converter_version().startswith("tensorflow 2.")


def test_missing_tensorflow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "TENSORFLOW_PACKAGES", ("no-such-package",))
    with pytest.raises(ModelError, match=r"tinyml-harness\[train\]"):
        convert.converter_version()


def test_memory_stays_bounded_over_many_conversions() -> None:
    from pathlib import Path

    def resident_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    backbone = get_backbone("ds_cnn_kws")
    sizes = []
    for index in range(40):
        convert.convert_architecture("ds_cnn_kws", backbone.sample(1, index).dumps(), index)
        sizes.append(resident_mb())
    assert max(sizes[20:]) - max(sizes[5:20]) < 40
