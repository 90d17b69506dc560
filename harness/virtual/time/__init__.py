"""Modelled cycles: what executed code costs on a core.

The cycles are a *model*, never a measurement: rows that use them say ``source = emulated`` and name
the model and its version. There are two models of each core:

- ``issue`` derives the cost of a basic block from its machine code alone. Memory is free of wait
  states and branches are predicted.
- ``pipeline``, the default, adds what depends on the run: branches as they went, instruction and
  data caches or the flash accelerator, wait states, unaligned loads. The emulator counts these
  events per block and the model gives the cycles of each.

What each leaves out is listed in its module, and `docs/fidelity.md` compares both with published
measurements.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING

from harness.errors import VirtualError

if TYPE_CHECKING:
    from harness.boards import Board
    from harness.virtual.time.model import TimingModel

__all__ = ["ENVIRONMENT", "Timing", "timing_model"]

ENVIRONMENT = "HARNESS_TIMING"


class Timing(StrEnum):
    """The kinds of timing model."""

    ISSUE = "issue"
    PIPELINE = "pipeline"


def timing_model(board: Board, name: str | None = None) -> TimingModel:
    """Return a new timing model for a board's core; `identity` is what its rows say of it.

    Args:
        board: What to model.
        name: ``issue`` or ``pipeline``; None for what the environment variable HARNESS_TIMING
            says, or else ``pipeline``.

    Raises:
        VirtualError: There is no model for the core or of that name, or Capstone is not installed.
    """
    wanted = name or os.environ.get(ENVIRONMENT) or Timing.PIPELINE
    if wanted not in list(Timing):
        raise VirtualError(
            f"no timing model is named '{wanted}'",
            where=None if name else f"environment variable {ENVIRONMENT}",
            expected=" or ".join(Timing),
            name=wanted,
        )
    try:
        import capstone  # noqa: F401
    except ModuleNotFoundError as missing:
        raise VirtualError(
            f"the timing model needs the Python package '{missing.name}'",
            fix="install the extra: pip install 'tinyml-harness[virtual]'",
            package=missing.name,
        ) from None
    from harness.virtual.time import cortex_m4, cortex_m7, pipeline_m4, pipeline_m7

    models: dict[str, dict[str, type[TimingModel]]] = {
        "cortex-m4": {Timing.ISSUE: cortex_m4.CortexM4, Timing.PIPELINE: pipeline_m4.PipelineM4},
        "cortex-m7": {Timing.ISSUE: cortex_m7.CortexM7, Timing.PIPELINE: pipeline_m7.PipelineM7},
    }
    core = board.facts.core.cpu
    if core not in models:
        raise VirtualError(
            f"no timing model for core '{core}'",
            where=board.id,
            expected=" or ".join(models),
            fix="add a module to harness/virtual/time and name it in timing_model",
            core=core,
        )
    return models[core][wanted](board)
