"""Rows as pandas frames and as files, read and written in chunks."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Column, ColumnElement, Select, Text, cast, select, type_coerce

from harness.errors import ConfigError, ResultsError
from harness.files import draft_of
from harness.results.record import APART, LayerCycles, Measurement, types_of
from harness.results.schema import FileText, SafeText, layer, measurement
from harness.strict import suggest

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("parquet", "csv")
LINES = 5000  # of a chunk

_ISO = "%Y-%m-%dT%H:%M:%S.%fZ"
_OF_ROW = ("key", "source", "board", "backbone", "model_name", "runtime", "kernels")
_DTYPES = {int: "Int64", float: "Float64", bool: "boolean", datetime: "datetime64[us, UTC]"}

Lines = Iterable[Sequence[Sequence[Any]]]
"""Chunks of rows, each a tuple; see `Store.lines`."""


def _tables() -> dict[str, dict[str, type]]:
    """Return the tables that can be read, each with its columns and their types."""
    row = {name: kind for name, kind in types_of(Measurement).items() if name not in APART}
    return {
        "measurements": row,
        "layers": {name: row[name] for name in _OF_ROW} | types_of(LayerCycles),
    }


def _columns(table: str, names: Sequence[str] | None) -> dict[str, type]:
    tables = _tables()
    if table not in tables:
        raise ResultsError(f"there is no table {table!r}", expected=" or ".join(tables))
    known = tables[table]
    for name in names or ():
        if name not in known:
            raise ResultsError(
                f"{table} have no column '{name}'{suggest(name, list(known))}",
                fix="docs/results.md lists the columns",
            )
    return {name: known[name] for name in names or known}


def query_lines(table: str, names: Sequence[str] | None = None) -> Select[Any]:
    """Return the query of a table's lines, in the order in which rows were stored.

    Raises:
        ResultsError: Unknown table or column.
    """
    wanted = _columns(table, names)
    if table == "measurements":
        chosen = [measurement.c[name] for name in wanted]
        return select(*map(_cell, chosen)).order_by(measurement.c.id)
    own = types_of(LayerCycles)
    chosen = [layer.c[name] if name in own else measurement.c[name] for name in wanted]
    joined = select(*map(_cell, chosen)).join_from(measurement, layer)
    return joined.order_by(measurement.c.id, layer.c.position)


def _cell(column: Column[Any]) -> ColumnElement[Any]:
    if isinstance(column.type, JSON):
        return cast(column, Text)
    return type_coerce(column, FileText) if isinstance(column.type, SafeText) else column


def frame_of(lines: Lines, table: str, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Return lines as a frame with nullable columns."""
    import pandas as pd

    kinds = _columns(table, names)

    def frame(chunk: Sequence[Sequence[Any]]) -> pd.DataFrame:
        values = list(zip(*chunk, strict=True)) or [()] * len(kinds)
        return pd.DataFrame(
            {
                name: pd.Series(list(cells), dtype=_DTYPES.get(kind, "string"))
                for (name, kind), cells in zip(kinds.items(), values, strict=True)
            }
        )

    found = [frame(chunk) for chunk in lines]
    return pd.concat(found, ignore_index=True) if found else frame(())


def write_lines(lines: Lines, path: Path, table: str) -> int:
    """Write lines to `path` and return how many they are; see `Store.export`."""
    chosen = path.suffix.lstrip(".").lower()
    if chosen not in FORMATS:
        raise ConfigError(
            f"results cannot be exported as {chosen or 'a file without suffix'!r}",
            where=str(path),
            expected=" or ".join(FORMATS),
            fix="name a file ending in .parquet or .csv",
        )
    write = _write_csv if chosen == "csv" else _write_parquet
    _columns(table, None)
    with draft_of(path, what="export", error=ResultsError) as draft:
        return write(lines, draft, table)


def _write_csv(lines: Lines, path: Path, table: str) -> int:
    kinds = _columns(table, None)
    times = [index for index, kind in enumerate(kinds.values()) if kind is datetime]
    count = 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(kinds)
        for chunk in lines:
            for values in chunk:
                cells = list(values)
                for index in times:
                    cells[index] = cells[index].strftime(_ISO)
                writer.writerow(cells)
            count += len(chunk)
    return count


def _write_parquet(lines: Lines, path: Path, table: str) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ResultsError(
            "writing Parquet needs pyarrow, which is not installed",
            fix="pip install 'tinyml-harness[export]', or name a file ending in .csv",
        ) from None

    # pandas reads its own types back: integers with gaps stay integers.
    schema = pa.Schema.from_pandas(frame_of((), table), preserve_index=False)
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        for chunk in lines:
            columns = zip(schema, zip(*chunk, strict=True), strict=True)
            arrays = [pa.array(values, type=field.type) for field, values in columns]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(chunk)
    return count
