"""Every module imports, and only modules of a few folders import what takes long."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import harness

FOLDER = Path(harness.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in FOLDER.rglob("*.py")
    if path.name != "__main__.py" and path.parent.name != "versions"
)
# What imports the emulator, its compiler or TensorFlow at once; everything else does it when used.
HEAVY = (
    "harness.virtual.",
    "harness.search.",
    "harness.backbones.keras_model",
    "harness.backbones.normalisation",
)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(HEAVY)])
def test_module_imports(name: str) -> None:
    importlib.import_module(name)
