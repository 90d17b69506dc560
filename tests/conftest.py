"""Shared fixtures: a cache of our own, the models of the field where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep tests away from the user's cache and bench; one cache for all, so kernels build once."""
    folder = tmp_path_factory.mktemp("cache")
    saved = {name: os.environ.get(name) for name in ("HARNESS_CACHE", "HARNESS_BENCH")}
    os.environ["HARNESS_CACHE"] = str(folder)
    os.environ.pop("HARNESS_BENCH", None)
    yield folder
    for name, value in saved.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Return the folder of published models, or skip."""
    folder = Path(os.environ.get("HARNESS_SHARED", ROOT.parent / "shared")) / "models"
    if not folder.is_dir():
        pytest.skip("published models not at hand: set HARNESS_SHARED to the folder above models/")
    return folder
