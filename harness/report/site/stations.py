"""The page of the stations: their state, and what they measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from harness.report import text
from harness.report.site.build import Page
from harness.report.site.data import Snapshot
from harness.report.site.html import Grid
from harness.report.table import Column, Table, table_of
from harness.results.record import StationState, Status

_STATE: tuple[Column[StationState], ...] = (
    Column("station", lambda state: text.name(state.name)),
    Column("state", lambda state: state.state),
    Column("since", lambda state: text.when(state.since)),
    Column("board", lambda state: text.name(state.board)),
    Column("host", lambda state: text.name(state.host)),
    Column("code", lambda state: text.name(state.code)),
    Column("reason", lambda state: text.name(state.reason, 300)),
)


def station_page(snapshot: Snapshot) -> Iterator[Page]:
    """Yield the page."""
    states = snapshot.store.stations()
    digest = snapshot.digest(range(len(snapshot.table)))
    yield Page(
        "stations.html",
        "stations.html",
        f"{digest} {states}",
        lambda _rows: {
            "title": "Stations",
            "states": Grid(table_of("", states, _STATE)),
            "use": Grid(_use(snapshot)),
        },
    )


def _use(snapshot: Snapshot) -> Table:
    """Return a line per station, board and source: its rows, and when it was last used."""
    found: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    names, statuses = snapshot.cells("station"), snapshot.cells("status")
    for place, name in enumerate(names):
        facts = snapshot.facts(place)
        if name:
            found[name, facts["board"], facts["source"]].append(place)
    lines: list[list[Any]] = []
    for (name, board, source), places in sorted(found.items()):
        counts = [sum(statuses[place] == status.value for place in places) for status in Status]
        lines.append(
            [
                text.name(name),
                text.name(board),
                source,
                *(text.number(count) for count in counts),
                text.when(max(snapshot.times[place] for place in places)),
            ]
        )
    return Table("", ("station", "board", "source", *Status, "last used"), lines)
