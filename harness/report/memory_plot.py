"""Plot SRAM and flash of rows as stacked bars, a line of bars per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from harness.errors import ResultsError
from harness.report import memory, text
from harness.report.memory import split_memory
from harness.report.style import MUTED, drawing
from harness.report.table import shared_and_varying
from harness.report.tables import CONFIGURATION, TOOLCHAIN
from harness.results.record import Measurement

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A short name and a colour (Okabe and Ito's palette) of each part, in the order of the legends.
_PARTS = {
    memory.INTERMEDIATE: ("tensors", "#0072B2"),
    memory.PERSISTENT: ("persistent", "#009E73"),
    memory.TEMPORARY: ("allocating", "#56B4E9"),
    memory.ARENA: ("arena", "#0072B2"),
    memory.RUNTIME_RAM: ("runtime", "#E69F00"),
    memory.STACK: ("stack", "#CC79A7"),
    memory.WEIGHTS: ("weights", "#0072B2"),
    memory.GRAPH: ("graph", "#009E73"),
    memory.CODE: ("code", "#E69F00"),
    memory.PORT: ("port", "#CC79A7"),
    memory.FREE: ("free", "#e9edf0"),
}
_KIB = 1024
_BAR_HEIGHT = 0.44
_ROW_INCHES = 0.62
MOST_ROWS = 40
"""Lines of bars that a plot has room for."""


def plot_memory(rows: Sequence[Measurement], path: str | Path) -> Path:
    """Draw the parts of SRAM and flash of each row, against what its board has.

    Args:
        path: Ends in ``.png``, ``.svg`` or ``.pdf``; returned.

    Raises:
        ResultsError: No row knows its memory, there are too many, or the file cannot be written.
    """
    file = Path(path)
    drawn = [(row, split) for row in rows if (split := split_memory(row)).sram and split.flash]
    if not drawn:
        raise ResultsError(
            "no row says how its memory is used",
            expected="rows that were measured by this version of the harness",
            fix="measure again: `harness measure MODEL --again`",
        )
    if len(drawn) > MOST_ROWS:
        raise ResultsError(
            f"{len(drawn)} rows do not fit one plot",
            expected=f"at most {MOST_ROWS}",
            fix="choose fewer, by board or campaign for example",
        )
    measured = [row for row, _ in drawn]
    with drawing(file, (14, 1.9 + _ROW_INCHES * len(drawn)), ResultsError) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        splits = [split for _, split in drawn]
        rams = {item.sram_capacity for item in splits if item.sram_capacity is not None}
        flashes = {item.flash_capacity for item in splits if item.flash_capacity is not None}
        _panel(left, "SRAM", [item.sram for item in splits], rams)
        _panel(right, "Flash", [item.flash for item in splits], flashes)
        left.set_yticks(range(len(drawn)), row_labels(measured), parse_math=False)
        left.set_ylim(len(drawn) - 0.4, -0.5)
        _heading(figure, measured)
    return file


def row_labels(rows: Sequence[Measurement]) -> list[str]:
    """Return a label for each row: the model, and below it what differs between the rows."""
    _, varying = shared_and_varying(rows, CONFIGURATION)
    labels = []
    for row in rows:
        words = [word for column in varying if (word := column.text(row)) != text.UNKNOWN]
        labels.append("\n".join(filter(None, (text.name(row.model_name, 34), " ".join(words)))))
    return labels


def _panel(axes: Axes, title: str, bars: Sequence[Mapping[str, int]], capacities: set[int]) -> None:
    for y, parts in enumerate(bars):
        x = 0.0
        for name, size in parts.items():
            width = size / _KIB
            axes.barh(
                y, width, _BAR_HEIGHT, left=x, color=_PARTS[name][1], edgecolor="white", lw=0.5
            )
            x += width
        below = y + _BAR_HEIGHT / 2 + 0.03
        axes.text(0, below, _caption(parts), fontsize=7.6, color=MUTED, va="top")
    axes.set_xlim(0, max([*capacities, *(sum(parts.values()) for parts in bars)]) / _KIB)
    axes.set_xlabel("KiB")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    limit = f": {min(capacities) / _KIB:,.0f} KiB" if len(capacities) == 1 else ""
    axes.set_title(f"{title}{limit}", loc="left", fontweight="bold", fontsize=11, pad=24)
    present = {name for parts in bars for name in parts}
    order = [name for name in _PARTS if name in present]
    axes.legend(
        handles=[Patch(color=_PARTS[name][1], label=name) for name in order],
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        borderaxespad=0.2,
        ncols=len(order),
        frameon=False,
        fontsize=8,
        handlelength=1.0,
        handleheight=1.0,
        handletextpad=0.5,
        columnspacing=1.0,
    )


def _caption(parts: Mapping[str, int]) -> str:
    taken = {name: size for name, size in parts.items() if name != memory.FREE}
    free = f", {_amount(parts[memory.FREE])} free" if memory.FREE in parts else ""
    shown = "  ".join(f"{_PARTS[name][0]} {_amount(size)}" for name, size in taken.items())
    return f"{shown}  =  {_amount(sum(taken.values()))} KiB{free}"


def _amount(size: int) -> str:
    kib = size / _KIB
    return text.number(kib, 2 if kib < 1 else 1 if kib < 100 else 0)


def _heading(figure: Figure, rows: Sequence[Measurement]) -> None:
    shared, _ = shared_and_varying(rows, (*CONFIGURATION, TOOLCHAIN))
    verified = {row.arena_min_bytes is not None for row in rows}
    arena = "as the runtime reports"
    if True in verified:
        arena = "verified minimum" + (f" where it was searched, else {arena}" * (False in verified))
    figure.suptitle(
        text.name("Use of memory: " + ", ".join(shared), 120),
        x=0.008,
        ha="left",
        fontsize=13,
        fontweight="bold",
    )
    figure.supxlabel(
        f"Arena: {arena}. Stack: high-water mark. Memory reserved beyond either counts as free.",
        x=0.008,
        ha="left",
        fontsize=8,
        color=MUTED,
    )
