"""What a run made worse, better, new: the findings of the gate as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.report import text
from harness.report.gate import FINDING, FINDING_WHERE
from harness.report.site.data import Snapshot
from harness.report.site.html import Grid
from harness.report.table import Column, table_of
from harness.results.gate import Finding, Judgement, Word, judge

_LISTED = 200  # findings of a kind that a page lists

_KINDS: tuple[tuple[str, tuple[Word, ...]], ...] = (
    ("Worse", ("worse",)),
    ("Missing", ("missing",)),
    ("Not comparable", ("changed",)),
    ("Undecided", ("undecided",)),
    ("Better", ("better", "mended")),
    ("New", ("new",)),
)
"""Headings, and the verdicts below each; failures have a table of their own, and figures that
stayed the same are counted only."""


def _interval(one: Finding) -> str:
    if one.low is None or one.high is None:
        return text.UNKNOWN
    return f"{100 * (one.low - 1):+.2f} to {100 * (one.high - 1):+.2f} %"


def _earlier(one: Finding) -> str:
    """Return the latencies of the nights before, in ms, the newest last."""
    return ", ".join(f"{value / 1000:,.3f}" for value in one.earlier[-3:]) or text.UNKNOWN


_BY_HEAD = {column.head: column for column in (*FINDING, *FINDING_WHERE)}
_COLUMNS: tuple[Column[Finding], ...] = (
    *(_BY_HEAD[head] for head in ("model", "change", "figure", "board", "configuration")),
    *(_BY_HEAD[head] for head in ("before", "after")),
    Column("interval", _interval),
    *(_BY_HEAD[head] for head in ("verdict", "station")),
    Column("nights before, ms", _earlier),
    _BY_HEAD["why"],
)


def counts(snapshot: Snapshot, run: str) -> Mapping[str, int]:
    """Return the findings of a run by verdict, from when its page was written last."""
    if run not in snapshot.memory:
        judged(snapshot, run)
    return snapshot.memory[run]


def judged(snapshot: Snapshot, run: str) -> Judgement:
    """Return the judgement of a run."""
    if run not in snapshot.judgements:
        found = snapshot.judgements[run] = judge(snapshot.store, run, snapshot.policy)
        snapshot.memory[run] = dict(found.counts)
    return snapshot.judgements[run]


def finding_grids(
    findings: Sequence[Finding], links: Mapping[str, str]
) -> Iterator[tuple[str, str, Grid]]:
    """Yield heading, source and table of each kind of finding; `links` are by name of a model."""
    sources = dict.fromkeys(one.source for one in findings)
    for heading, words in _KINDS:
        for source in sources:
            own = [one for one in findings if one.verdict in words and one.source == source]
            shown = own[:_LISTED]
            cut = f"{len(shown)} of {len(own)} are listed." if len(shown) < len(own) else ""
            if own:
                columns = [
                    column
                    for column in _COLUMNS
                    if any(column.text(one) != text.UNKNOWN for one in shown)
                ]
                targets = [links.get(one.model) for one in shown]
                yield heading, source, Grid(table_of("", shown, columns), targets, note=cut)
