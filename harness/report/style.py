"""What all plots share: the look, and how a file is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.files import draft_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MUTED = "#5c6670"

STYLE: Any = {  # matplotlib types its keys one by one, differently in each release
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": "#9aa4ad",
    "axes.labelcolor": "#222b33",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "svg.hashsalt": "tinyml-harness",
}

_SUFFIXES = (".png", ".svg", ".pdf")


def check_suffix(file: Path, error: type[HarnessError]) -> None:
    """Refuse a file name that no plot can be written to.

    Raises:
        HarnessError: As `error`.
    """
    if file.suffix not in _SUFFIXES:
        raise error(
            f"a plot cannot be written as {file.suffix or 'a file without suffix'!r}",
            where=str(file),
            expected=".png, .svg or .pdf",
        )


def write_figure(figure: Figure, file: Path, error: type[HarnessError]) -> None:
    """Write a figure whole or not at all; the same figure gives the same bytes.

    Raises:
        HarnessError: The file cannot be written, as `error`.
    """
    # No date inside, so that the same rows give the same file.
    metadata = {"Date": None} if file.suffix == ".svg" else {}
    if file.suffix == ".pdf":
        metadata = {"CreationDate": None}
    with draft_of(file, what="plot", error=error) as draft:
        figure.savefig(draft, metadata=metadata)
