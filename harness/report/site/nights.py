"""The start page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from harness.report import text
from harness.report.site.build import Page
from harness.report.site.data import Snapshot
from harness.report.site.html import Grid
from harness.report.table import Column, table_of
from harness.results.record import Status

_NEWEST = 50


def night_pages(snapshot: Snapshot) -> Iterator[Page]:
    """Yield the start page."""
    digest = snapshot.digest(range(len(snapshot.table)))
    yield Page("index.html", "overview.html", digest, lambda _rows: _overview(snapshot))


def _overview(snapshot: Snapshot) -> dict[str, Any]:
    statuses = snapshot.cells("status")
    count = Counter(statuses)
    newest = sorted(range(len(statuses)), key=lambda place: snapshot.times[place], reverse=True)
    newest = newest[:_NEWEST]
    cells = snapshot.cells
    columns: list[Column[int]] = [
        Column("network", lambda place: text.name(cells("model_name")[place])),
        Column("measured", lambda place: text.when(snapshot.times[place])),
        Column("status", lambda place: str(statuses[place])),
        Column("source", lambda place: snapshot.source(place)),
        Column("board", lambda place: text.name(snapshot.facts(place)["board"])),
        Column("campaign", lambda place: text.name(cells("campaign")[place])),
        Column("latency ms", lambda place: text.number(cells("latency_us")[place], 3, per=1000)),
    ]
    return {
        "title": "Measurements",
        "facts": [
            ("networks", text.number(len(snapshot.networks))),
            ("rows", text.number(len(statuses))),
            *((status.value, text.number(count[status.value])) for status in Status),
        ],
        "newest": Grid(
            table_of("Newest rows", newest, columns), [snapshot.links[place] for place in newest]
        ),
    }
