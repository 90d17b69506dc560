"""What the tests on the virtual board need: its packages and a compiler."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def virtual_board() -> None:
    """Skip where the emulator or the compiler is missing."""
    for name in ("unicorn", "numba", "capstone"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"no {name}: pip install 'tinyml-harness[virtual]'")
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc on PATH: python3 bootstrap.py setup")


@pytest.fixture(params=["issue", "pipeline"])
def timing(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, virtual_board: None
) -> Iterator[str]:
    """Run a test with each kind of timing model; a station that is opened after it has that one."""
    monkeypatch.setenv("HARNESS_TIMING", request.param)
    yield request.param
    from harness.virtual.registry import discard_machine

    discard_machine("nucleo_f746zg")
