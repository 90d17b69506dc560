"""`harness doctor` opens the virtual boards."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from support import needs

Harness = Callable[..., Any]
pytestmark = needs.emulator


def test_doctor_gives_an_instruction_for_each_missing_piece(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pyOCD loads its plugins once in a process, and the virtual one only if Unicorn is there.
    importlib.import_module("pyocd.core.session")
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("HOME", "/nonexistent")
    found = importlib.util.find_spec
    hidden = {"tensorflow", "unicorn"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name in hidden else found(name, *a)
    )
    answer = harness("doctor", "--json")
    assert answer.code == 3
    checks = {check["what"]: check for check in answer.json()}
    assert checks["compiler"]["ok"] is False and "apt-get install" in checks["compiler"]["fix"]
    assert "tinyml-harness[train]" in checks["package tensorflow"]["fix"]
    assert "tinyml-harness[virtual]" in checks["package unicorn"]["fix"]
