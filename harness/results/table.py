"""Rows as columns: a record of each of a hundred thousand takes longer than the answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.results.record import Measurement

Table: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Cells by column, each of shape (rows,), as Python objects; lists and mappings as JSON text.

Times and booleans are as the database has them: they compare with those of the same table.
"""


def table_of(rows: Iterable[Measurement] | Table, columns: Iterable[str]) -> Table:
    """Return `columns` of the rows; a table is returned as it is."""
    if isinstance(rows, Mapping):
        return rows
    listed = list(rows)
    return {
        name: column([_cell(getattr(row, name)) for row in listed])
        for name in dict.fromkeys(columns)
    }


def column(cells: Sequence[Any]) -> npt.NDArray[Any]:
    """Return cells as an array of objects, shape (cells,)."""
    return np.fromiter(cells, dtype=object, count=len(cells))


def take(table: Table, places: Any) -> Table:
    """Return the rows at these places, or where a mask is true."""
    return {name: cells[places] for name, cells in table.items()}


def numbers(table: Table, *names: str) -> npt.NDArray[np.float64]:
    """Return columns as floats, shape (rows, columns); NaN where a value is not known."""
    return np.array([table[name] for name in names], dtype=float).T


def lines(table: Table, *names: str) -> Iterator[tuple[Any, ...]]:
    """Return the cells of each row."""
    return zip(*(table[name].tolist() for name in names), strict=True)


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (tuple, Mapping)) else value
