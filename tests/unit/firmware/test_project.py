from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import pytest

from harness.boards import load_board
from harness.errors import BuildError, ConfigError
from harness.firmware import BuildOptions
from harness.firmware.project import plan_project, write_files
from support import firmware as fakes

BOARD = load_board("nucleo_f746zg")


def _plan(model, sources, options=None, toolchain="gcc 1", benchmark=None):
    return plan_project(BOARD, model, sources, options or BuildOptions(), toolchain, benchmark)


def test_a_model_changes_contents_never_names(tmp_path: Path) -> None:
    small = _plan(fakes.fake_model(content=b"a"), fakes.fake_sources(tmp_path, size=10))
    large = _plan(fakes.fake_model(content=b"b"), fakes.fake_sources(tmp_path, size=2000))
    assert small.configuration_key == large.configuration_key
    assert small.build_id != large.build_id


def test_the_key_does_not_depend_on_where_the_library_is(tmp_path: Path) -> None:
    model = fakes.fake_model()
    here = _plan(model, fakes.fake_sources(tmp_path / "a"))
    there = _plan(model, fakes.fake_sources(tmp_path / "b" / "deeper"))
    assert here.key == there.key


def test_everything_that_goes_in_changes_the_build_id(tmp_path: Path) -> None:
    model, sources = fakes.fake_model(), fakes.fake_sources(tmp_path)
    plans = [
        _plan(model, sources),
        _plan(model, sources, BuildOptions(optimization="-Os")),
        _plan(model, sources, BuildOptions(dcache=False)),
        _plan(model, sources, BuildOptions(extra_flags=("-g",))),
        _plan(model, sources, toolchain="gcc 2"),
        _plan(model, dataclasses.replace(sources, defines=("OTHER",))),
        _plan(fakes.fake_model(content=b"other"), sources),
    ]
    assert len({plan.build_id for plan in plans}) == len(plans)


def test_a_kernel_tree_that_changed_in_place_is_read_again(tmp_path: Path) -> None:
    model, sources = fakes.fake_model(), fakes.fake_sources(tmp_path)
    before = _plan(model, sources)
    (tmp_path / "kernel.c").write_text("/* another revision */\n")
    after = _plan(model, dataclasses.replace(sources, kernels_version="1"))
    assert after.configuration["kernels/src/kernel.c"] == b"/* another revision */\n"
    assert after.key != before.key


def test_a_name_outside_the_project_is_refused(tmp_path: Path) -> None:
    sources = dataclasses.replace(fakes.fake_sources(tmp_path), files={"../x.c": ""})
    with pytest.raises(BuildError, match="outside"):
        _plan(fakes.fake_model(), sources)


def test_two_kernels_of_one_name_are_refused(tmp_path: Path) -> None:
    sources = fakes.fake_sources(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(tmp_path / "kernel.c", other)
    twice = dataclasses.replace(
        sources, library_sources=(*sources.library_sources, other / "kernel.c")
    )
    with pytest.raises(BuildError, match=r"kernel\.c"):
        _plan(fakes.fake_model(), twice)


def test_build_info_names_model_and_tensors(tmp_path: Path) -> None:
    model, sources = fakes.fake_model("two inputs"), fakes.fake_sources(tmp_path, size=490)
    model.graph.inputs = (0, 0)
    sources = dataclasses.replace(sources, input_bytes=(490, 3))
    text = _plan(model, sources).model["src/build_info.c"].decode()
    assert 'build_model_name[] = "two_inputs"' in text
    assert "{490u, 0u, 0x1.0000000000000p-1f, -128}" in text
    assert "{3u, 496u" in text
    assert "build_staging[512]" in text


@pytest.mark.parametrize(
    ("shape", "outputs", "name", "form", "staging"),
    [
        ((49, 10, 1), 12, "kws01", 0, 496),
        ((96, 96, 3), 2, "vww01", 1, 27648),
        ((32, 32, 3), 10, "ic01", 1, 3072),
        ((640,), 640, "ad01", 2, 640 + 2560),
        ((32, 32, 3), 11, "mine", 0, 3072),
    ],
)
def test_build_info_knows_mlperf_tiny_s_benchmarks_by_their_shapes(
    shape: tuple[int, ...], outputs: int, name: str, form: int, staging: int, tmp_path: Path
) -> None:
    size = math.prod(shape)
    model = fakes.fake_model("mine", shape=shape, outputs=outputs)
    sources = fakes.fake_sources(tmp_path, size=size)
    text = _plan(model, sources).model["src/build_info.c"].decode()
    assert f'build_model_name[] = "{name}"' in text
    assert f"build_input_format = {form}u;" in text
    assert f"build_staging[{staging}]" in text


def test_a_benchmark_can_be_chosen_and_must_fit(tmp_path: Path) -> None:
    pixels = fakes.fake_model("mine", shape=(3072,), outputs=10)
    sources = fakes.fake_sources(tmp_path, size=3072)
    by_shape, chosen = _plan(pixels, sources), _plan(pixels, sources, benchmark="ic01")
    assert 'build_model_name[] = "mine"' in by_shape.model["src/build_info.c"].decode()
    assert 'build_model_name[] = "ic01"' in chosen.model["src/build_info.c"].decode()
    assert by_shape.key != chosen.key
    with pytest.raises(ConfigError, match="is not for vww01: 3072 input and 10 output values"):
        _plan(pixels, sources, benchmark="vww01")
    with pytest.raises(ConfigError, match="no benchmark of MLPerf Tiny is named 'ic1'"):
        _plan(pixels, sources, benchmark="ic1")
    window = fakes.fake_model("mine", shape=(640,))
    text = _plan(window, sources, benchmark="none").model["src/build_info.c"].decode()
    assert 'build_model_name[] = "mine"' in text and "build_input_format = 0u;" in text


def test_a_strange_name_cannot_break_out_of_its_string(tmp_path: Path) -> None:
    model, sources = fakes.fake_model('a"; evil %\n'), fakes.fake_sources(tmp_path)
    assert '"a___evil___"' in _plan(model, sources).model["src/build_info.c"].decode()


def test_unchanged_files_keep_their_time_stamp(tmp_path: Path) -> None:
    write_files(tmp_path, {"src/a.c": b"1", "src/b.c": b"1"})
    before = (tmp_path / "src/a.c").stat().st_mtime_ns
    write_files(tmp_path, {"src/a.c": b"1"}, exclusive=("src",))
    assert (tmp_path / "src/a.c").stat().st_mtime_ns == before
    assert not (tmp_path / "src/b.c").exists()
