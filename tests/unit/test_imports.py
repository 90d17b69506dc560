"""Every module imports, alone and in a fresh interpreter's order."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import harness

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(harness.__path__, "harness.")
    if not module.name.startswith(("harness.__main__", "harness.results.migrations.versions."))
)


@pytest.mark.parametrize("name", MODULES)
def test_module_imports(name: str) -> None:
    importlib.import_module(name)
