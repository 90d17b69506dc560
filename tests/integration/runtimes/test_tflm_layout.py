"""Packagings, kernel sets and sources, on trees of a few lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.runtimes.tflm.layout import Layout, check_kernels, find_library, understand
from harness.runtimes.tflm.sources import select_sources

MICRO = "tensorflow/lite/micro"
BASE = {
    f"{MICRO}/micro_interpreter.h": "",
    f"{MICRO}/micro_mutable_op_resolver.h": f'#include "{MICRO}/kernels/svdf.h"\n',
    f"{MICRO}/micro_interpreter.cpp": "",
    f"{MICRO}/debug_log.cpp": "",
    f"{MICRO}/micro_time.cpp": "",
    f"{MICRO}/fake_micro_context.cpp": "",
    f"{MICRO}/kernels/conv.h": "",
    f"{MICRO}/kernels/conv_common.cpp": f'#include "{MICRO}/kernels/conv.h"\n',
    f"{MICRO}/kernels/svdf.h": "",
    f"{MICRO}/kernels/svdf.cpp": "TFLMRegistration Register_SVDF() { return {}; }\n",
    f"{MICRO}/kernels/conv_test.cpp": "",
    "third_party/flatbuffers/include/flatbuffers/flatbuffers.h": "",
}
CONV = (
    f'#include "{MICRO}/kernels/conv.h"\nTFLMRegistration Register_CONV_2D() {{\n return {{}}; }}\n'
)
REFERENCE = {f"{MICRO}/kernels/conv.cpp": CONV}
CMSIS = {
    f"{MICRO}/kernels/cmsis_nn/conv.cpp": CONV + "int x = arm_convolve_s8();\n",
    "third_party/cmsis_nn/Include/arm_nnfunctions.h": "/* $Revision:    V.19.1.0 */\n"
    "int arm_convolve_s8(void);\nint arm_unused_s8(void);\n",
    "third_party/cmsis_nn/Source/arm_convolve_s8.c": "#include <x.h>\n"
    "arm_status arm_convolve_s8(const int a,\n    int b)\n{ return arm_size_s8(); }\n",
    "third_party/cmsis_nn/Source/arm_sizes_s8.c": "int32_t arm_size_s8(void) {\n return 1; }\n",
    "third_party/cmsis_nn/Source/arm_unused_s8.c": "int arm_unused_s8(void) { return 1; }\n",
    "third_party/cmsis_nn/Source/arm_convolve_f32.c": "int arm_convolve_f32(void) { return 1; }\n",
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Layout]:
    def make(*parts: Mapping[str, str], below: str = "", manifest: str = "library.json") -> Layout:
        for part in parts:
            for name, text in part.items():
                path = tmp_path / below / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        content = json.dumps({"name": "tree", "version": "1.0.0"})
        if manifest == "library.properties":
            content = "name=tree\nversion=1.0.0\n"
        (tmp_path / manifest).write_text(content)
        return understand(find_library(f"symlink://{tmp_path}"))

    return make


def test_a_tree_of_the_makefile_has_one_kernel_set(make: Callable[..., Layout]) -> None:
    layout = make(BASE, CMSIS)
    assert layout.kernels == ("cmsis_nn",)
    assert layout.kernels_label("cmsis_nn") == "CMSIS-NN V.19.1.0"
    assert "CMSIS_NN" in layout.defines("cmsis_nn")


def test_without_optimised_kernels_it_is_the_reference(make: Callable[..., Layout]) -> None:
    layout = make(BASE, REFERENCE)
    assert layout.kernels == ("reference",)
    assert "CMSIS_NN" not in layout.defines("reference")


def test_a_whole_repository_has_both(make: Callable[..., Layout]) -> None:
    layout = make(BASE, REFERENCE, CMSIS)
    assert layout.kernels == ("cmsis_nn", "reference")
    for kernels, here, absent in (
        ("cmsis_nn", f"{MICRO}/kernels/cmsis_nn/conv.cpp", f"{MICRO}/kernels/conv.cpp"),
        ("reference", f"{MICRO}/kernels/conv.cpp", f"{MICRO}/kernels/cmsis_nn/conv.cpp"),
    ):
        _, chosen = select_sources(layout, kernels, frozenset({"CONV_2D"}))
        assert here in chosen
        assert absent not in chosen


def test_kernels_that_the_library_does_not_have_are_refused(make: Callable[..., Layout]) -> None:
    layout = make(BASE, REFERENCE)
    with pytest.raises(ConfigError) as caught:
        check_kernels(layout, "cmsis_nn")
    assert "kernels = reference" in str(caught.value)
    assert "OPTIMIZED_KERNEL_DIR=cmsis_nn" in str(caught.value)
    with pytest.raises(ConfigError, match="no kernels 'portable'"):
        check_kernels(layout, "portable")


def test_the_profile_decides_the_abi(make: Callable[..., Layout]) -> None:
    layout = make(BASE, REFERENCE, below="src", manifest="library.properties")
    assert (layout.profile, layout.base) == ("arduino", "src/")
    assert "ARDUINO=10819" in layout.defines("reference")
    assert "TF_LITE_STATIC_MEMORY" not in layout.defines("reference")


def test_upstream_has_static_memory(make: Callable[..., Layout]) -> None:
    layout = make(BASE, REFERENCE)
    assert layout.profile == "upstream"
    assert "TF_LITE_STATIC_MEMORY" in layout.defines("reference")
    assert layout.include_dirs == (".", "third_party/flatbuffers/include")


def test_what_is_not_tflm_says_what_is_missing(make: Callable[..., Layout]) -> None:
    with pytest.raises(ConfigError) as caught:
        make({"src/a.cpp": "int a;\n"})
    assert "micro_interpreter.h" in str(caught.value)
    assert "flatbuffers.h" in str(caught.value)


def test_only_what_the_operators_lead_to_is_compiled(make: Callable[..., Layout]) -> None:
    core, kernels = select_sources(make(BASE, CMSIS), "cmsis_nn", frozenset({"CONV_2D"}))
    assert core == (f"{MICRO}/micro_interpreter.cpp",)
    assert kernels == (
        f"{MICRO}/kernels/conv_common.cpp",
        f"{MICRO}/kernels/cmsis_nn/conv.cpp",
        "third_party/cmsis_nn/Source/arm_convolve_s8.c",
        "third_party/cmsis_nn/Source/arm_sizes_s8.c",
    )


def test_a_registration_that_is_not_found_stands_for_all(make: Callable[..., Layout]) -> None:
    layout = make(BASE, REFERENCE)
    _, kernels = select_sources(layout, "reference", frozenset({"CONV_2D", "GENERATED_BY_MACRO"}))
    assert f"{MICRO}/kernels/svdf.cpp" in kernels
    assert f"{MICRO}/kernels/conv_test.cpp" not in kernels
