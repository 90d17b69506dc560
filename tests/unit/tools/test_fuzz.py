"""Hostile input is refused with the error that users know, and quickly; `nox -s fuzz` does more."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tools import fuzz

# Each example is fast; how fast depends on what else the machine does.
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=100)
targets = st.sampled_from(sorted(fuzz.TARGETS))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@cache
def sound(target: str) -> tuple[bytes, ...]:
    # The published models are for the long runs.
    return tuple(fuzz.seeds(target)[:2] if target == "tflite" else fuzz.seeds(target))


@calm
@given(target=targets, data=st.binary(max_size=400))
def test_noise(target: str, data: bytes) -> None:
    fuzz.TARGETS[target](data)


@pytest.mark.parametrize("target", sorted(fuzz.TARGETS))
@calm
@given(seed=st.integers(0, 2**64))
def test_sound_inputs_with_something_wrong(target: str, seed: int) -> None:
    fuzz.TARGETS[target](fuzz.mutated(random.Random(seed), sound(target)))


@pytest.mark.parametrize("target", sorted(fuzz.TARGETS))
def test_sound_inputs_are_taken(target: str) -> None:
    lines = {"Line", "Ready", "Text"}
    expected = {"wire": lines, "records": {"Line", "Garbled"}, "tflite": {"generated"}}
    taken = expected.get(target, {"read"})
    assert {fuzz.TARGETS[target](data) for data in sound(target)} <= taken


@calm
@given(data=st.data(), value=values)
def test_a_board_with_any_value_anywhere(data: st.DataObject, value: Any) -> None:
    manifest = json.loads(sound("board")[0])
    at: Any = manifest
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if isinstance(at[key], dict | list) and at[key] and data.draw(st.booleans()):
            at = at[key]
            continue
        at[key] = value
        break
    fuzz.TARGETS["board"](json.dumps(manifest).encode())


def test_a_finding_is_kept_with_what_caused_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(data: bytes) -> str:
        raise KeyError("a bug")

    monkeypatch.setitem(fuzz.TARGETS, "wire", bad)
    result = fuzz.run("wire", 2, 1, tmp_path)
    assert len(result["findings"]) == 2 and "a bug" in result["findings"][0]
    assert len(list(tmp_path.iterdir())) == 2
