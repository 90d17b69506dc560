"""Plot the errors of both predictors, network by network, on and off the grid of four."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import FitError
from harness.report import text
from harness.report.style import MUTED, drawing, scale_in_steps
from studies.linearity.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ON, _OFF = "#0072B2", "#D55E00"


def plot_residuals(studies: Sequence[Study], path: str | Path) -> Path:
    """Draw a column per backbone: errors of the ops predictor above, of layers below.

    The line of ops is fitted to networks on the grid of four alone, so that the errors of the
    others show the cost of their widths. Held-out networks are hollow.

    Raises:
        FitError: There is nothing to draw, or the file cannot be written.
    """
    file = Path(path)
    if not studies:
        raise FitError("there is nothing to plot", fix="`harness run campaigns/linearity.toml`")
    with drawing(file, (4.2 * len(studies) + 0.6, 7.2), FitError) as figure:
        axes = figure.subplots(2, len(studies), sharex="col", sharey="row", squeeze=False)
        for column, study in enumerate(studies):
            _draw(axes[0][column], study, "ops_us")
            _draw(axes[1][column], study, "layers_us")
            axes[0][column].set_title(study.backbone, loc="left", fontweight="bold")
            axes[1][column].set_xlabel("operations per inference (million)")
        axes[0][0].set_ylabel("from ops: prediction − latency (%)")
        axes[1][0].set_ylabel("from layers: prediction − latency (%)")
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=4, frameon=False, fontsize=9)
        figure.suptitle(_heading(studies[0]), fontsize=10, x=0.01, ha="left")
    return file


def _draw(axes: Axes, study: Study, predictor: str) -> None:
    axes.axhspan(-10, 10, color="#000000", alpha=0.05, lw=0, zorder=0)
    axes.axhline(0, color=MUTED, lw=0.9, zorder=1)
    axes.grid(visible=True)
    axes.set_xscale("log")
    scale_in_steps(axes.xaxis)
    for aligned, colour, marker, name in (
        (True, _ON, "o", "all widths multiples of 4"),
        (False, _OFF, "^", "any width"),
    ):
        for held in (False, True):
            some = [item for item in study.points if (item.aligned, item.held) == (aligned, held)]
            predicted = np.array([getattr(item, predictor) for item in some])
            latency = np.array([item.latency_us for item in some])
            axes.plot(
                [item.ops / 1e6 for item in some],
                100 * (predicted - latency) / latency,
                ls="none",
                marker=marker,
                ms=5.5,
                mfc="white" if held else colour,
                mec=colour,
                label=f"{name}, held out" if held else name,
            )


def _heading(study: Study) -> str:
    shared = study.fit.fingerprint
    source = text.counted_by(shared.source, shared.timing_model)
    parts = (shared.board, shared.runtime, shared.kernels, shared.optimization, source)
    return text.name("  ·  ".join(str(part) for part in parts if part), 140)
