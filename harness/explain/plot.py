"""Draw cycles by layer, stacked by cause; two firmwares share the axis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import ConfigError
from harness.explain.record import CAUSES, Explanation
from harness.report.style import MUTED, drawing

# Okabe and Ito's palette; causes beyond it are rare and share the last colour.
_COLOURS = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#F0E442", "#009E73", "#CC79A7", "#7A5C00")
_SHOWN = 0.005  # causes below this share of all cycles are drawn as one
_REST = "all else"


def plot(explanations: Sequence[Explanation], path: Path) -> Path:
    """Draw one panel per explanation; raise `ConfigError` if the file cannot be written."""
    sums = [sum(e.total.cycles[n] for e in explanations) for n in range(len(CAUSES))]
    shown = [n for n, cycles in enumerate(sums) if cycles > _SHOWN * sum(sums)]
    rows = max(len(e.layers) for e in explanations)
    with drawing(path, (9, 1.2 + (0.32 * rows + 0.9) * len(explanations)), ConfigError) as figure:
        panels = figure.subplots(len(explanations), 1, sharex=True, squeeze=False)[:, 0]
        for axes, explanation in zip(panels, explanations, strict=True):
            names = [f"{n} {layer.operator}" for n, layer in enumerate(explanation.layers)]
            left = [0.0] * len(names)
            for place, cause in enumerate([*shown, -1]):
                widths = [_millions(one.split.cycles, cause, shown) for one in explanation.layers]
                label = _REST if cause < 0 else CAUSES[cause]
                colour = MUTED if cause < 0 else _COLOURS[place % len(_COLOURS)]
                axes.barh(names, widths, left=left, color=colour, label=label)
                left = [a + b for a, b in zip(left, widths, strict=True)]
            axes.invert_yaxis()
            axes.set_title(
                f"{explanation.label} on {explanation.board}: "
                f"{explanation.total.total:,} cycles, modelled by {explanation.timing}",
                loc="left",
                fontsize=10,
            )
        panels[-1].set_xlabel("million modelled cycles")
        panels[0].legend(fontsize=8, frameon=False, loc="lower right")
    return path


def _millions(cycles: tuple[int, ...], cause: int, shown: list[int]) -> float:
    if cause >= 0:
        return cycles[cause] / 1e6
    return sum(c for n, c in enumerate(cycles) if n not in shown) / 1e6
