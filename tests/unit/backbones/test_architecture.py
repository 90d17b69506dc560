from __future__ import annotations

import json
import pickle

import pytest

from harness.backbones import architecture_from_json, backbone_names, get_backbone
from harness.errors import BackboneError

KWS_M = {"stem": [140], "blocks": [140, 140, 140, 112, 196, 0, 0, 0]}


def test_every_backbone_is_listed() -> None:
    assert {"ds_cnn_kws", "mobilenet_v2_vww", "ds_cnn_ad", "ds_cnn_ic"} <= set(backbone_names())


def test_unknown_backbone_suggests_the_near_miss() -> None:
    with pytest.raises(BackboneError, match="did you mean 'ds_cnn_kws'"):
        get_backbone("ds_cnn_kwz")


def test_json_round_trip_keeps_architecture_and_id() -> None:
    architecture = get_backbone("ds_cnn_kws").architecture(**KWS_M)
    again = architecture_from_json(architecture.dumps())
    assert again == architecture
    assert hash(again) == hash(architecture)
    assert again.id == architecture.id
    assert pickle.loads(pickle.dumps(architecture)) == architecture
    assert json.loads(architecture.dumps()) == architecture.to_json()


def test_id_is_a_fixed_content_hash() -> None:
    assert get_backbone("ds_cnn_kws").architecture(**KWS_M).id == "ad2a9e69ff6a"


def test_equal_networks_are_equal_architectures() -> None:
    backbone = get_backbone("ds_cnn_kws")
    gaps = backbone.architecture(stem=[140], blocks=[140, 0, 140, 140, 0, 0, 112, 196])
    assert gaps == backbone.architecture(**KWS_M)


def test_skipped_blocks_stay_in_their_resolution() -> None:
    backbone = get_backbone("ds_cnn_ad")
    architecture = backbone.architecture(stem=[32], blocks=[40, 0, 48, 0, 56, 0, 64, 0])
    assert architecture["blocks"] == (40, 48, 0, 0, 56, 0, 64, 0)


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ({"stem": [0], "blocks": KWS_M["blocks"]}, r"'stem\[0\]' of ds_cnn_kws is 0"),
        ({"stem": [277], "blocks": KWS_M["blocks"]}, r"expected: 1\.\.276"),
        ({"stem": [8], "blocks": [8] * 7}, "'blocks' of ds_cnn_kws has 7 values"),
        ({"stem": [8], "blocks": [8, 8, 8, 0, 0, 0, 0, 0]}, "keeps 3 blocks"),
        ({"stem": [8]}, "'blocks' of ds_cnn_kws is missing"),
        ({"stm": [8], "blocks": KWS_M["blocks"]}, "did you mean 'stem'"),
    ],
)
def test_decisions_out_of_the_space_are_named(
    decisions: dict[str, list[int]], message: str
) -> None:
    with pytest.raises(BackboneError, match=message):
        get_backbone("ds_cnn_kws").architecture(**decisions)


def test_mobilenet_blocks_are_skipped_whole() -> None:
    backbone = get_backbone("mobilenet_v2_vww")
    decisions = backbone.sample(0, 0).to_json()["decisions"]
    decisions["expansions"][1], decisions["outputs"][1] = 16, 0
    with pytest.raises(BackboneError, match=r"outputs\[1\].* is 0"):
        backbone.architecture(**decisions)
    decisions["outputs"][1] = 8
    decisions["expansions"][2], decisions["outputs"][2] = 0, 8
    with pytest.raises(BackboneError, match="both 0"):
        backbone.architecture(**decisions)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"backbone": 1, "decisions": {}}',
        '{"backbone": "ds_cnn_kws", "decisions": {"stem": 8}}',
        '{"backbone": "ds_cnn_kws", "decisions": {"stem": [8.0]}}',
        '{"backbone": "ds_cnn_kws", "decisions": {"stem": [true]}}',
        '{"backbone": "nope", "decisions": {}}',
    ],
)
def test_malformed_json_is_refused(text: str) -> None:
    with pytest.raises(BackboneError):
        architecture_from_json(text)


def test_architecture_of_another_backbone_is_refused() -> None:
    kws, ad = get_backbone("ds_cnn_kws"), get_backbone("ds_cnn_ad")
    sample = ad.sample(0, 0)
    with pytest.raises(BackboneError, match="of backbone 'ds_cnn_ad'"):
        kws.from_json(sample.dumps())
    with pytest.raises(BackboneError, match="of backbone 'ds_cnn_ad'"):
        kws.validate(sample)
