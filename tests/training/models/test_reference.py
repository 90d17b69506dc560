from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.backbones import get_backbone
from harness.errors import ModelError
from harness.models import TFLiteModel, read_model, reference
from harness.models.convert import convert_architecture
from harness.models.stimulus import random_inputs
from support import needs
from support.published import read_published

pytestmark = needs.tensorflow
tflm = pytest.importorskip("tflite_micro", reason="pip install 'tinyml-harness[reference]'")


@pytest.fixture(scope="module")
def model() -> TFLiteModel:
    sample = get_backbone("ds_cnn_kws").sample(0, 0)
    return read_model(convert_architecture("ds_cnn_kws", sample.dumps(), 0), "kws")


@pytest.fixture(scope="module")
def residual_model() -> TFLiteModel:
    backbone = get_backbone("mobilenet_v2_vww")
    sample = next(
        sample
        for sample in (backbone.sample(0, index) for index in range(50))
        if any(layer.operator == "ADD" for layer in backbone.layers(sample))
        and backbone.cost(sample).ops < 10e6
    )
    return read_model(convert_architecture(backbone.name, sample.dumps(), 0), "vww")


def test_references_agree_on_a_backbone(model: TFLiteModel, residual_model: TFLiteModel) -> None:
    for each in (model, residual_model):
        inputs = random_inputs(each, 1)
        ours, theirs = reference.run_tflm(each, inputs), reference.run_tflite(each, inputs)
        assert reference.compare_outputs(b"".join(ours), b"".join(theirs)).bit_exact
        assert reference.run_tflm(each, random_inputs(each, 2)) != ours


def test_default_reference_is_recorded(model: TFLiteModel) -> None:
    inputs = random_inputs(model, 0)
    result = reference.run_reference(model, inputs)
    assert result.name == "tflm"
    assert result.version.startswith("tflite-micro ")
    assert list(result.outputs) == reference.run_tflm(model, inputs)
    assert "tensorflow" in reference.run_reference(model, inputs, "tflite").version


def test_the_wheel_counts_variables_only_where_a_model_has_some(
    model: TFLiteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    monkeypatch.setattr(tflm.runtime, "count_resource_variables", counted.append)
    reference.tflm_arena_bytes(model)
    assert not counted
    handle = replace(model.graph.operators[0], name="VAR_HANDLE")
    graph = replace(model.graph, operators=(handle, *model.graph.operators[1:]))
    with pytest.raises(TypeError):  # None is no number of variables
        reference.tflm_arena_bytes(replace(model, graph=graph))
    assert counted == [model.content]


def test_references_say_nothing(model: TFLiteModel, capfd: pytest.CaptureFixture[str]) -> None:
    inputs = random_inputs(model, 0)
    reference.run_tflm(model, inputs)
    reference.run_tflite(model, inputs)
    reference.tflm_arena_bytes(model)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_arena_of_the_wheel_is_at_least_the_working_memory(model: TFLiteModel) -> None:
    arena = reference.tflm_arena_bytes(model)
    assert model.graph.working_memory_bytes < arena < 4 * model.graph.working_memory_bytes


def test_inputs_of_the_wrong_size_are_refused(model: TFLiteModel) -> None:
    for inputs in ([], [b"123"], [b"0" * 490, b"1"]):
        for run in (reference.run_tflm, reference.run_tflite):
            with pytest.raises(ModelError, match=r"expected: \[490\] bytes"):
                run(model, inputs)


def test_what_a_reference_cannot_run_is_a_model_error(
    model: TFLiteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_small(content: bytes, arena_size: int) -> object:
        return original(content, arena_size=3000)

    original = tflm.runtime.Interpreter.from_bytes
    monkeypatch.setattr(tflm.runtime.Interpreter, "from_bytes", too_small)
    inputs = random_inputs(model, 0)
    with pytest.raises(ModelError, match="cannot run 'kws': TFLM failed to allocate") as caught:
        reference.run_tflm(model, inputs)
    assert "Failed to allocate" in str(caught.value.where)
    with pytest.raises(ModelError, match="cannot run 'kws'"):
        reference.tflm_arena_bytes(model)


def test_missing_packages_say_what_to_install(
    model: TFLiteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        return None

    def no_wheel(name: str) -> object:
        raise ModuleNotFoundError(name="tflite_micro")

    monkeypatch.setattr(reference.util, "find_spec", absent)
    assert reference.default_reference() == "tflite"
    with pytest.raises(ModelError, match="ai-edge-litert"):
        reference.run_tflite(model, random_inputs(model, 0))
    monkeypatch.setattr(reference.importlib, "import_module", no_wheel)
    with pytest.raises(ModelError, match=r"tinyml-harness\[reference\]"):
        reference.run_tflm(model, random_inputs(model, 0))


def test_comparison_counts_bytes_and_distance() -> None:
    same = reference.compare_outputs(b"\x01\xff", b"\x01\xff")
    assert same == reference.OutputComparison(2, 0, 0)
    assert same.bit_exact
    far = reference.compare_outputs(b"\x7f\x00\x01", b"\x80\x00\x03")
    assert far == reference.OutputComparison(3, 2, 255)
    assert not far.bit_exact
    assert reference.compare_outputs(b"", b"").bit_exact
    with pytest.raises(ModelError, match="1 bytes"):
        reference.compare_outputs(b"1", b"12")


def test_stimulus_depends_on_model_and_seed(
    model: TFLiteModel, residual_model: TFLiteModel
) -> None:
    inputs = random_inputs(model, 7)
    assert [len(buffer) for buffer in inputs] == [490]
    assert random_inputs(model, 7) == inputs
    assert random_inputs(model, 8) != inputs
    assert random_inputs(residual_model, 7)[0][:490] != inputs[0]
    values = np.frombuffer(inputs[0], np.int8)
    assert values.min() < -100
    assert values.max() > 100


@pytest.mark.parametrize(
    ("name", "max_difference"),
    [
        ("mlperf_tiny/kws_ref_model.tflite", 0),
        ("mlperf_tiny/vww_96_int8.tflite", 0),
        ("mlperf_tiny/pretrainedResnet_quant.tflite", 0),
        # FULLY_CONNECTED rounds differently in the two; see the module's docstring.
        ("mlperf_tiny/ad01_int8.tflite", 2),
        ("micronets/kws_micronet_m_int8.tflite", 0),
        ("heim2021/lenet_mnist_int8.tflite", 0),
    ],
)
def test_references_agree_on_published_models(name: str, max_difference: int) -> None:
    model = read_published(name)
    inputs = random_inputs(model, 0)
    comparison = reference.compare_outputs(
        b"".join(reference.run_tflm(model, inputs)), b"".join(reference.run_tflite(model, inputs))
    )
    assert comparison.max_abs_diff <= max_difference


def test_micronet_kws_m_is_in_the_search_space() -> None:
    backbone = get_backbone("ds_cnn_kws")
    graph = read_published("micronets/kws_micronet_m_int8.tflite").graph
    cost = backbone.cost(backbone.architecture(stem=[140], blocks=[140] * 3 + [112, 196, 0, 0, 0]))
    assert [layer.macs for layer in graph.layers()] == [layer.macs for layer in cost.layers]
    assert graph.parameters == cost.parameters
    assert graph.working_memory_bytes == cost.working_memory_bytes
