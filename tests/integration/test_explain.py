"""`harness explain` on the virtual board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Harness = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("virtual_board")


def test_causes_and_functions_add_up_to_the_layers(
    harness: Harness, tmp_path: Path, tiny: Path, figures: list[Any]
) -> None:
    plot = tmp_path / "cycles.png"
    answer = harness("explain", tiny, "--against", "aot/portable", "--plot", plot, "--json")
    assert answer.code == 0, answer.err
    ours, theirs = answer.json()
    measured = harness("measure", tiny, "--db", tmp_path / "a.sqlite", "--json").json()
    assert ours["timing_model"] == measured["timing_model"]
    for explained, layer in zip(ours["layers"], measured["layers"], strict=True):
        assert explained["cycles"] == layer["cycles"]
        assert sum(explained["causes"].values()) == layer["cycles"]
        assert sum(explained["functions"].values()) == layer["cycles"]
    assert ours["total"]["cycles"] < theirs["total"]["cycles"]
    assert 0 < ours["total"]["slots_used"] <= 1
    assert any("convolve" in name for name in ours["functions"])
    assert plot.is_file()
    for axes, explained in zip(figures[-1].axes, (ours, theirs), strict=True):
        assert f"{explained['total']['cycles']:,} cycles" in axes.get_title(loc="left")
        drawn = sum(bar.get_width() for bar in axes.patches)
        assert drawn == pytest.approx(explained["total"]["cycles"] / 1e6)


def test_a_model_without_events_explains_nothing(
    harness: Harness, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_TIMING", "issue")
    from harness.virtual.registry import discard_machine

    discard_machine("nucleo_f746zg")
    try:
        answer = harness("explain", tiny)
    finally:
        discard_machine("nucleo_f746zg")
    assert answer.code == 1
    assert "HARNESS_TIMING=pipeline" in answer.err
