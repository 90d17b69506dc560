"""The page that compares boards, runtimes, kernels, flags and versions, per source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from harness.errors import ResultsError
from harness.report import text
from harness.report.compare import by_model, comparison_table
from harness.report.site.build import Page, Rows
from harness.report.site.data import Snapshot
from harness.report.site.html import Grid
from harness.report.table import Table
from harness.results.equivalence import Comparison, compare_rows
from harness.results.record import Status

_LISTED = 300  # rows that are shown side by side
_MOST_VALUES = 8  # of a part that are compared pair by pair
_WITH_BOARD = ("board", "clock_hz", "icache", "dcache", "art")

# What is compared, and the parts of a pair's identity that differ with it.
_PARTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Boards", "board", _WITH_BOARD),
    ("Runtimes", "runtime", ("runtime",)),
    ("Kernels", "kernels", ("kernels",)),
    ("Optimisation", "optimization", ("optimization",)),
    ("Flags", "flags", ("flags",)),
    ("Image", "one_firmware", ("one_firmware",)),
    ("Clock", "clock_hz", ("clock_hz",)),
    ("Versions of the runtime", "runtime_version", ()),
    ("Versions of the kernels", "kernels_version", ()),
    ("Toolchains", "toolchain", ()),
)
_HEADS = ("from", "to", "networks", "latency", "interval", "slowest", "fastest", "worse", "better")


def comparison_page(snapshot: Snapshot) -> Iterator[Page]:
    """Yield the page."""
    shown = _side_by_side(snapshot)
    yield Page(
        "compare.html",
        "compare.html",
        snapshot.everything,
        lambda rows: _compare(snapshot, shown, rows),
        shown,
    )


def _side_by_side(snapshot: Snapshot) -> list[int]:
    """Return rows of models that were measured in several settings on one source."""
    found: list[int] = []
    for network in snapshot.networks.values():
        for places in snapshot.by_source(snapshot.best(network.places)).values():
            usable = [place for place in places if _usable(snapshot, place)]
            if len(usable) > 1:
                found += usable
    # Models that have a name of their own before sampled networks, of which there are many.
    found.sort(key=lambda place: snapshot.facts(place)["backbone"] is not None)
    return found[:_LISTED]


def _usable(snapshot: Snapshot, place: int) -> bool:
    return bool(snapshot.cells("status")[place] != Status.INVALID.value)


def _compare(snapshot: Snapshot, shown: Sequence[int], rows: Rows) -> dict[str, Any]:
    newest = _newest(snapshot)
    sections = []
    for source, places in snapshot.by_source(newest).items():
        side = [rows[place] for place in shown if place in rows]
        side = by_model(row for row in side if row.source.value == source)
        links = {snapshot.cells("model_sha256")[at]: snapshot.links[at] for at in shown}
        sections.append(
            {
                "source": source,
                "parts": list(_parts(snapshot, places)),
                "side": Grid(
                    comparison_table(side, title="Side by side"),
                    [links.get(row.model_sha256) for row in side],
                    note="× best: cycles against the model's best on this board. Code: flash "
                    "without weights. SRAM: arena, other static RAM and stack.",
                ),
            }
        )
    return {"title": "Compare", "sections": sections}


def _newest(snapshot: Snapshot) -> list[int]:
    """Return the newest valid row of each network in each configuration, versions included."""
    found: dict[tuple[Any, ...], int] = {}
    columns = ("status", "model_sha256", "configuration")
    for place, (status, model, number) in enumerate(
        zip(*map(snapshot.cells, columns), strict=True)
    ):
        if status == Status.VALID.value and model:
            seen = found.get((model, number))
            if seen is None or snapshot.times[seen] <= snapshot.times[place]:
                found[model, number] = place
    return sorted(found.values())


def _parts(snapshot: Snapshot, places: Sequence[int]) -> Iterator[tuple[str, Grid]]:
    for title, name, across in _PARTS:
        groups: defaultdict[Any, list[int]] = defaultdict(list)
        for place in places:
            groups[snapshot.facts(place)[name]].append(place)
        if not 1 < len(groups) <= _MOST_VALUES:
            continue
        lines = []
        for before, after in combinations(sorted(groups, key=str), 2):
            try:
                tables = [snapshot.take(groups[value]) for value in (before, after)]
                found = compare_rows(*tables, across=across)
            except ResultsError:
                continue  # no network was measured with both
            lines.append([_value(name, before), _value(name, after), *_figures(found)])
        if lines:
            yield title, Grid(Table("", _HEADS, lines))


def _value(name: str, value: Any) -> str:
    if name == "clock_hz":
        return text.clock(value)
    if name == "one_firmware":
        return "shared" if value else "its own"
    if isinstance(value, tuple):
        return text.name(" ".join(value) or "none", 60)
    return text.name(None if value is None else str(value), 60)


def _figures(found: Comparison) -> list[str]:
    overall = found.overall
    return [
        text.number(len(found.pairs)),
        _change(overall.value),
        f"{_change(overall.low)} to {_change(overall.high)}",
        _change(found.pairs[0].ratio.value),
        _change(found.pairs[len(found.pairs) - 1].ratio.value),
        text.number(found.counts["worse"]),
        text.number(found.counts["better"]),
    ]


def _change(ratio: float) -> str:
    return text.number(ratio - 1, 1, per=0.01, sign=True, unit=" %") if np.isfinite(ratio) else "–"
