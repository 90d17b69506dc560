"""Modelled cycles: what executed code costs on a core.

The cycles are a *model*, never a measurement: rows that use them say ``source = emulated`` and name
the model and its version. There are two models of each core:

- ``issue`` prices a basic block from its machine code alone. Memory is free of wait states and
  branches are predicted.
- ``pipeline``, the default, adds what depends on the run: branches as they went, instruction and
  data caches or the flash accelerator, wait states, unaligned loads. The emulator counts these
  events per block and the model prices them.

What each leaves out is listed in its module, and `docs/fidelity.md` holds both against published
measurements.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from harness.errors import VirtualError

if TYPE_CHECKING:
    from harness.boards import Board

__all__ = ["DEFAULT", "ENVIRONMENT", "NAMES", "TimingModel", "get_model"]

NAMES = ("issue", "pipeline")
DEFAULT = "pipeline"
ENVIRONMENT = "HARNESS_TIMING"


class TimingModel(Protocol):
    """Price basic blocks in core cycles.

    Attributes:
        name: Name of the model, recorded with every row that it priced.
        version: Changes whenever any price may change.
        observes: Whether it prices events; the emulator counts them only then.
        unknown: Mnemonics that were priced at the documented default, and how often each was met.
    """

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def version(self) -> str:
        """Version of its rules."""
        ...

    @property
    def observes(self) -> bool:
        """Whether it prices events."""
        ...

    @property
    def unknown(self) -> Mapping[str, int]:
        """Mnemonics priced at the default, with counts."""
        ...

    def price_block(self, code: bytes, address: int) -> int:
        """Return the cycles of one execution of the block `code` at `address`.

        Deterministic: a function of the arguments alone. The block may end without a branch.
        """
        ...

    def price_events(self, code: bytes, address: int) -> tuple[int, ...]:
        """Return the cycles of each kind of event of that block (`timing.events`)."""
        ...


def get_model(core: str, board: Board | None = None, *, name: str | None = None) -> TimingModel:
    """Return a new timing model for a core.

    Args:
        core: GCC's ``-mcpu`` name (``cortex-m7``, ``cortex-m4``).
        board: The board it is for; ``pipeline`` needs one.
        name: ``issue`` or ``pipeline``; None for what the environment variable HARNESS_TIMING
            says, or else the default.

    Raises:
        VirtualError: There is no model for the core or of that name, or Capstone is not installed.
    """
    wanted = name or os.environ.get(ENVIRONMENT) or DEFAULT
    if wanted not in NAMES:
        raise VirtualError(
            f"no timing model is named '{wanted}'",
            where=None if name else f"environment variable {ENVIRONMENT}",
            expected=" or ".join(NAMES),
            name=wanted,
        )
    try:
        if core == "cortex-m7":
            from harness.virtual.time.cortex_m7 import CortexM7

            if wanted == "issue":
                return CortexM7()
            from harness.virtual.time.pipeline_m7 import PipelineM7

            return PipelineM7(_needed(board, wanted))
        if core == "cortex-m4":
            from harness.virtual.time.cortex_m4 import CortexM4

            if wanted == "issue":
                return CortexM4()
            from harness.virtual.time.pipeline_m4 import PipelineM4

            return PipelineM4(_needed(board, wanted))
    except ModuleNotFoundError as missing:
        raise VirtualError(
            f"the timing model needs the Python package '{missing.name}'",
            fix="install the extra: pip install 'tinyml-harness[virtual]'",
            package=missing.name,
        ) from None
    raise VirtualError(
        f"no timing model for core '{core}'",
        where=board.id if board is not None else None,
        expected="cortex-m7 or cortex-m4",
        fix="add a module to harness/virtual/time and name it in get_model",
        core=core,
    )


def _needed(board: Board | None, wanted: str) -> Board:
    if board is None:
        raise VirtualError(f"the timing model '{wanted}' needs a board")
    return board
