"""Rows as columns: a record of each of a hundred thousand takes longer than the answer."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.results.identity import derived, facts_of
from harness.results.record import Measurement


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of rows, the derived ones among them.

    Attributes:
        cells: By column, each of shape (rows,): numbers, or Python objects. Lists and mappings are
            JSON text. Times and booleans are as the database has them: they compare within a table.
        configurations: Facts by the values of the column ``configuration``, which is always there.
        places: Which cells are this table's, in which order; None for all.
    """

    cells: Mapping[str, npt.NDArray[Any]]
    configurations: Mapping[int, Mapping[str, Any]]
    places: npt.NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.cells["configuration"] if self.places is None else self.places)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        cells = self.cells[name]
        return cells if self.places is None else cells[self.places]

    def take(self, places: npt.NDArray[Any]) -> Table:
        """Return the rows at these places, or where a mask is true; nothing is copied yet."""
        chosen = np.flatnonzero(places) if places.dtype == bool else places
        if self.places is not None:
            chosen = self.places[chosen]
        return Table(self.cells, self.configurations, chosen)

    def facts(self, name: str) -> list[Any]:
        """Return a fact of each row's configuration."""
        known = {number: facts[name] for number, facts in self.configurations.items()}
        return [known[number] for number in self["configuration"].tolist()]

    def numbers(self, *names: str) -> npt.NDArray[np.float64]:
        """Return columns as floats, shape (rows, columns); NaN where a value is not known."""
        return np.array([self[name] for name in names], dtype=float).T

    def lines(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Yield these cells of each row."""
        return zip(*(self[name].tolist() for name in names), strict=True)


def table_of(rows: Iterable[Measurement] | Table, columns: Collection[str]) -> Table:
    """Return `columns` of the rows, and ``configuration``; a table is returned as it is."""
    if isinstance(rows, Table):
        return rows
    listed = [(row, derived(row)) for row in rows]
    cells = {
        name: column([_cell(more.get(name, getattr(row, name, None))) for row, more in listed])
        for name in ("configuration", *columns)
    }
    return Table(cells, {more["configuration"]: facts_of(row) for row, more in listed})


def column(cells: Sequence[Any]) -> npt.NDArray[Any]:
    """Return cells as an array: of numbers if all are, else of objects."""
    if {*map(type, cells)} in ({int}, {float}):
        return np.array(cells)
    return np.fromiter(cells, dtype=object, count=len(cells))


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, tuple | Mapping) else value
