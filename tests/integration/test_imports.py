"""Modules that import the emulator or TensorFlow at once import too."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import harness

FOLDER = Path(harness.__file__).parent
FILES = [*FOLDER.glob("virtual/**/*.py"), *FOLDER.glob("search/**/*.py")]
FILES.append(FOLDER / "backbones" / "keras_model.py")


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("unicorn", "numba", "tensorflow")),
    reason="needs unicorn, numba and tensorflow: pip install 'tinyml-harness[all]'",
)
def test_heavy_modules_import_in_a_process_of_their_own() -> None:
    paths = (path.relative_to(FOLDER.parent).with_suffix("") for path in FILES)
    names = [".".join(path.parts).removesuffix(".__init__") for path in paths]
    assert len(names) > 50
    script = f"import importlib\nfor name in {names}: importlib.import_module(name)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
