"""What the package offers to other people's tests works as its documentation says."""

from __future__ import annotations

import doctest

import harness.testing


def test_the_examples_in_the_documentation_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(harness.testing)
    assert result.attempted > 8
    assert result.failed == 0
