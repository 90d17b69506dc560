"""Published networks: what their sources say of them, as numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.backbones import get_backbone, get_named, named_networks
from harness.errors import BackboneError
from harness.models import read_model, require_int8

# MicroNets, table 4 (arXiv 2010.11267v6), in millions; it counts 49×10 / 4 = 122.5 positions after
# the stride of 2, of which a network of 25×5 has 125.
KWS_MOPS = {
    "micronet-kws-s": 16.4,
    "micronet-kws-m": 30.6,
    "micronet-kws-l": 129.0,
    "ds-cnn-s": 7.1,
    "ds-cnn-m": 37.3,
    "ds-cnn-l": 107.2,
}
AD_MOPS = {"micronet-ad-s": 37.5, "micronet-ad-m": 124.7, "micronet-ad-l": 129.0}
# The .tflite of MicroNet-KWS-M in ARM-software/ML-zoo (sha1 fd03a6b2), layer by layer.
KWS_M_MACS = [
    2_744_000, *[157_500, 2_450_000] * 3, 157_500, 1_960_000, 126_000, 2_744_000, 2_352
]  # fmt: skip
VWW_STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)
VWW_SHORTCUTS = {2, 4, 5, 7, 8, 9, 11, 12, 14, 15}


@pytest.mark.parametrize("name", KWS_MOPS)
def test_keyword_spotting_has_the_published_operations(name: str) -> None:
    network = get_named(name)
    stem, *blocks, classifier = [
        layer.macs for layer in get_backbone(network.backbone).layers(network.architecture)
        if layer.macs
    ]  # fmt: skip
    counted = 2 * (stem + sum(blocks) * 122.5 / 125 + classifier) / 1e6
    # DS-CNN-M is 37.26, MicroNet-KWS-L 129.02.
    assert counted == pytest.approx(KWS_MOPS[name], abs=0.05)
    assert network.published_mops == KWS_MOPS[name]


@pytest.mark.parametrize("name", AD_MOPS)
def test_anomaly_detection_has_the_published_operations(name: str) -> None:
    network = get_named(name)
    layers = get_backbone(network.backbone).layers(network.architecture)
    assert round(2 * sum(layer.macs for layer in layers) / 1e6, 1) == AD_MOPS[name]
    assert layers[0].kernel == (3, 3) and layers[-3].kernel == (4, 4)  # table 5


def test_micronet_kws_m_has_the_layers_of_its_published_file() -> None:
    layers = get_backbone("ds_cnn_kws").layers(get_named("micronet-kws-m").architecture)
    assert [layer.macs for layer in layers if layer.macs] == KWS_M_MACS
    assert layers[0].output_shape == (49, 10, 140)
    assert layers[-4].output_shape == (25, 5, 196)


def test_ds_cnn_s_of_zhang_et_al_has_two_strides_in_its_first_convolution() -> None:
    layers = get_backbone("ds_cnn_kws").layers(get_named("ds-cnn-s").architecture)
    macs = sum(layer.macs for layer in layers)
    assert round(2 * (macs - 64 * 40 * (490 - 125)) / 1e6, 1) == 5.3
    assert "5.3 Mops" in get_named("ds-cnn-s").differs


@pytest.mark.parametrize(
    ("name", "mops", "relative"),
    # 5.3 is with fractional sizes (50 → 12.5 …), which alone are 18 % less than these.
    [("micronet-vww-3", 45.2, 0.002), ("micronet-vww-4", 37.7, 0.002)],
)
def test_visual_wake_words_have_the_published_operations_with_padded_additions(
    name: str, mops: float, relative: float
) -> None:
    decisions = dict(get_named(name).architecture.decisions)
    (side,), (width,) = decisions["resolution"], decisions["stem"]
    side //= 2
    macs = side * side * 9 * width
    widths = zip(VWW_STRIDES, decisions["expansions"], decisions["outputs"], strict=True)
    for index, (stride, expansion, output) in enumerate(widths):
        macs += side * side * width * expansion
        side //= stride
        macs += side * side * expansion * (9 + output)
        width = max(width, output) if index in VWW_SHORTCUTS else output
    macs += side * side * width * 128 + 128 * 2
    assert 2 * macs / 1e6 == pytest.approx(mops, rel=relative)
    backbone = get_backbone("mobilenet_v2_vww")
    here = backbone.cost(get_named(name).architecture).ops
    assert 0 <= 1 - here / (2 * macs) < 0.05  # what the narrower inputs save
    assert f"{2 * macs / 1e6:.1f} Mops" in get_named(name).differs


def test_visual_wake_words_have_an_expansion_in_the_first_block() -> None:
    layers = get_backbone("mobilenet_v2_vww").layers(get_named("micronet-vww-2").architecture)
    assert [layer.output_shape for layer in layers[:4]] == [
        (25, 25, 12), (25, 25, 4), (25, 25, 4), (25, 25, 8)
    ]  # fmt: skip


def test_every_named_network_is_in_its_space_and_can_be_written(
    harness: Callable[..., Any], tmp_path: Path
) -> None:
    for network in named_networks():
        get_backbone(network.backbone).validate(network.architecture)
    answer = harness(
        "sample", "--named", "micronet-vww-2", "--named", "ds-cnn-s", "--out", "made", "--json"
    )
    for row in answer.json():
        model = read_model(tmp_path / row["path"])
        require_int8(model)
        assert model.graph.macs == row["macs"]
        assert Path(row["path"]).stem == row["name"]


def test_the_list_labels_what_is_published(harness: Callable[..., Any]) -> None:
    rows = harness("sample", "--list-named", "--json").json()
    found = {row["name"]: row for row in rows}
    assert found["micronet-kws-s"]["published_score"] == 95.3  # table 4
    assert found["micronet-kws-s"]["source"] == "MicroNets, table 4"
    assert found["ds-cnn-l"]["macs"] == 54_575_412
    shown = harness("sample", "ds_cnn_ad_3x3", "--list-named")
    assert "micronet-ad-l" in shown.out and "kws" not in shown.out
    assert "not measured here" in shown.err


def test_unknown_names_are_refused_with_what_there_is(harness: Callable[..., Any]) -> None:
    answer = harness("sample", "--named", "micronet-kws-x")
    assert answer.code == 2 and "did you mean 'micronet-kws-" in answer.err
    with pytest.raises(BackboneError, match="in a picture only"):
        get_named("micronet-vww-1")
