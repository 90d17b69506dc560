"""Modelled cycles: what a basic block costs on a core, from its machine code alone.

The cycles are a *model*, never a measurement: rows that use them say ``source = emulated`` and name
the model and its version. Memory is taken as free of wait states (TCM or cache hits, predicted
branches); what each model leaves out is listed in its module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from harness.errors import VirtualError

if TYPE_CHECKING:
    from harness.boards import Board

__all__ = ["TimingModel", "get_model"]


class TimingModel(Protocol):
    """Price basic blocks in core cycles.

    Attributes:
        name: Name of the model, recorded with every row that it priced.
        version: Changes whenever any price may change.
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
    def unknown(self) -> Mapping[str, int]:
        """Mnemonics priced at the default, with counts."""
        ...

    def price_block(self, code: bytes, address: int) -> int:
        """Return the cycles of one execution of the block `code` at `address`.

        Deterministic: a function of the arguments alone. The block may end without a branch.
        """
        ...


def get_model(core: str, board: Board | None = None) -> TimingModel:
    """Return a new timing model for a core.

    Args:
        core: GCC's ``-mcpu`` name (``cortex-m7``, ``cortex-m4``).
        board: The board it is for; the models so far depend on the core only.

    Raises:
        VirtualError: There is no model for the core, or Capstone is not installed.
    """
    try:
        if core == "cortex-m7":
            from harness.virtual.timing.cortex_m7 import CortexM7

            return CortexM7()
        if core == "cortex-m4":
            from harness.virtual.timing.cortex_m4 import CortexM4

            return CortexM4()
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
        fix="add a module to harness/virtual/timing and name it in get_model",
        core=core,
    )
