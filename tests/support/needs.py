"""Marks for what a test needs; a skip says how to get it."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

import pytest

EMULATOR = "the emulator is not installed: pip install 'tinyml-harness[virtual]'"
COMPILER = "arm-none-eabi-gcc is not on PATH: python3 bootstrap.py setup"
TENSORFLOW = "TensorFlow is not installed: pip install 'tinyml-harness[train]'"
BROWSER = "no browser: apt-get install chromium chromium-driver (as root), and pip install selenium"

has_emulator = all(find_spec(name) is not None for name in ("unicorn", "numba", "capstone"))
has_compiler = shutil.which("arm-none-eabi-gcc") is not None
CHROMIUM, CHROMEDRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
has_browser = bool(CHROMIUM and CHROMEDRIVER and find_spec("selenium"))

emulator = pytest.mark.skipif(not has_emulator, reason=EMULATOR)
compiler = pytest.mark.skipif(not has_compiler, reason=COMPILER)
browser = pytest.mark.skipif(not has_browser, reason=BROWSER)
tensorflow = pytest.mark.skipif(find_spec("tensorflow") is None, reason=TENSORFLOW)
