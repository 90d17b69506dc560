"""Backbones of installed packages: found, checked, and refused with one message."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.backbones import backbone_names, get_backbone, own_names, registry
from harness.backbones.ds_cnn import DsCnnSpace
from harness.campaign.specs import ModelSpec
from harness.errors import BackboneError, SearchError
from harness.search.space.skeleton import skeleton_of
from harness.testing import check_backbone

Install = Callable[..., None]

GOOD = """
from dataclasses import replace
from harness.backbones import get_backbone
GOOD = replace(get_backbone("ds_cnn_kws"), name="good")
"""
EMPTY_SPACE = """
from harness.backbones import Backbone
BAD = Backbone("bad", "x", object(), 2, True, 1, 1)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a package: a module, metadata and an entry point."""
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)

    def make(package: str, code: str, point: str, value: str | None = None) -> None:
        (tmp_path / f"{package}.py").write_text(code)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        value = value or f"{package}:{point.upper()}"
        (info / "entry_points.txt").write_text(f"[harness.backbones]\n{point} = {value}\n")
        registry.forget()

    yield make
    monkeypatch.undo()
    registry.forget()
    for name in set(sys.modules) - known:
        if name.startswith("plug_"):
            del sys.modules[name]


def test_a_package_adds_a_backbone_after_the_harness_s_own(install: Install) -> None:
    install("plug_good", GOOD, "good")
    assert backbone_names()[: len(own_names())] == own_names()
    assert "good" in backbone_names()
    assert get_backbone("good").sample(0, 0).backbone == "good"
    with pytest.raises(BackboneError, match="did you mean 'good'"):
        get_backbone("goood")


def test_an_update_that_changes_the_layers_makes_other_networks(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("plug_good", GOOD, "good")
    network = get_backbone("good").sample(0, 0)
    before = ModelSpec("x", 0, network).identity()
    updated = get_backbone("good").with_classes(5)
    monkeypatch.setattr("harness.campaign.specs.get_backbone", lambda name: updated)
    assert ModelSpec("x", 0, network).identity() != before
    own = ModelSpec("x", 0, get_backbone("ds_cnn_kws").sample(0, 0)).identity()
    assert set(own) == {"architecture", "seed"}


@pytest.mark.parametrize(
    ("code", "value", "message"),
    [
        ("raise ValueError('no luck')", None, "cannot be loaded: ValueError: no luck"),
        ("", None, "cannot be loaded: AttributeError"),
        ("", "nowhere_at_all:X", "cannot be loaded: ModuleNotFoundError"),
        ("BAD = 3", None, "is of type int"),
        (GOOD, "plug_bad:GOOD", "calls itself 'good'"),
        (EMPTY_SPACE, None, "has a space without slots, with_classes"),
    ],
)
def test_a_broken_package_is_named_and_harms_no_other(
    install: Install, harness: Callable[..., Any], code: str, value: str | None, message: str
) -> None:
    install("plug_bad", code, "bad", value)
    refused = harness("sample", "bad")
    assert refused.code == 2 and "Traceback" not in refused.err
    assert message in refused.err
    assert "plug_bad, entry point bad = " in refused.err
    assert "uninstall plug_bad" in refused.err
    listed = harness("sample")
    assert listed.code == 0 and "ds_cnn_kws" in listed.out and message in listed.err


def test_two_packages_with_one_name_are_refused(install: Install) -> None:
    install("plug_one", GOOD, "good")
    install("plug_two", GOOD, "good")
    with pytest.raises(BackboneError, match=r"several packages .*'good': plug_(one|two), plug_"):
        get_backbone("good")


def test_a_name_of_the_harness_s_own_stays_the_harness_s(
    install: Install, harness: Callable[..., Any]
) -> None:
    install("plug_thief", GOOD, "ds_cnn_kws", "plug_thief:GOOD")
    assert get_backbone("ds_cnn_kws").name == "ds_cnn_kws"
    assert "plug_thief offers a backbone 'ds_cnn_kws'" in harness("sample").err


@pytest.mark.parametrize("name", own_names())
def test_own_backbones_keep_the_contract(name: str) -> None:
    check_backbone(get_backbone(name))


def test_the_contract_sees_a_skeleton_of_other_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    true = DsCnnSpace.skeleton

    def other(self: DsCnnSpace, shape: Any) -> Any:
        found = true(self, shape)
        return replace(found, stem=replace(found.stem, kernel=(5, 5)))

    monkeypatch.setattr(DsCnnSpace, "skeleton", other)
    with pytest.raises(AssertionError, match="its skeleton"):
        check_backbone(get_backbone("ds_cnn_kws"), 1)


def test_a_space_without_skeleton_is_sampled_but_not_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(DsCnnSpace, "skeleton")
    backbone = get_backbone("ds_cnn_kws")
    check_backbone(backbone, 1)
    with pytest.raises(SearchError, match="has no supernet"):
        skeleton_of(backbone, (49, 10, 1))
