"""The list of networks, and a page for each: figures, layers, memory, history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from harness.report import text
from harness.report.memory import split_memory
from harness.report.site.build import Page, Rows
from harness.report.site.data import Network, Snapshot, campaign_path, run_path, setting_text
from harness.report.site.figures import history_figure
from harness.report.site.html import Grid, Stack
from harness.report.table import Column, Table, table_of
from harness.report.tables import CLOCK_ERROR, ISSUES, MEASUREMENT, STATION, TOOLCHAIN
from harness.results.record import LayerCycles, Measurement

_HISTORY = 50  # newest rows of a network that its page lists

_LABELLED = ("board", "runtime", "kernels", "optimization", "flags", "one_firmware")


def _label(row: Measurement) -> str:
    return setting_text({name: getattr(row, name) for name in _LABELLED})


_SHOWN = {column.head: column for column in MEASUREMENT}
_NEWEST: tuple[Column[Measurement], ...] = (
    Column("configuration", _label),
    *(_SHOWN[head] for head in ("latency ms", "± ms")),
    CLOCK_ERROR,
    *(_SHOWN[head] for head in ("status", "cycles/MAC", "arena B", "stack B",
                                "flash B", "outputs", "layers − total")),
    ISSUES,
    Column("measured", lambda row: text.when(row.created_at)),
    STATION,
    Column("clock", lambda row: text.clock(row.clock_hz)),
    Column("runtime version", lambda row: text.name(row.runtime_version)),
    Column("kernels version", lambda row: text.name(row.kernels_version)),
    TOOLCHAIN,
)  # fmt: skip


def network_pages(snapshot: Snapshot) -> Iterator[Page]:
    """Yield the list and the page of each network."""
    yield Page(
        "networks.html",
        "networks.html",
        snapshot.everything,
        lambda _rows: _list(snapshot),
    )
    for network in snapshot.networks.values():
        yield _page(snapshot, network)


def _page(snapshot: Snapshot, network: Network) -> Page:
    best = snapshot.best(network.places)
    return Page(
        network.path,
        "network.html",
        snapshot.digest(network.places),
        lambda rows: _network(snapshot, network, best, rows),
        best,
        layers=True,
    )


def _network(
    snapshot: Snapshot, network: Network, best: Sequence[int], rows: Rows
) -> dict[str, Any]:
    sections = []
    for source, places in snapshot.by_source(best).items():
        loaded = [rows[place] for place in places if place in rows]
        loaded.sort(key=lambda row: (row.board, row.latency_us or 0))
        figure, listed = _history(snapshot, source, network)
        models = sorted({row.timing_model for row in loaded if row.timing_model})
        columns = [column for column in _NEWEST if models or column is not CLOCK_ERROR]
        sections.append(
            {
                "source": source,
                "by": ", ".join(text.name(model) for model in models),
                "newest": Grid(table_of("Newest of each configuration", loaded, columns)),
                "configurations": [_configuration(row) for row in loaded if row.usable],
                "failures": [
                    (_label(row), text.name(row.message, 400))
                    for row in loaded
                    if not row.usable and row.message
                ],
                "history": figure,
                "rows": listed,
            }
        )
    there = [rows[place] for place in best if place in rows]
    newest = max(there, key=lambda row: row.created_at, default=None)
    campaigns = dict.fromkeys(snapshot.cells("campaign")[place] for place in network.places)
    return {
        "title": text.name(network.name or network.path[8:24]),
        "facts": _facts(newest) if newest else [],  # none: removed from the store meanwhile
        "campaigns": [(campaign_path(name), text.name(name)) for name in campaigns],
        "sections": sections,
        "figures": any(section["history"] for section in sections),
    }


def _facts(row: Measurement) -> list[tuple[str, str]]:
    known = (
        ("backbone", text.name(row.backbone)),
        ("operations", text.number(row.ops, 3, per=1e6, unit=" million")),
        ("parameters", text.number(row.parameters)),
        ("working memory", text.number(row.working_memory_bytes, unit=" bytes")),
        ("model", text.name(row.model_sha256, 16)),
    )
    return [pair for pair in known if pair[1] != text.UNKNOWN]


def _configuration(row: Measurement) -> dict[str, Any]:
    split = split_memory(row)
    return {
        "name": _label(row),
        "memory": [
            _stack("SRAM", split.sram, split.sram_capacity),
            _stack("Flash", split.flash, split.flash_capacity),
        ],
        "layers": _layers(row.layers),
    }


def _stack(title: str, sizes: Mapping[str, int], capacity: int | None) -> Stack:
    parts = [(name, size, f"{size / 1024:,.1f} KiB") for name, size in sizes.items()]
    of = "" if capacity is None else f"of {capacity / 1024:,.0f} KiB"
    return Stack(title, of if sizes else "not measured", parts)


def _layers(layers: Sequence[LayerCycles]) -> Grid | None:
    total = sum(layer.cycles or 0 for layer in layers)
    if not total:
        return None
    shares = [100 * (layer.cycles or 0) / total for layer in layers]
    rows = [
        (
            str(layer.index),
            text.name(layer.operator),
            text.percent(share),
            text.number(layer.cycles),
            text.number(layer.macs),
            text.number(layer.cycles / layer.macs if layer.cycles and layer.macs else None, 2),
            text.name(layer.name, 48),
        )
        for layer, share in zip(layers, shares, strict=True)
    ]
    heads = ("layer", "operator", "share", "cycles", "MACs", "cycles/MAC", "name")
    bars = [100 * share / max(shares) for share in shares]
    return Grid(Table("", heads, rows), bars=bars, bar_at=2)


def _history(snapshot: Snapshot, source: str, network: Network) -> tuple[Any, Grid | None]:
    """Return the figure over time, where a setting was measured twice, and the rows as a table."""
    places = [place for place in network.places if snapshot.source(place) == source]
    places.sort(key=lambda place: snapshot.times[place])
    latency = snapshot.cells("latency_us")
    lines: defaultdict[str, list[tuple[datetime, float]]] = defaultdict(list)
    for place in places:
        if latency[place]:
            lines[snapshot.label(place)].append((snapshot.times[place], latency[place] / 1000))
    repeated = {name: some for name, some in lines.items() if len(some) > 1}
    if not repeated:
        return None, None
    shown = places[: -_HISTORY - 1 : -1]
    title = f"Newest {len(shown)} of {len(places)} rows" if len(shown) < len(places) else "Rows"
    runs = [snapshot.cells("run")[place] for place in shown]
    links = [run_path(run) if run in snapshot.runs else None for run in runs]
    listed = Grid(table_of(title, shown, _history_columns(snapshot)), links)
    return history_figure(repeated, f"{text.verb(source)} latency", "ms"), listed


def _history_columns(snapshot: Snapshot) -> list[Column[int]]:
    cells = snapshot.cells
    return [
        Column("measured", lambda place: text.when(snapshot.times[place])),
        Column("configuration", snapshot.label),
        Column("station", lambda place: text.name(cells("station")[place])),
        Column("status", lambda place: str(cells("status")[place])),
        Column("latency ms", lambda place: text.number(cells("latency_us")[place], 3, per=1000)),
        Column("flash B", lambda place: text.number(cells("flash_total_bytes")[place])),
        Column(
            "kernels version", lambda place: text.name(snapshot.facts(place)["kernels_version"])
        ),
        Column("toolchain", lambda place: text.name(snapshot.facts(place)["toolchain"], 40)),
    ]


def _list(snapshot: Snapshot) -> dict[str, Any]:
    """Return a table per source: a line for each network."""
    lines: defaultdict[str, list[tuple[tuple[str, float], list[str], str]]] = defaultdict(list)
    columns = ("latency_us", "ops", "status", "parameters")
    latencies, ops, statuses, parameters = (snapshot.cells(name) for name in columns)
    for network in snapshot.networks.values():
        for source, places in snapshot.by_source(network.places).items():
            known = [place for place in places if latencies[place] is not None]
            newest = places[-1]
            facts = snapshot.facts(newest)
            boards = {snapshot.facts(place)["board"] for place in places}
            fastest = min((latencies[place] for place in known), default=None)
            slowest = max((latencies[place] for place in known), default=None)
            cells = [
                text.name(network.name),
                text.number(fastest, 3, per=1000),
                text.number(slowest, 3, per=1000),
                text.number(ops[newest], 2, per=1e6),
                text.number(parameters[newest]),
                text.name(facts["backbone"]),
                text.name(", ".join(sorted(boards))),
                str(len(places)),
                text.when(snapshot.times[newest]),
                str(statuses[newest]),
            ]
            order = (str(facts["backbone"] or ""), float(ops[newest] or 0))
            lines[source].append((order, cells, network.path))
    heads = ("network", "fastest ms", "slowest ms", "Mop", "parameters", "backbone", "boards",
             "rows", "newest", "status")  # fmt: skip
    sections = []
    for source in sorted(lines, reverse=True):
        some = sorted(lines[source], key=lambda line: line[0])
        table = Table("", heads, [cells for _, cells, _ in some])
        sections.append({"source": source, "grid": Grid(table, [path for *_, path in some])})
    return {"title": "Networks", "sections": sections}
