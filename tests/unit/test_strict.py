"""Records to JSON and back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pytest

from harness.backbones import Architecture, get_backbone
from harness.errors import BackboneError, ConfigError, FitError
from harness.strict import Strict, from_json, to_json


class Kind(StrEnum):
    A = "a"


class Facts(Strict):
    size: int


@dataclass(frozen=True, slots=True)
class Part:
    latency_us: float
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    name: str
    part: Part
    kind: Kind = Kind.A
    parts: tuple[Part, ...] = ()
    facts: Facts | None = None


WHOLE = Whole(name="x", part=Part(1.5, ("-O2",)), parts=(Part(2.0),), facts=Facts(size=3))


def test_a_record_survives_the_way_through_json():
    data = to_json(WHOLE)
    assert data["part"] == {"latency_us": 1.5, "flags": ["-O2"]}
    assert from_json(Whole, data, where="file") == WHOLE
    assert from_json(Facts, to_json(Facts(size=1)), where="file") == Facts(size=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"naem": 1}, "unknown key 'naem' (did you mean 'name'?)"),
        (
            {"part": {"latency_us": 1, "flag": []}},
            "unknown key 'part.flag' (did you mean 'flags'?)",
        ),
        (
            {"parts": [{"latency_us": 1, "zzz": 1}]},
            "unknown key 'parts.0.zzz'; known: flags, latency",
        ),
        ({"facts": {"sizes": 1, "size": 1}}, "unknown key 'facts.sizes' (did you mean 'size'?)"),
        ({"part": {}}, "key 'part.latency_us' is missing"),
        (
            {"part": {"latency_us": "1"}},
            "key 'part.latency_us' is '1': Input should be a valid number",
        ),
        (
            {"part": {"latency_us": float("nan")}},
            "key 'part.latency_us' is nan: Input should be a fin",
        ),
        ({"part": {"latency_us": 10**400}}, "Input should be a finite number"),
        ({"kind": "b"}, "key 'kind' is 'b': Input should be 'a'"),
        ({"facts": {"size": True}}, "key 'facts.size' is True: Input should be a valid integer"),
    ],
)
def test_a_wrong_record_is_refused_with_the_key_and_the_value(change, message):
    with pytest.raises(FitError) as caught:
        from_json(Whole, {**to_json(WHOLE), **change}, where="a.json", error=FitError, fix="again")
    assert message in str(caught.value)
    assert "where:    a.json" in str(caught.value)
    assert "do:       again" in str(caught.value)


def test_all_problems_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        from_json(Whole, {"nam": 1}, where="a.json")
    assert str(caught.value).startswith("3 problems:")
    assert len(caught.value.data["problems"]) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.int64(3)])
def test_what_json_cannot_hold_is_not_written(value):
    with pytest.raises(ValueError):
        to_json(Part(value))


def test_an_architecture_keeps_its_own_form_inside_a_record():
    @dataclass(frozen=True)
    class Found:
        architecture: Architecture

    found = Found(get_backbone("ds_cnn_kws").sample(0, 0))
    data = to_json(found)
    assert data == {"architecture": found.architecture.to_json()}
    assert from_json(Found, data, where="file") == found
    with pytest.raises(BackboneError):
        from_json(Found, {"architecture": {"backbone": "nope", "decisions": {}}}, where="file")
