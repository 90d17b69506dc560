"""The generated op resolver, from the headers of two generations."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.boards import load_board
from harness.errors import ConfigError, RuntimeUnsupported
from harness.models import read_model
from harness.runtimes import RuntimeOptions
from harness.runtimes.tflm import TflmRuntime
from harness.runtimes.tflm.layout import RESOLVER, Layout, find_library, understand
from harness.runtimes.tflm.resolver import (
    entries_for_model,
    entries_for_operators,
    known_operators,
    parse_int8,
    parse_methods,
    resolver_source,
)
from harness.testing import ModelWriter

FAKE = Path(__file__).parents[2] / "fake_tflm"
NEW = """
  TfLiteStatus AddAbs(const TFLMRegistration& registration = Register_ABS()) {
    return AddBuiltin(BuiltinOperator_ABS, registration, ParseAbs);
  }

  TfLiteStatus AddAssignVariable(const TFLMRegistration& registration =
                                     tflite::Register_ASSIGN_VARIABLE()) {
    return AddBuiltin(BuiltinOperator_ASSIGN_VARIABLE, registration,
                      ParseAssignVariable);
  }
  TfLiteStatus AddCircularBuffer() {
    return AddCustom("CIRCULAR_BUFFER", tflite::Register_CIRCULAR_BUFFER());
  }
"""
OLD = """
  TfLiteStatus AddAbs() {
    return AddBuiltin(BuiltinOperator_ABS, tflite::ops::micro::Register_ABS(),
                      ParseAbs);
  }
  TfLiteStatus AddConv2D(
      const TfLiteRegistration& registration = Register_CONV_2D()) {
    return AddBuiltin(BuiltinOperator_CONV_2D, registration, ParseConv2D);
  }
"""


@pytest.fixture(scope="module")
def layout() -> Layout:
    return understand(find_library(f"symlink://{FAKE}"))


def pool_model(dtype: str = "int8", *, operator: str = "MAX_POOL_2D") -> bytes:
    writer = ModelWriter()
    source = writer.tensor((1, 4, 4, 1), dtype, scale=0.5)
    sink = writer.tensor((1, 2, 2, 1), dtype, scale=0.5)
    options = (
        {"stride_w": 2, "stride_h": 2, "filter_width": 2, "filter_height": 2, "padding": "VALID"}
        if operator.endswith("POOL_2D")
        else {}
    )
    writer.operator(operator, [source], [sink], **options)
    return writer.finish([source], [sink])


def test_methods_of_today() -> None:
    methods = parse_methods(NEW)
    assert set(methods) == {"ABS", "ASSIGN_VARIABLE"}
    assert methods["ASSIGN_VARIABLE"].registration == "ASSIGN_VARIABLE"
    assert methods["ASSIGN_VARIABLE"].takes_registration


def test_methods_of_2022() -> None:
    methods = parse_methods(OLD)
    assert methods["ABS"].registration == "ABS"
    assert not methods["ABS"].takes_registration
    assert methods["CONV_2D"].takes_registration


def test_a_header_without_methods_is_refused() -> None:
    with pytest.raises(ConfigError, match="no operators"):
        parse_methods("class AllOpsResolver {};")


def test_int8_registrations_come_with_their_header() -> None:
    text = "TFLMRegistration Register_PAD_INT8();\ninline X Register_ADD_INT8 ( ) { }\n"
    assert parse_int8({"pad.h": text}) == {"PAD": "pad.h", "ADD": "pad.h"}
    assert parse_int8({"x.h": "Register_SOFTMAX_INT8_INT16();"}) == {}


def test_an_int8_operator_gets_its_int8_registration(layout: Layout) -> None:
    (entry,) = entries_for_model(layout, read_model(pool_model()))
    assert entry.int8_only
    text = resolver_source([entry], "reference")
    assert "MicroMutableOpResolver<1>" in text
    assert "AddMaxPool2D(tflite::Register_MAX_POOL_2D_INT8())" in text
    assert '#include "tensorflow/lite/micro/kernels/pooling.h"' in text
    assert f'#include "{RESOLVER}"' in text
    assert '{tflite::BuiltinOperator_MAX_POOL_2D, "MAX_POOL_2D"}' in text


def test_every_type_s_code_is_linked_when_asked_for() -> None:
    model, board = read_model(pool_model()), load_board("nucleo_f746zg")
    usual = RuntimeOptions("tflm", "reference", f"symlink://{FAKE}")
    for options, int8 in ((usual, True), (replace(usual, all_types=True), False)):
        sources = TflmRuntime().generate(model, options, board)
        assert ("_INT8" in str(sources.files["model/model_resolver.cpp"])) is int8
        assert sources.kernels_version.endswith("all types") is not int8


def test_another_type_gets_the_general_one(layout: Layout) -> None:
    (entry,) = entries_for_model(layout, read_model(pool_model("float32")))
    assert not entry.int8_only
    assert "AddMaxPool2D()" in resolver_source([entry], "reference")


def test_unknown_operators_are_named(layout: Layout) -> None:
    with pytest.raises(RuntimeUnsupported) as caught:
        entries_for_model(layout, read_model(pool_model(operator="AVERAGE_POOL_2D")))
    assert caught.value.data["operators"] == ("AVERAGE_POOL_2D",)
    with pytest.raises(RuntimeUnsupported, match="SOFTMAX"):
        entries_for_operators(layout, ("RESHAPE", "SOFTMAX"))


def test_a_shared_resolver_has_each_operator_once(layout: Layout) -> None:
    names = known_operators(layout, ("CONV_2D", "RESHAPE", "MAX_POOL_2D"))
    assert names == ("RESHAPE", "MAX_POOL_2D")
    entries = entries_for_operators(layout, (*names, "RESHAPE"))
    assert [entry.registration for entry in entries] == ["RESHAPE", "MAX_POOL_2D_INT8"]


@pytest.mark.tflm
def test_the_library_at_hand_can_be_read() -> None:
    import shlex

    specs = shlex.split(os.environ.get("HARNESS_TFLM", ""))
    if not specs:
        pytest.skip("no TFLM library: set HARNESS_TFLM to a PlatformIO library spec")
    for spec in specs:
        from harness.runtimes.tflm.resolver import library_int8, library_methods

        real = understand(find_library(spec.removeprefix("cmsis_nn=").removeprefix("reference=")))
        assert len(library_methods(real)) > 60
        assert {"CONV_2D", "DEPTHWISE_CONV_2D"} <= library_int8(real).keys()
