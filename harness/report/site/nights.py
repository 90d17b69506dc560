"""A page for each run, and the start page: the newest run and those before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from harness.report import text
from harness.report.site.build import Page, Rows
from harness.report.site.data import Snapshot, campaign_path, run_path
from harness.report.site.findings import counts, finding_grids, judged
from harness.report.site.html import Grid
from harness.report.site.stations import health_grid
from harness.report.table import Column, Table, table_of
from harness.report.tables import measurement_table
from harness.results.gate import Judgement
from harness.results.record import Measurement, Run, StationHealth, Status

_LISTED = 500  # rows of a run that its page lists
_NEWEST = 50


@dataclass(frozen=True, slots=True)
class _Night:
    """What is known of a run, and the places of its rows."""

    run: Run
    health: Sequence[StationHealth]
    places: Sequence[int]
    earlier: Run | None  # of the same campaign; no later one, so that the page stays as it is

    @property
    def rows(self) -> list[int]:
        """The places of the rows that are listed."""
        return list(self.places[:_LISTED])


def night_pages(snapshot: Snapshot) -> Iterator[Page]:
    """Yield the page of each run, then the start page, which is the newest run's as well."""
    nights = list(_nights(snapshot))
    digests = [_digest(snapshot, night) for night in nights]
    for night, digest in zip(nights, digests, strict=True):
        yield _page(snapshot, night, run_path(night.run.id), digest)
    if not nights:
        digest = snapshot.everything
        yield Page("index.html", "overview.html", digest, lambda _rows: _overview(snapshot))
        return
    newest, listed = nights[0], [night.run for night in nights]
    yield _page(snapshot, newest, "index.html", "".join(digests), listed)


def _nights(snapshot: Snapshot) -> Iterator[_Night]:
    """Yield the runs, newest first."""
    health: dict[str, list[StationHealth]] = {}
    for found in snapshot.store.health():
        health.setdefault(found.run, []).append(found)
    runs = snapshot.runs
    for run in runs.values():
        own = [other.id for other in runs.values() if other.campaign == run.campaign]
        at = own.index(run.id)
        yield _Night(
            run,
            health.get(run.id, ()),
            snapshot.by_run.get(run.id, ()),
            runs[own[at + 1]] if at + 1 < len(own) else None,
        )


def _digest(snapshot: Snapshot, night: _Night) -> str:
    run = night.run
    earlier = night.earlier and night.earlier.id
    # What it is judged by; the rows of earlier nights do not change.
    accepted = [
        other.id
        for other in snapshot.runs.values()
        if other.campaign == run.campaign
        and other.accepted_at is not None
        and other.started_at < run.started_at
    ]
    judged_by = f"{accepted[:1]} {snapshot.policy}"
    return f"{run} {night.health} {earlier} {judged_by} {snapshot.digest(night.places)}"


def _page(
    snapshot: Snapshot, night: _Night, path: str, digest: str, listed: Sequence[Run] = ()
) -> Page:
    return Page(
        path,
        "night.html",
        digest,
        lambda rows: {
            **_night(snapshot, night, rows),
            "nights": _list(snapshot, listed),
        },
        night.rows,
    )


def _night(snapshot: Snapshot, night: _Night, loaded: Rows) -> dict[str, Any]:
    run = night.run
    places = [place for place in night.rows if place in loaded]
    rows = [loaded[place] for place in places]
    links = {row.key: snapshot.links[place] for place, row in zip(places, rows, strict=True)}
    failed = [row for row in rows if row.status is not Status.VALID]
    judgement = judged(snapshot, run.id)
    against = judgement.baseline
    sources = []
    for source in dict.fromkeys(row.source for row in rows):
        own = [row for row in rows if row.source is source]
        own.sort(key=lambda row: (row.backbone or "", row.ops or 0, row.board))
        grid = Grid(measurement_table(own, title="Rows"), [links[row.key] for row in own])
        sources.append((source.value, grid))
    cut = len(night.places) - len(rows)
    return {
        "title": f"{text.name(run.campaign)}, {text.when(run.started_at)}",
        "look": "failed" if judgement.regressed else run.outcome or "running",
        "verdict": _verdict(run, judgement),
        "baseline": against and (run_path(against.id), text.when(against.started_at)),
        "findings": list(finding_grids(judgement.findings, snapshot.named)),
        "same": text.number(judgement.counts.get("same", 0)),
        "permanent": run_path(run.id),
        "campaign": (campaign_path(run.campaign), text.name(run.campaign)),
        "earlier": night.earlier
        and (run_path(night.earlier.id), text.when(night.earlier.started_at)),
        "counts": _counts(run),
        "facts": _facts(run),
        "failed": Grid(table_of("", failed, _FAILED), [links[row.key] for row in failed]),
        "stations": Grid(_stations(run)),
        "notes": [text.name(note, 400) for note in run.notes],
        "health": health_grid(night.health),
        "sources": sources,
        "cut": cut,
    }


def _verdict(run: Run, judgement: Judgement) -> str:
    words = []
    failing = Counter(one.verdict for one in judgement.findings if one.fails)
    if failing:
        counts = ", ".join(f"{count:,} {word}" for word, count in failing.items())
        words.append(f"The gate fails: {counts}.")
    elif judgement.findings:
        words.append("The gate passes.")
    if run.outcome is None:
        words.append("The run has not ended: it is going on, or was killed.")
    if run.outcome == "interrupted":
        words.append("The run was interrupted.")
    if run.invalid:
        words.append(f"Failed: {text.number(run.invalid)}.")
    if run.not_run:
        words.append(f"Not run: {text.number(run.not_run)}.")
    failed = [text.name(name) for name, facts in sorted(run.stations.items()) if facts.get("code")]
    if failed:
        words.append(f"Stations that failed: {', '.join(failed)}.")
    return " ".join(words) or "Nothing was measured."


def _counts(run: Run) -> list[tuple[str, str]]:
    counts = (
        ("planned", run.planned),
        ("valid", run.valid),
        ("degraded", run.degraded),
        ("invalid", run.invalid),
        ("not run", run.not_run),
        ("measured before", run.skipped),
        ("measured elsewhere", run.elsewhere),
    )
    optional = ("degraded", "measured before", "measured elsewhere")
    return [(name, text.number(count)) for name, count in counts if count or name not in optional]


def _facts(run: Run) -> list[tuple[str, str]]:
    repeated = {"": "nothing", "all": "every job", "some": "some jobs"}
    known = (
        ("run", text.name(run.id)),
        ("started", text.when(run.started_at)),
        ("took", _duration(run.ended_at - run.started_at if run.ended_at else None)),
        ("measured again", repeated[run.repeat]),
        ("host", text.name(run.host)),
        ("user", text.name(run.user)),
        ("harness", text.name(run.harness_version)),
        ("revision", text.name(run.git_revision, 20)),
        ("accepted as baseline", text.when(run.accepted_at)),
        ("accepted by", text.name(run.accepted_by)),
        ("because", text.name(run.accepted_why, 200)),
    )
    return [pair for pair in known if pair[1] != text.UNKNOWN]


def _duration(time: timedelta | None) -> str:
    if time is None:
        return text.UNKNOWN
    minutes, seconds = divmod(round(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


_FAILED: tuple[Column[Measurement], ...] = (
    Column("network", lambda row: text.name(row.model_name)),
    Column("status", lambda row: row.status.value),
    Column("board", lambda row: text.name(row.board)),
    Column("station", lambda row: text.name(row.station)),
    Column("issues", lambda row: " ".join(row.issues)),
    Column("what happened", lambda row: text.name(row.message, 300)),
)


def _failed_first(item: tuple[str, Mapping[str, Any]]) -> tuple[bool, str]:
    return not item[1].get("code"), item[0]


def _stations(run: Run) -> Table:
    """Return a line per station: how many rows it gave, and why it gave no more."""
    lines = [
        (
            text.name(name),
            "failed" if facts.get("code") else "ok",
            text.number(facts.get("rows")),
            text.number(facts.get("left")),
            text.name(facts.get("code")),
            text.name(facts.get("what"), 300),
        )
        for name, facts in sorted(run.stations.items(), key=_failed_first)
    ]
    return Table("", ("station", "state", "rows", "not run", "code", "what happened"), lines)


_FIRST: tuple[Column[Run], ...] = (
    Column("night", lambda run: text.when(run.started_at)),
    Column("campaign", lambda run: text.name(run.campaign)),
    Column("outcome", lambda run: run.outcome or "running"),
)
_LAST: tuple[Column[Run], ...] = (
    Column("valid", lambda run: text.number(run.valid)),
    Column("degraded", lambda run: text.number(run.degraded)),
    Column("invalid", lambda run: text.number(run.invalid)),
    Column("not run", lambda run: text.number(run.not_run)),
    Column(
        "stations that failed",
        lambda run: text.name(
            ", ".join(name for name, facts in sorted(run.stations.items()) if facts.get("code")), 80
        ),
    ),
    Column("baseline", lambda run: "accepted" if run.accepted_at else text.UNKNOWN),
    Column("host", lambda run: text.name(run.host)),
)


def _list(snapshot: Snapshot, runs: Sequence[Run]) -> Grid:
    def counted(word: str) -> Column[Run]:
        return Column(word, lambda run: text.number(counts(snapshot, run.id).get(word, 0)))

    words = ("worse", "missing", "better", "new")
    columns = (*_FIRST, *map(counted, words), *_LAST)
    return Grid(table_of("", runs, columns), [run_path(run.id) for run in runs])


def runs_grid(snapshot: Snapshot, campaign: str | None) -> Grid:
    """Return the runs of a campaign."""
    return _list(snapshot, [run for run in snapshot.runs.values() if run.campaign == campaign])


def _overview(snapshot: Snapshot) -> dict[str, Any]:
    """Return what the start page shows of a store without runs."""
    cells = snapshot.cells
    statuses = cells("status")
    count = Counter(statuses)
    newest = sorted(range(len(statuses)), key=lambda place: snapshot.times[place], reverse=True)
    newest = newest[:_NEWEST]
    columns: list[Column[int]] = [
        Column("network", lambda place: text.name(cells("model_name")[place])),
        Column("latency ms", lambda place: text.number(cells("latency_us")[place], 3, per=1000)),
        Column("status", lambda place: str(statuses[place])),
        Column("source", snapshot.source),
        Column("configuration", snapshot.label),
        Column("campaign", lambda place: text.name(cells("campaign")[place])),
        Column("measured", lambda place: text.when(snapshot.times[place])),
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
