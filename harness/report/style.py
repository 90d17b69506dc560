"""The common look of all plots, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from harness.errors import HarnessError
from harness.files import draft_of

if TYPE_CHECKING:
    from matplotlib.axis import Axis

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
    "axes.axisbelow": True,
    "grid.color": "#e4e8eb",
    "grid.linewidth": 0.8,
    "svg.hashsalt": "tinyml-harness",
}

_SUFFIXES = (".png", ".svg", ".pdf")
# No date inside, so that the same rows give the same file.
_METADATA: Any = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


@contextmanager
def drawing(file: Path, size: tuple[float, float], error: type[HarnessError]) -> Iterator[Figure]:
    """Yield a figure of `size` inches in the common look, then write it whole or not at all.

    Raises:
        HarnessError: The suffix is no image's or the file cannot be written, as `error`.
    """
    if file.suffix not in _SUFFIXES:
        raise error(
            f"a plot cannot be written as {file.suffix or 'a file without suffix'!r}",
            where=str(file),
            expected=".png, .svg or .pdf",
        )
    with rc_context(STYLE):
        figure = Figure(figsize=size, dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with draft_of(file, what="plot", error=error) as draft:
            figure.savefig(draft, metadata=_METADATA.get(file.suffix))


def scale_in_steps(axis: Axis) -> None:
    """Label a logarithmic axis at 1, 2 and 5 times each power of ten, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_formatter(NullFormatter())
