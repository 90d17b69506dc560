"""The page of searches: a line for each, and what it found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.report import text
from harness.report.search import accuracy_table, cost_table, title
from harness.report.search_compare import RUN
from harness.report.site.build import Page
from harness.report.site.data import slug
from harness.report.site.html import Grid
from harness.report.table import Table, table_of
from harness.search.record import FILE, SearchRun, read_run


def search_page(folder: Path) -> Iterator[Page]:
    """Yield the page of all finished searches in `folder` and its folders."""
    files = sorted(folder.rglob(FILE))
    hashed = hashlib.sha256()
    for file in files:
        hashed.update(f"{file.relative_to(folder)} {file.stat().st_mtime_ns}\n".encode())
    yield Page(
        "searches.html",
        "searches.html",
        hashed.hexdigest(),
        lambda _rows: _searches(folder, files),
    )


def _searches(folder: Path, files: list[Path]) -> dict[str, Any]:
    runs: list[tuple[str, SearchRun]] = []
    unreadable = []
    for file in files:
        name = str(file.parent.relative_to(folder))
        try:
            runs.append((name, read_run(file)))
        except HarnessError as failure:
            unreadable.append((text.name(name), failure.what))
    groups: dict[str, list[tuple[str, SearchRun]]] = {}
    for name, run in runs:
        source = run.measured.source if run.measured else "not measured"
        groups.setdefault(source, []).append((name, run))
    return {
        "title": "Searches",
        "groups": [
            (source, _list(some), [_one(name, run) for name, run in some])
            for source, some in sorted(groups.items(), reverse=True)
        ],
        "unreadable": unreadable,
    }


def _list(runs: list[tuple[str, SearchRun]]) -> Grid:
    table = table_of("", [run for _, run in runs], RUN)
    rows = [[text.name(name), *cells] for (name, _), cells in zip(runs, table.rows, strict=True)]
    links = [f"searches.html#{slug(name)}" for name, _ in runs]
    return Grid(Table("", ("folder", *table.columns), rows), links)


def _one(name: str, run: SearchRun) -> dict[str, Any]:
    return {
        "id": slug(name),
        "name": text.name(name),
        "title": title(run),
        "costs": [(text.name(one.board), Grid(cost_table(one, ""))) for one in run.boards],
        "accuracy": Grid(accuracy_table(run)),
    }
