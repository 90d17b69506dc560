"""The page of the stations: their state, and what they measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from harness.report import text
from harness.report.site.build import Page
from harness.report.site.data import Snapshot
from harness.report.site.figures import history_figure
from harness.report.site.html import Figure, Grid
from harness.report.table import Column, Table, table_of
from harness.results.record import StationHealth, StationState, Status

_STATE: tuple[Column[StationState], ...] = (
    Column("station", lambda state: text.name(state.name)),
    Column("state", lambda state: state.state),
    Column("since", lambda state: text.when(state.since)),
    Column("board", lambda state: text.name(state.board)),
    Column("host", lambda state: text.name(state.host)),
    Column("code", lambda state: text.name(state.code)),
    Column("reason", lambda state: text.name(state.reason, 300)),
)


_HEALTH: tuple[Column[StationHealth], ...] = (
    Column("station", lambda found: text.name(found.station)),
    Column("verdict", lambda found: found.verdict),
    Column("what was found", lambda found: text.name(found.what, 300)),
)
_CHECKED: tuple[Column[StationHealth], ...] = (
    Column("checked", lambda found: text.when(found.checked_at)),
    Column("board", lambda found: text.name(found.board)),
    Column("source", lambda found: found.source.value),
)
_MOST_FACTS = 12
_HEADS = {
    "cycles": "golden cycles",
    "ratio": "from earlier nights",
    "latency_us": "golden µs",
    "clock_hz": "clock Hz",
    "temperature_c": "°C",
    "supply_v": "supply V",
}


def health_grid(found: Sequence[StationHealth], note: str = "") -> Grid:
    """Return a line for each check, with the figures that it has."""
    found = sorted(found, key=_worst_first)
    columns = (*_HEALTH, *_facts(found), *_CHECKED)
    return Grid(table_of("", found, columns), note=note)


def _worst_first(found: StationHealth) -> tuple[int, str]:
    return ("error", "warning", "ok").index(found.verdict), found.station


def _histories(checks: Iterable[StationHealth]) -> list[tuple[str, Figure]]:
    """Return the golden model's cycles over time, a line for each station, for each source."""
    lines: defaultdict[str, defaultdict[str, list[tuple[datetime, float]]]]
    lines = defaultdict(lambda: defaultdict(list))
    for one in checks:
        cycles = one.facts.get("cycles")
        if isinstance(cycles, int | float) and cycles > 0:
            lines[one.source.value][text.name(one.station)].append((one.checked_at, cycles))
    return [
        (source, history_figure(repeated, "golden model's cycles", "cycles"))
        for source, own in lines.items()
        if (repeated := {name: points for name, points in own.items() if len(points) > 1})
    ]


def _facts(found: Iterable[StationHealth]) -> list[Column[StationHealth]]:
    names = dict.fromkeys(
        name
        for one in found
        for name, value in one.facts.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )
    return [
        Column(_HEADS.get(name) or text.name(name.replace("_", " "), 30), partial(_fact, name))
        for name in [*names][:_MOST_FACTS]
    ]


def _fact(name: str, found: StationHealth) -> str:
    value = found.facts.get(name)
    if not isinstance(value, int | float):
        return text.UNKNOWN
    if name == "ratio":
        return text.number(value - 1, 2, per=0.01, sign=True, unit=" %")
    return text.number(value) if float(value).is_integer() else text.significant(value, 4)


def station_page(snapshot: Snapshot) -> Iterator[Page]:
    """Yield the page."""
    states = snapshot.store.stations()
    checks = snapshot.store.health()
    newest = [*{found.station: found for found in checks}.values()]
    digest = snapshot.everything
    yield Page(
        "stations.html",
        "stations.html",
        f"{digest} {states} {checks}",
        lambda _rows: {
            "title": "Stations",
            "histories": (histories := _histories(checks)),
            "figures": bool(histories),
            "states": Grid(table_of("", states, _STATE)),
            "health": health_grid(
                newest,
                "The newest check of each station. Golden: a model that is measured before "
                "each night, and its cycles against the median of earlier nights.",
            ),
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
