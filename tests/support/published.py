"""The published models, which are not part of this repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.models import read_model
from harness.models.graph import TFLiteModel
from studies.published import MODELS


def published(name: str = "") -> Path:
    """Return a published model's file, or the folder that holds all of them; skip if absent."""
    path = MODELS / name
    if not path.exists():
        pytest.skip(f"{path} is absent: set HARNESS_SHARED to the folder that holds models/")
    return path


def read_published(name: str) -> TFLiteModel:
    """Read a published model, or skip."""
    return read_model(published(name))
