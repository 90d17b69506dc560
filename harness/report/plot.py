"""Plot latency against ops, with the fits, their prediction intervals and their errors."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.errors import FitError
from harness.fit.model import Fingerprint, Fit
from harness.fit.select import select_rows, shared_fingerprint
from harness.report import text
from harness.report.spots import MOST_MARKS, spots
from harness.report.style import MUTED, drawing, scale_in_steps
from harness.results.record import Measurement
from harness.results.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points: TypeAlias = npt.NDArray[np.float64]  # a row each

# Okabe and Ito's palette, which any colour vision can tell apart. A backbone keeps its colour in
# all reports.
_LOOKS = {
    "ds_cnn_kws": ("#0072B2", "o"),
    "mobilenet_v2_vww": ("#D55E00", "s"),
    "ds_cnn_ad": ("#009E73", "^"),
}
_SPARE = (("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"), ("#7A5C00", "X"))
_POOLED = "#444444"


def plot_latency(
    fits: Sequence[Fit],
    rows: Iterable[Measurement] | Table,
    path: str | Path,
    *,
    pooled: Fit | None = None,
    log: bool | None = None,
) -> Path:
    """Draw latency against ops: one colour per backbone, hollow marks for held-out networks.

    Where a fit has thousands of networks, those at one spot share a mark, which the legend says.

    Args:
        path: Ends in ``.png``, ``.svg`` or ``.pdf``; returned.
        pooled: A fit over all backbones, drawn dashed for comparison.
        log: Logarithmic axes; by default where the backbones' sizes are far apart.

    Raises:
        FitError: No fits, fits of several configurations (an emulated and a hardware board do
            not share a plot), none of the rows in `rows`, or a file that cannot be written.
    """
    file = Path(path)
    everything = [*fits, *([pooled] if pooled else [])]
    if not fits:
        raise FitError("there is no fit to plot", fix="make one with `harness fit`")
    shared = shared_fingerprint(
        (fit.fingerprint for fit in everything),
        True,
        "fits of different configurations do not share a plot",
        "plot them one by one",
    )
    table, _ = select_rows(rows, degraded=True)
    keys, figures = table["key"].astype("S64"), table.numbers("ops", "latency_us")
    everyone = [_points(fit, keys, figures) for fit in fits]
    points = [_thinned(fit, some) for fit, some in zip(fits, everyone, strict=True)]
    if log is None:
        largest = [fit.latency.feature_max for fit in fits]
        log = max(largest) > 8 * min(largest)
    looks = _looks([fit.fingerprint.backbone for fit in fits])
    with drawing(file, (9.6, 8.4), FitError) as figure:
        top, bottom = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [3.1, 1], "hspace": 0.04}
        )
        handles: list[Any] = []
        for fit, some, (colour, marker) in zip(fits, points, looks, strict=True):
            _draw_fit(top, fit, colour, log)
            _draw_points(top, bottom, fit, some, colour, marker)
            look: dict[str, Any] = {"color": colour, "marker": marker, "mec": "white", "lw": 1.8}
            handles.append(Line2D([], [], label=_caption(fit), **look))
        if pooled is not None:
            x = _grid(everything, log)
            y = (pooled.latency.intercept + pooled.latency.slope * x) / 1e3
            look = {"color": _POOLED, "lw": 1.4, "ls": (0, (5, 3)), "label": _caption(pooled)}
            handles += top.plot(x[y > 0] / 1e6, y[y > 0], zorder=2.5, **look)
        _label_top(top, shared)
        _label_bottom(bottom, shared)
        if log:
            top.set_xscale("log")
            top.set_yscale("log")
            scale_in_steps(top.yaxis)
            scale_in_steps(bottom.xaxis)
            # From the points: near zero ops a line may dive to nothing.
            lowest_us = min(some[:, 1].min() for some in points)
            top.set_ylim(0.75 * lowest_us / 1e3, None)
        else:
            top.set_ylim(bottom=0)
        if any(fit.holdout_keys for fit in fits):
            held = "hollow: held-out architecture, not fitted on"
            hollow: Any = {"ls": "none", "marker": "o", "mfc": "white", "mec": MUTED, "mew": 1.6}
            handles.append(Line2D([], [], label=held, **hollow))
        if any(map(operator.is_not, points, everyone)):
            shown, all_of = (sum(map(len, some)) for some in (points, everyone))
            fewer = f"{shown:,} marks for {all_of:,} networks: those at one spot share a mark"
            handles.append(Line2D([], [], ls="none", label=fewer))
        level = f"{100 * fits[0].latency.level:.0f} % prediction interval"
        handles.append(Patch(color=MUTED, alpha=0.2, lw=0, label=level))
        # Below the panels, where it hides no data.
        legend = figure.legend(
            handles=handles, loc="outside lower left", frameon=False, fontsize=9, labelspacing=0.55
        )
        for item in legend.get_texts():
            item.set_parse_math(False)
    return file


def _points(fit: Fit, known: npt.NDArray[np.bytes_], figures: Points) -> Points:
    """Return ops, latency in µs and whether it is held out of the fit's rows that are there.

    `known` are the keys of the figures, in order.
    """
    wanted = np.array([*fit.keys, *fit.holdout_keys], dtype="S64")
    held = np.arange(len(wanted)) >= len(fit.keys)
    places = np.searchsorted(known, wanted)
    there = places < len(known)
    there[there] = known[places[there]] == wanted[there]
    found = np.column_stack([figures[places[there]], held[there]])
    if not len(found):
        raise FitError(
            f"none of the rows behind the fit of {fit.fingerprint.backbone} is in these rows",
            expected="the rows it was made from",
            fix="plot with the results store that the fit was made from, or fit again",
        )
    return found


def _thinned(fit: Fit, points: Points) -> Points:
    """Return one of the points at each spot, if they are many; both panels have spots."""
    if len(points) <= MOST_MARKS:
        return points
    ops, latency, held = points.T
    error = (fit.latency.intercept + fit.latency.slope * ops) / latency
    return points[spots(ops, error, held)]


def _looks(backbones: Sequence[str | None]) -> list[tuple[str, str]]:
    """Return colour and marker of each backbone."""
    spare = cycle(_SPARE)
    others = {name: next(spare) for name in sorted(map(str, backbones)) if name not in _LOOKS}
    return [(_LOOKS | others)[str(name)] for name in backbones]


def _grid(fits: Sequence[Fit], log: bool) -> Any:
    low = min(fit.latency.feature_min for fit in fits)
    high = max(fit.latency.feature_max for fit in fits)
    if log:
        return np.geomspace(low * 0.9, high * 1.1, 300)
    margin = 0.04 * (high - low)
    return np.linspace(max(0.0, low - margin), high + margin, 300)


def _draw_fit(axes: Axes, fit: Fit, colour: str, log: bool) -> None:
    x = _grid([fit], log)
    middle = fit.latency.intercept + fit.latency.slope * x
    half = fit.latency.half_width(x)
    low = np.maximum(middle - half, 0.02 * middle.max() if log else 0.0)
    axes.fill_between(x / 1e6, low / 1e3, (middle + half) / 1e3, color=colour, alpha=0.15, lw=0)
    axes.plot(x / 1e6, middle / 1e3, color=colour, lw=1.8, zorder=3)


def _draw_points(
    top: Axes,
    bottom: Axes,
    fit: Fit,
    points: Points,
    colour: str,
    marker: str,
) -> None:
    for held in (False, True):
        ops, latency, _ = points[points[:, 2] == held].T
        if not len(ops):
            continue
        predicted = fit.latency.intercept + fit.latency.slope * ops
        look: dict[str, Any] = {
            "marker": marker,
            "ls": "none",
            "ms": 6.5 if held else 5.5,
            "mfc": "white" if held else colour,
            "mec": colour if held else "white",
            "mew": 1.6 if held else 0.6,
            "zorder": 5 if held else 4,
        }
        top.plot(ops / 1e6, latency / 1e3, **look)
        bottom.plot(ops / 1e6, 100 * (predicted - latency) / latency, **look)


def _caption(fit: Fit) -> str:
    name = "all, pooled" if len(fit.backbones) > 1 else text.name(fit.fingerprint.backbone, 30)
    line = fit.latency
    sign = "" if line.intercept >= 0 else "−"
    rate = text.significant(fit.throughput_ops_per_s / 1e6)
    start = text.significant(abs(line.intercept) / 1e3)
    parts = [f"{name}:  {sign}{start} ms + ops / {rate} Mop/s"]
    if line.holdout is not None:
        parts.append(f"held out: r² {text.r_squared(line.holdout.r2)}")
        parts.append(f"MAPE {text.number(line.holdout.mape_pct, 1)} %")
    else:
        parts.append(f"r² {text.r_squared(line.train.r2)}")
    parts.append(f"n = {line.n} + {line.holdout.n if line.holdout else 0}")
    return ", ".join(parts)


def _label_bottom(axes: Axes, shared: Fingerprint) -> None:
    axes.axhspan(-5, 5, color="#000000", alpha=0.05, lw=0, zorder=0)
    axes.axhline(0, color=MUTED, lw=0.9, zorder=1)
    for edge in (-10, 10):
        axes.axhline(edge, color="#9aa4ad", lw=0.8, ls=":", zorder=1)
    largest = max(abs(value) for value in axes.dataLim.intervaly)
    limit = max(12.0, 1.15 * float(largest))
    axes.set_ylim(-limit, limit)
    axes.set_ylabel(f"fit − {text.verb(shared.source)} (%)")
    axes.set_xlabel("operations per inference (million; 1 MAC = 2 ops)")
    axes.grid(visible=True)
    axes.set_title("grey band ±5 %, dotted ±10 %", loc="right", fontsize=8, color=MUTED, pad=3)


def _label_top(axes: Axes, shared: Fingerprint) -> None:
    axes.set_ylabel(f"{text.verb(shared.source)} latency per inference (ms)")
    axes.grid(visible=True)
    title = f"Latency against operations on {shared.board} at {text.clock(shared.clock_hz)}"
    parts = [
        text.counted_by(shared.source, shared.timing_model),
        f"{shared.runtime} {shared.runtime_version or ''}".strip(),
        f"{shared.kernels} {shared.kernels_version or ''}".strip(),
        str(shared.optimization),
        shared.toolchain or "",
    ]
    axes.set_title(
        text.name(title, 100), loc="left", fontsize=13, fontweight="bold", pad=24, parse_math=False
    )
    axes.text(
        0,
        1.018,
        text.name("  ·  ".join(part for part in parts if part), 140),
        transform=axes.transAxes,
        fontsize=9,
        va="bottom",
        color="#B00020" if shared.source == "emulated" else MUTED,
        parse_math=False,
    )
