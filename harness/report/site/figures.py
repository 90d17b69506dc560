"""Figures: latency against ops with the fits, and latency over time."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import cycle
from statistics import median
from typing import Any

import numpy as np

from harness.fit.model import Fingerprint, Fit
from harness.report import text
from harness.report.site.data import Snapshot
from harness.report.site.html import Figure
from harness.report.spots import spots

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A6D00")
_STEPS = {
    "tickmode": "array",
    "tickvals": [step * 10**power for power in range(-4, 6) for step in (1, 2, 5)],
}
_APART = (
    "runtime", "kernels", "optimization", "flags", "one_firmware", "clock_hz", "icache", "dcache",
    "art", "runtime_version", "kernels_version", "toolchain", "timing_model",
)  # fmt: skip
_MOST_MARKS = 800  # of a configuration; a browser takes seconds for thousands
_SWITCHES = {"one_firmware": "shared image", "icache": "icache", "dcache": "dcache", "art": "ART"}
_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")


def label(name: str | None, limit: int = 60) -> str:
    """Return a name as Plotly shows it, which reads some markup in texts."""
    return html.escape(text.name(name, limit), quote=False)


def latency_figure(
    snapshot: Snapshot, places: Sequence[int], fits: Iterable[Fit], root: str
) -> Figure:
    """Return latency against ops of rows of one source and board, with their fits.

    Hollow marks are held-out architectures, which their fit has not seen.
    """
    groups: dict[Fingerprint, list[int]] = {}
    for place in places:
        groups.setdefault(Fingerprint(**snapshot.facts(place)), []).append(place)
    by_configuration = {fit.fingerprint: fit for fit in fits}
    looks = zip(cycle(_COLOURS), cycle(_SYMBOLS), strict=False)
    data: list[dict[str, Any]] = []
    fewer = False
    for fingerprint, (colour, symbol) in zip(groups, looks, strict=False):
        fit = by_configuration.get(fingerprint)
        name = _name(fingerprint, groups)
        if fit is not None:
            data += _line(fit, name, colour)
        shown = groups[fingerprint]
        if len(shown) > _MOST_MARKS:
            fewer = True
            shown = _thinned(snapshot, shown, fit)
        data.append(_points(snapshot, shown, fit, name, colour, symbol, root))
    largest = [max(snapshot.cells("ops")[place] for place in some) for some in groups.values()]
    log = max(largest) > 8 * min(largest)
    # Named models are of any size, sampled ones of a backbone's range.
    log = log or (None in {fingerprint.backbone for fingerprint in groups} and len(places) > 1)
    kind = {"type": "log", **_STEPS} if log else {"rangemode": "tozero"}
    verb = text.verb(snapshot.source(places[0]))
    caption = (
        "Hollow: held-out architectures, not fitted on. "
        if groups.keys() & by_configuration.keys()
        else ""
    )
    if fewer:
        caption += "Networks at one spot share a mark. "
    layout = {
        "xaxis": {"title": {"text": "operations per inference (million)"}, **kind},
        "yaxis": {"title": {"text": f"{verb} latency (ms)"}, **kind},
        "hovermode": "closest",
    }
    return Figure(data, layout, f"{caption}Choose a mark to open its network.")


def history_figure(
    lines: Mapping[str, Sequence[tuple[datetime, float]]], what: str, unit: str
) -> Figure:
    """Return how values changed over time, a line for each name, times rising.

    Each line is relative to its own median: values may be a factor of ten apart, and what matters
    is how each of them changed. `what` they are, and their `unit`, are not escaped.
    """
    hover = f"%{{x}}<br>%{{customdata:,}} {unit} (%{{y:+.2f}} %)<extra></extra>"
    data = []
    for (name, points), colour, symbol in zip(
        lines.items(), cycle(_COLOURS), cycle(_SYMBOLS), strict=False
    ):
        middle = median(value for _, value in points)
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": label(name, 80),
                "x": [str(time)[:19] for time, _ in points],
                "y": [round(100 * (value / middle - 1), 4) for _, value in points],
                "customdata": [round(value, 5) for _, value in points],
                "hovertemplate": hover,
                "line": {"color": colour},
                "marker": {"symbol": symbol, "size": 6},
            }
        )
    layout = {
        "xaxis": {"title": {"text": "measured (UTC)"}},
        "yaxis": {"title": {"text": f"{what}: change (%)"}},
        "hovermode": "closest",
    }
    return Figure(data, layout, "Each line is relative to its own median.")


def _name(fingerprint: Fingerprint, groups: Iterable[Fingerprint]) -> str:
    """Return backbone and the few facts that set a configuration apart from the others."""
    words = [fingerprint.backbone or "named models"]
    alike = [other for other in groups if other.backbone == fingerprint.backbone]
    for name in _APART:
        value = getattr(fingerprint, name)
        if all(getattr(other, name) == value for other in alike):
            continue
        alike = [other for other in alike if getattr(other, name) == value]
        if name == "clock_hz":
            words.append(text.clock(value))
        elif isinstance(value, bool):
            words += [_SWITCHES[name]] if value else []
        elif value:
            words.append(" ".join(value) if isinstance(value, tuple) else str(value))
    return label(", ".join(words), 90)


def _line(fit: Fit, name: str, colour: str) -> list[dict[str, Any]]:
    line = fit.latency
    x = np.geomspace(line.feature_min, line.feature_max, 60)
    y, half = line.intercept + line.slope * x, line.half_width(x)
    low = np.maximum(y - half, 0.02 * y.min())
    both = {"type": "scatter", "mode": "lines", "legendgroup": name, "hoverinfo": "skip"}
    edge = {**both, "showlegend": False, "line": {"width": 0, "color": colour}}
    return [
        {**edge, "x": _short(x / 1e6), "y": _short((y + half) / 1e3)},
        {
            **edge,
            "x": _short(x / 1e6),
            "y": _short(low / 1e3),
            "fill": "tonexty",
            "fillcolor": f"{colour}26",
        },
        {
            **both,
            "showlegend": False,
            "x": _short(x / 1e6),
            "y": _short(y / 1e3),
            "line": {"color": colour, "width": 2},
        },
    ]


def _points(
    snapshot: Snapshot,
    places: Sequence[int],
    fit: Fit | None,
    name: str,
    colour: str,
    symbol: str,
    root: str,
) -> dict[str, Any]:
    keys, names = snapshot.cells("key"), snapshot.cells("model_name")
    ops, latency = snapshot.cells("ops"), snapshot.cells("latency_us")
    held = set(fit.holdout_keys if fit else ())
    links = [snapshot.links[place] for place in places]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "legendgroup": name,
        "x": [round(ops[place] / 1e6, 4) for place in places],
        "y": [round(latency[place] / 1e3, 5) for place in places],
        "text": [label(names[place]) for place in places],
        "customdata": [link and root + link for link in links],
        "hovertemplate": "%{text}<br>%{x:,.3f} Mop, %{y:,.3f} ms<extra></extra>",
        "marker": {
            "color": colour,
            "size": 8,
            "symbol": [f"{symbol}-open" if keys[place] in held else symbol for place in places],
        },
    }


def _thinned(snapshot: Snapshot, places: Sequence[int], fit: Fit | None) -> list[int]:
    x = np.array([snapshot.cells("ops")[place] for place in places], dtype=float)
    y = np.array([snapshot.cells("latency_us")[place] for place in places], dtype=float)
    keys = snapshot.cells("key")
    held = set(fit.holdout_keys if fit else ())
    out = np.array([keys[place] in held for place in places])
    error = (fit.latency.intercept + fit.latency.slope * x) / y if fit else y / y.max()
    return [places[at] for at in spots(x, error, out)]


def _short(values: Any) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
