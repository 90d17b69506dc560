"""Find what ships with the package and where a user's files go."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

DEFAULT_BOARD = "nucleo_f746zg"
DEFAULT_STORE = "results/measurements.sqlite"

_PACKAGE = Path(__file__).resolve().parent


def data_dir(name: str) -> Path:
    """Return the shipped folder `name` (``boards``, ``firmware_template``).

    An installed wheel carries it under ``harness/_data``; a checkout has it beside the package.
    """
    packaged = _PACKAGE / "_data" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name


def cache_dir() -> Path:
    """Return the folder for builds, virtual flash and locks (``HARNESS_CACHE`` overrides it)."""
    override = os.environ.get("HARNESS_CACHE")
    if override:
        return Path(override).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base else Path.home() / ".cache"
    return root.expanduser().resolve() / "tinyml-harness"


def state_dir() -> Path:
    """Return the folder for what must not get lost (``HARNESS_STATE`` overrides it)."""
    override = os.environ.get("HARNESS_STATE")
    if override:
        return Path(override).expanduser().resolve()
    base = os.environ.get("XDG_STATE_HOME")
    root = Path(base) if base else Path.home() / ".local" / "state"
    return root.expanduser().resolve() / "tinyml-harness"


@lru_cache(maxsize=1)
def git_revision() -> str | None:
    """Return the revision of the checkout that this runs from, None for an installed wheel."""
    folder = data_dir("boards").parent
    if not (folder / ".git").exists() or shutil.which("git") is None:
        return None
    asked = subprocess.run(
        ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or None if asked.returncode == 0 else None
