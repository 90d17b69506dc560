"""Every module imports, and only modules of a few folders import what takes long."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.util import find_spec
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
HEAVY = ("harness.virtual.", "harness.search.", "harness.backbones.keras_model")


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(HEAVY)])
def test_module_imports(name: str) -> None:
    importlib.import_module(name)


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("unicorn", "numba", "tensorflow")),
    reason="needs unicorn, numba and tensorflow: pip install 'tinyml-harness[all]'",
)
def test_heavy_modules_import_in_a_process_of_their_own() -> None:
    names = [name for name in MODULES if name.startswith(HEAVY)]
    script = f"import importlib\nfor name in {names}: importlib.import_module(name)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
