"""A store as the site shows it: rows as columns, by network, campaign and setting.

Rows are named by their places in one table. Whole records, with layers, are loaded for the pages
that are written and for no others.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.fit.select import COLUMNS as FIT_COLUMNS
from harness.report import text
from harness.results.equivalence import IDENTITY
from harness.results.record import Measurement, Run, Source
from harness.results.store import EVERYTHING, Filter, Store
from harness.results.table import Table

if TYPE_CHECKING:
    from harness.results.gate import Judgement
    from harness.results.policy import Policy

COLUMNS = tuple(
    dict.fromkeys(
        (
            *FIT_COLUMNS,
            "created_at",
            "campaign",
            "station",
            "model_name",
            "seed",
            "macs",
            "cycles",
            "bit_exact",
            "issues",
            "run",
        )
    )
)
"""Columns of all rows that are held in memory."""

SETTING = tuple(name for name in IDENTITY if name != "model")
"""Facts of a configuration that versions do not change."""

_RANK = {"valid": 2, "degraded": 1, "invalid": 0}
_BATCH = 500
_PLAIN = re.compile(r"[0-9A-Za-z-]{1,60}")


@dataclass(frozen=True, slots=True)
class Network:
    """A network: the address of its page, its newest name, and the places of its rows."""

    path: str
    name: str
    places: Sequence[int]


@dataclass(frozen=True)
class Snapshot:
    """The rows of a store at one moment."""

    store: Store
    table: Table
    times: Sequence[datetime] = field(repr=False)
    policy: Policy | None = None
    judgements: dict[str, Judgement] = field(default_factory=dict, repr=False)  # by id of the run
    memory: dict[str, dict[str, int]] = field(default_factory=dict, repr=False)
    """Findings of each run by verdict; kept from one writing to the next."""

    @classmethod
    def of(cls, store: Store, policy: Policy | None = None) -> Snapshot:
        """Read the columns of all rows; runs are judged by `policy`."""
        table = store.table(EVERYTHING, COLUMNS)
        return cls(store, table, [_moment(cell) for cell in table["created_at"].tolist()], policy)

    def cells(self, name: str) -> list[Any]:
        """Return a column of all rows as plain values."""
        if name not in self._columns:
            self._columns[name] = self.table[name].tolist()
        return self._columns[name]

    @cached_property
    def _columns(self) -> dict[str, list[Any]]:
        return {}

    @cached_property
    def configurations(self) -> list[int]:
        """Return the number of the configuration of each row."""
        return self.cells("configuration")

    def facts(self, place: int) -> Mapping[str, Any]:
        """Return the configuration of a row."""
        return self.table.configurations[self.configurations[place]]

    def source(self, place: int) -> str:
        """Return what counted the cycles of a row."""
        return str(self.facts(place)["source"])

    @cached_property
    def settings(self) -> Mapping[int, tuple[Any, ...]]:
        """Return the setting of each configuration, which is it without its versions."""
        return {
            number: tuple(facts[name] for name in SETTING)
            for number, facts in self.table.configurations.items()
        }

    @cached_property
    def networks(self) -> Mapping[str, Network]:
        """Return the networks by identity: an architecture's, else that of the file's content."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        names = ("network", "model_sha256")
        for place, (network, sha256) in enumerate(
            zip(*(self.cells(name) for name in names), strict=True)
        ):
            if network or sha256:
                found[network or sha256].append(place)
        named = self.cells("model_name")
        return {
            identity: Network(
                f"network/{identity[:16]}.html",
                next((named[place] for place in reversed(places) if named[place]), ""),
                places,
            )
            for identity, places in found.items()
        }

    @cached_property
    def named(self) -> Mapping[str, str]:
        """Return the address of a network's page by the newest name of its model."""
        return {network.name: network.path for network in self.networks.values()}

    @cached_property
    def links(self) -> Sequence[str | None]:
        """Return the address of the page of each row's network."""
        found: list[str | None] = [None] * len(self.table)
        for network in self.networks.values():
            for place in network.places:
                found[place] = network.path
        return found

    @cached_property
    def runs(self) -> Mapping[str, Run]:
        """Return the runs by id, newest first."""
        return {run.id: run for run in self.store.runs()}

    @cached_property
    def by_run(self) -> Mapping[str, Sequence[int]]:
        """Return the places of the rows that each run stored."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for place, run in enumerate(self.cells("run")):
            if run is not None:
                found[run].append(place)
        return found

    @cached_property
    def campaigns(self) -> Mapping[str | None, Sequence[int]]:
        """Return the places of each campaign's rows."""
        found: defaultdict[str | None, list[int]] = defaultdict(list)
        for place, name in enumerate(self.cells("campaign")):
            found[name].append(place)
        return found

    def best(self, places: Iterable[int], *, by: str = "setting") -> list[int]:
        """Return a row of each ``setting`` and model, or of each job (``key``).

        Usable rows come before failed ones, valid before degraded if they are of one job, and the
        newest of these.
        """
        keys, statuses = self.cells("key"), self.cells("status")
        models = self.cells("model_sha256")
        found: dict[object, int] = {}
        ranks: dict[object, tuple[int, datetime]] = {}
        for place in places:
            if by == "key":
                subject: object = keys[place]
                rank = _RANK[statuses[place]]
            else:
                subject = models[place], self.settings[self.configurations[place]]
                rank = min(1, _RANK[statuses[place]])
            mine = (rank, self.times[place])
            if subject not in found or mine >= ranks[subject]:
                found[subject], ranks[subject] = place, mine
        return sorted(found.values())

    def digest(self, places: Iterable[int]) -> str:
        """Return a hash that changes when one of these rows does, or there are others."""
        marks = self._marks
        return hashlib.sha256("".join([marks[place] for place in places]).encode()).hexdigest()

    @cached_property
    def everything(self) -> str:
        """Return the digest of all rows."""
        return self.digest(range(len(self.table)))

    @cached_property
    def _marks(self) -> Sequence[str]:
        columns = map(self.cells, ("key", "status", "created_at"))
        return [f"{key} {status} {made}\n" for key, status, made in zip(*columns, strict=True)]

    def label(self, place: int) -> str:
        """Return the setting of a row in one line."""
        number = self.configurations[place]
        if number not in self._labels:
            self._labels[number] = setting_text(self.table.configurations[number])
        return self._labels[number]

    @cached_property
    def _labels(self) -> dict[int, str]:
        return {}

    def load(self, places: Collection[int], *, layers: bool) -> dict[int, Measurement]:
        """Return whole rows by place, without their logs."""
        keys = self.cells("key")
        wanted = {(keys[place], self.times[place]): place for place in places}
        found: dict[int, Measurement] = {}
        # In the order of time, so that each query can leave out what is older and newer.
        ordered = sorted(wanted, key=lambda row: row[1])
        for first in range(0, len(ordered), _BATCH):
            some = ordered[first : first + _BATCH]
            where = Filter(
                key=[key for key, _ in some],
                since=some[0][1],
                until=some[-1][1] + timedelta(microseconds=1),
            )
            for row in self.store.stream(where, with_layers=layers):
                place = wanted.get((row.key, row.created_at))
                if place is not None:
                    found[place] = row
        return found

    def by_source(self, places: Iterable[int]) -> dict[str, list[int]]:
        """Return places by what counted the cycles, hardware first; never mix the two."""
        found: dict[str, list[int]] = {source.value: [] for source in Source}
        for place in places:
            found[self.source(place)].append(place)
        return {source: some for source, some in found.items() if some}

    def take(self, places: Sequence[int]) -> Table:
        """Return the rows at these places."""
        return self.table.take(np.array(places, dtype=np.intp))


def slug(name: str, limit: int = 40) -> str:
    """Return a file name for any name; different names have different ones."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    plain = "-".join(part for part in plain.split("-") if part)[:limit]
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain or 'x'}-{mark}"


def campaign_path(name: str | None) -> str:
    """Return the address of the page of a campaign; None: of the rows that belong to none."""
    return f"campaign/{'none' if name is None else slug(name)}.html"


def run_path(run: str) -> str:
    """Return the address of the page of a run."""
    return f"run/{run if _PLAIN.fullmatch(run) else slug(run)}.html"


def setting_text(facts: Mapping[str, Any]) -> str:
    """Return board, runtime, kernels, level and extra flags of a configuration in one line."""
    words = [facts["board"], facts["runtime"], facts["kernels"], facts["optimization"]]
    words += [*facts["flags"], "shared image" if facts["one_firmware"] else None]
    return " · ".join(text.name(str(word), 40) for word in words if word)


def _moment(cell: Any) -> datetime:
    """Return a time as the database has it, in UTC."""
    made = cell if isinstance(cell, datetime) else datetime.fromisoformat(str(cell))
    return made.replace(tzinfo=UTC) if made.tzinfo is None else made.astimezone(UTC)
