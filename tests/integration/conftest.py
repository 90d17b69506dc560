"""Both kinds of timing model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(params=["issue", "pipeline"])
def timing(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, virtual_board: None
) -> Iterator[str]:
    """Run a test with each kind of timing model; a station that is opened after it has that one."""
    monkeypatch.setenv("HARNESS_TIMING", request.param)
    yield request.param
    from harness.virtual.registry import discard_machine

    discard_machine("nucleo_f746zg")
