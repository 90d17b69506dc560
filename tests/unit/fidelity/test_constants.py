"""Every constant of the timing models is on the fidelity page, with its source."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from harness.virtual.time import cortex_m4, cortex_m7, pipeline_m4, pipeline_m7
from studies.fidelity.constants import constants_of, sources_of
from studies.fidelity.page import PAGE, constants


@pytest.mark.parametrize("module", [pipeline_m7, cortex_m7, pipeline_m4, cortex_m4])
def test_every_constant_names_a_source_or_is_marked_as_assumed(module: ModuleType) -> None:
    found = list(constants_of(module))
    assert found
    for constant in found:
        assert "[" in constant.source or "assumed" in constant.source, constant.name
    assert sources_of(module)


def test_the_page_has_the_constants_of_the_code() -> None:
    assert constants() in PAGE.read_text(encoding="utf-8")


def test_a_constant_without_a_word_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "silent_model.py").write_text("WAIT = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib

    with pytest.raises(ValueError, match="WAIT"):
        list(constants_of(importlib.import_module("silent_model")))
    del sys.modules["silent_model"]
