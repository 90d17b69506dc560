from __future__ import annotations

import math
import subprocess
import sys

import pytest

from harness.backbones import Limits, backbone_names, get_backbone
from harness.backbones.draw import Draw, spread
from harness.errors import BackboneError

BOARD = Limits(max_working_memory_bytes=200_000, max_parameters=500_000)
FIRST_IDS = {
    "ds_cnn_kws": ["06933448d256", "9932dd4fd652", "54ffa8bbf0c0"],
    "mobilenet_v2_vww": ["88dd60a3359d", "e859921ba922", "93604c1a83c9"],
    "ds_cnn_ad": ["b49c9426e0c8", "871eb0b360db", "3d600b250a54"],
    "ds_cnn_ad_3x3": ["f25974f95901", "a4aeab8d0bd3", "e9c1a2879d44"],
    "ds_cnn_ic": ["b020d933c5ee", "8c81c8b38a96", "9ea73990efa9"],
}


@pytest.mark.parametrize("name", backbone_names())
def test_samples_are_the_same_on_every_machine(name: str) -> None:
    backbone = get_backbone(name)
    assert [backbone.sample(0, index).id for index in range(3)] == FIRST_IDS[name]


def test_samples_are_the_same_in_another_process() -> None:
    code = "from harness.backbones import get_backbone as g;print(g('ds_cnn_kws').sample(5, 11).id)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == get_backbone("ds_cnn_kws").sample(5, 11).id


@pytest.mark.parametrize("name", backbone_names())
def test_samples_are_valid_and_distinct(name: str) -> None:
    backbone = get_backbone(name)
    samples = [backbone.sample(3, index) for index in range(100)]
    for sample in samples:
        backbone.validate(sample)
        assert backbone.from_json(sample.dumps()) == sample
    assert len({sample.id for sample in samples}) == 100
    assert {backbone.sample(4, index).id for index in range(20)}.isdisjoint(
        sample.id for sample in samples
    )


@pytest.mark.parametrize("name", backbone_names())
@pytest.mark.parametrize("count", [10, 40])
def test_every_octave_of_cost_is_sampled(name: str, count: int) -> None:
    backbone = get_backbone(name)
    octaves = [
        math.floor(math.log2(backbone.cost(backbone.sample(1, index)).ops / backbone.min_ops))
        for index in range(count)
    ]
    # Widths are on a grid, so a sample may end just below the op count that was aimed at.
    inside = [max(octave, 0) for octave in octaves]
    for octave in range(backbone.octaves):
        assert inside.count(octave) >= count // backbone.octaves // 2


def test_keyword_spotting_samples_are_quick_to_measure() -> None:
    backbone = get_backbone("ds_cnn_kws")
    mops = [backbone.cost(backbone.sample(0, index)).ops / 1e6 for index in range(40)]
    assert 5 < sum(mops) / len(mops) < 40


@pytest.mark.parametrize("name", backbone_names())
def test_limits_hold_and_keep_what_fits(name: str) -> None:
    backbone = get_backbone(name)
    for index in range(30):
        free = backbone.sample(2, index)
        held = backbone.sample(2, index, limits=BOARD)
        assert BOARD.broken_by(backbone.cost(held)) is None
        if BOARD.broken_by(backbone.cost(free)) is None:
            assert held == free


def test_impossible_limits_are_named() -> None:
    with pytest.raises(BackboneError, match="max_parameters=10") as caught:
        get_backbone("ds_cnn_kws").sample(0, 0, limits=Limits(max_parameters=10))
    assert caught.value.data["limit"] == "max_parameters"


@pytest.mark.parametrize("name", ["ds_cnn_kws", "ds_cnn_ad"])
def test_width_step_sets_the_grid(name: str) -> None:
    backbone = get_backbone(name)
    coarse = [backbone.sample(0, index, width_step=4) for index in range(10)]
    fine = [backbone.sample(0, index, width_step=1) for index in range(10)]
    assert all(width % 4 == 0 for sample in coarse for width in sample["blocks"])
    assert any(width % 4 for sample in fine for width in sample["blocks"])


def test_mobilenet_widths_are_within_ten_to_hundred_percent() -> None:
    backbone = get_backbone("mobilenet_v2_vww")
    samples = [backbone.sample(0, index) for index in range(60)]
    residuals = skipped = 0
    for sample in samples:
        assert sample["resolution"][0] in range(50, 161)
        assert sample["head"][0] >= 128
        assert sample["expansions"][0] == 0
        residuals += sum(layer.operator == "ADD" for layer in backbone.layers(sample))
        skipped += sample["outputs"].count(0)
    assert residuals > 60
    assert skipped > 60


@pytest.mark.parametrize(("seed", "index", "step"), [(-1, 0, 4), (0, -1, 4), (0, 0, 0), (0, 0, 33)])
def test_wrong_arguments_are_refused(seed: int, index: int, step: int) -> None:
    with pytest.raises(BackboneError, match="cannot sample with"):
        get_backbone("ds_cnn_kws").sample(seed, index, width_step=step)


def test_draw_is_a_fixed_stream() -> None:
    draw = Draw(1, 2, 3)
    values = [draw.below(1000) for _ in range(2000)]
    assert values[:4] == [670, 111, 511, 356]
    assert 450 < sum(values) / len(values) < 550
    assert {Draw(index).between(3, 5) for index in range(50)} == {3, 4, 5}
    assert len(Draw(0).bytes(13)) == 13
    unit = Draw(0).uniform(1000)
    assert unit.min() >= 0
    assert unit.max() < 1


def test_spread_is_even_for_every_prefix() -> None:
    places = [spread(9, index, 5) / 2**64 for index in range(16)]
    assert sorted(int(place * 16) for place in places) == list(range(16))


def test_a_resolution_holds_for_every_sample_and_changes_no_name() -> None:
    backbone = get_backbone("mobilenet_v2_vww")
    small = backbone.with_resolution(96)
    samples = [small.sample(0, index) for index in range(10)]
    assert {sample["resolution"] for sample in samples} == {(96,)}
    for sample in samples:
        backbone.validate(sample)
    with pytest.raises(BackboneError, match="resolution 97"):
        backbone.with_resolution(97)
    with pytest.raises(BackboneError, match="resolution 96"):
        get_backbone("ds_cnn_kws").with_resolution(96)
    features = get_backbone("ds_cnn_ad")
    assert features.with_resolution(32) == features
