"""Images of the fake model are linked once for the whole run."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def compiler() -> str:
    """Skip where there is no cross compiler."""
    from harness.errors import ToolchainMissing
    from harness.firmware.toolchain import find_toolchain

    try:
        return find_toolchain().name
    except ToolchainMissing as missing:
        pytest.skip(f"needs a cross compiler: {missing.fix}")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("library")
