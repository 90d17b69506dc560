"""The list of campaigns, and a page for each: verdicts, fits, plots, networks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from harness.report import text
from harness.report.site.build import Page, Rows
from harness.report.site.data import Snapshot, campaign_path
from harness.report.site.figures import latency_figure
from harness.report.site.html import Grid
from harness.report.site.nights import runs_grid
from harness.report.table import Table
from harness.report.tables import fit_table, measurement_table
from harness.results.record import Status

_LISTED = 1000  # rows of a campaign that its page lists, and loads


def campaign_pages(snapshot: Snapshot) -> Iterator[Page]:
    """Yield the list and the page of each campaign."""
    yield Page(
        "campaigns.html",
        "campaigns.html",
        snapshot.everything,
        lambda _rows: _list(snapshot),
    )
    for name, places in snapshot.campaigns.items():
        yield _page(snapshot, name, places)


def _page(snapshot: Snapshot, name: str | None, places: Sequence[int]) -> Page:
    jobs = snapshot.best(places, by="key")
    runs = [run for run in snapshot.runs.values() if run.campaign == name]
    shown = sorted(jobs, key=lambda place: _order(snapshot, place))[:_LISTED]
    return Page(
        campaign_path(name),
        "campaign.html",
        f"{snapshot.digest(places)} {runs} {snapshot.policy}",
        lambda rows: _campaign(snapshot, name, places, jobs, shown, rows),
        shown,
    )


def _order(snapshot: Snapshot, place: int) -> tuple[Any, ...]:
    facts = snapshot.facts(place)
    return (
        snapshot.cells("status")[place] != Status.INVALID.value,  # failures first
        str(facts["backbone"] or ""),
        snapshot.cells("ops")[place] or 0,
        facts["board"],
        snapshot.cells("key")[place],
    )


def _campaign(
    snapshot: Snapshot,
    name: str | None,
    places: Sequence[int],
    jobs: Sequence[int],
    shown: Sequence[int],
    rows: Rows,
) -> dict[str, Any]:
    sections = []
    for source, own in snapshot.by_source(jobs).items():
        fits, notes = _fits(snapshot, own)
        listed = [place for place in shown if place in rows and snapshot.source(place) == source]
        table = measurement_table([rows[place] for place in listed], title="Networks")
        cut = f"{len(listed):,} of {len(own):,} jobs are listed." if len(listed) < len(own) else ""
        models = {snapshot.facts(place)["timing_model"] for place in own} - {None}
        sections.append(
            {
                "source": source,
                "by": ", ".join(text.name(model) for model in sorted(models)),
                "fits": Grid(fit_table(fits)) if fits else None,
                "notes": notes,
                "plots": _plots(snapshot, own, fits),
                "networks": Grid(table, [snapshot.links[place] for place in listed], note=cut),
            }
        )
    times = [snapshot.times[place] for place in places]
    return {
        "title": "Without a campaign" if name is None else text.name(name),
        "facts": [
            ("jobs", text.number(len(jobs))),
            *_counts(snapshot, jobs),
            ("rows", text.number(len(places))),
            ("first", text.when(min(times))),
            ("newest", text.when(max(times))),
        ],
        "runs": runs_grid(snapshot, name),
        "sections": sections,
        "figures": any(section["plots"] for section in sections),
    }


def _counts(snapshot: Snapshot, places: Sequence[int]) -> list[tuple[str, str]]:
    count = Counter(snapshot.cells("status")[place] for place in places)
    return [(status.value, text.number(count[status.value])) for status in Status]


def _fits(snapshot: Snapshot, places: Sequence[int]) -> tuple[list[Any], list[str]]:
    """Return the fits of rows with a backbone, and why a configuration has none."""
    from harness.fit.regress import fit_all

    sampled = [place for place in places if snapshot.facts(place)["backbone"] is not None]
    if not sampled:
        return [], []
    fits, failures = fit_all(snapshot.take(sampled))
    notes = [
        f"No fit of {text.name(failure.fingerprint.backbone)} on "
        f"{text.name(failure.fingerprint.board)} ({failure.rows} rows): {failure.error.what}."
        for failure in failures
    ]
    return fits, notes


def _plots(snapshot: Snapshot, places: Sequence[int], fits: Sequence[Any]) -> list[Any]:
    boards: defaultdict[str, list[int]] = defaultdict(list)
    for place in places:
        if (
            snapshot.cells("status")[place] != Status.INVALID.value
            and snapshot.cells("ops")[place]
            and snapshot.cells("latency_us")[place]
        ):
            boards[snapshot.facts(place)["board"]].append(place)
    return [
        (text.name(board), latency_figure(snapshot, boards[board], fits, "../"))
        for board in sorted(boards)
    ]


def _list(snapshot: Snapshot) -> dict[str, Any]:
    lines = []
    for name, places in snapshot.campaigns.items():
        jobs = snapshot.best(places, by="key")
        newest = max(snapshot.times[place] for place in places)
        facts = [snapshot.facts(place) for place in places]
        cells = [
            "without a campaign" if name is None else text.name(name),
            text.when(newest),
            ", ".join(sorted({fact["source"] for fact in facts})),
            text.name(", ".join(sorted({fact["board"] for fact in facts}))),
            text.number(len(jobs)),
            *(count for _, count in _counts(snapshot, jobs)),
            text.number(len(places)),
        ]
        lines.append((newest, cells, campaign_path(name)))
    lines.sort(key=lambda line: line[0], reverse=True)
    heads = ("campaign", "newest", "source", "boards", "jobs", *Status, "rows")
    table = Table("", heads, [cells for _, cells, _ in lines])
    return {"title": "Campaigns", "grid": Grid(table, [path for *_, path in lines])}
