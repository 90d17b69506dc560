"""Images of the fake model are linked once for the whole run."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


def _module(name: str) -> ModuleType:
    """Load a helper beside this file; importlib mode has no path to import it from."""
    full = f"firmware_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, HERE / f"{name}.py")
        if spec is None or spec.loader is None:
            raise ImportError(name)
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


@pytest.fixture(scope="session")
def fakes() -> ModuleType:
    return _module("fakes")


@pytest.fixture(scope="session")
def bare() -> ModuleType:
    pytest.importorskip("unicorn", reason="needs unicorn: pip install 'tinyml-harness[virtual]'")
    return _module("bare")


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
