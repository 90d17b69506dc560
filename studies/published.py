"""The folder of published models: ``models/`` in HARNESS_SHARED, or in ``../shared``."""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path(__file__).parents[1]
MODELS = Path(os.environ.get("HARNESS_SHARED", _ROOT.parent / "shared")) / "models"
