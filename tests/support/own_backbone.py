"""The example of a backbone of one's own, installed by pip as a user would, without a network."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SOURCE = ROOT / "examples" / "own_backbone"


def install(folder: Path) -> Path:
    """Install the example into a folder below `folder` and return it, for PYTHONPATH."""
    for needed in ("pip", "setuptools", "wheel"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed: pip install {needed}")
    # pip builds in the source folder: a copy leaves the repository clean.
    source = shutil.copytree(_SOURCE, folder / "source")
    target = folder / "installed"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
         "--no-build-isolation", "--target", str(target), str(source)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return target
