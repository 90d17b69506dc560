"""Rows as pandas frames and as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import ResultsError
from harness.files import draft_of
from harness.results.record import APART, LayerCycles, Measurement, types_of

FORMATS = ("parquet", "csv")
TABLES = ("measurements", "layers")

_ISO = "%Y-%m-%dT%H:%M:%S.%fZ"
_OF_ROW = ("key", "source", "board", "backbone", "model_name", "runtime", "kernels")
_DTYPES = {int: "Int64", float: "Float64", bool: "boolean"}


def measurements_frame(rows: Sequence[Measurement]) -> pd.DataFrame:
    """Return one line per row: nullable columns, nested values as JSON text, no layers or log."""
    kinds = types_of(Measurement).items()
    return pd.DataFrame(
        {name: _series(rows, name, kind) for name, kind in kinds if name not in APART}
    )


def layers_frame(rows: Sequence[Measurement]) -> pd.DataFrame:
    """Return one line per layer of every row, with the row's key, board, backbone and runtime."""
    rows_of = [row for row in rows for _ in row.layers]
    layers = [layer for row in rows for layer in row.layers]
    columns = {name: _series(rows_of, name, str) for name in _OF_ROW}
    columns |= {name: _series(layers, name, kind) for name, kind in types_of(LayerCycles).items()}
    return pd.DataFrame(columns)


def export_rows(rows: Sequence[Measurement], path: Path, table: str = "measurements") -> int:
    """Write `rows` to `path`; see `Store.export`."""
    chosen = path.suffix.lstrip(".").lower()
    if chosen not in FORMATS:
        raise ResultsError(
            f"results cannot be exported as {chosen or 'a file without suffix'!r}",
            where=str(path),
            expected=" or ".join(FORMATS),
            fix="name a file ending in .parquet or .csv",
        )
    if table not in TABLES:
        raise ResultsError(f"there is no table {table!r}", expected=" or ".join(TABLES))
    frame = measurements_frame(rows) if table == "measurements" else layers_frame(rows)
    with draft_of(path, what="export", error=ResultsError) as draft:
        if chosen == "csv":
            frame.to_csv(draft, index=False, lineterminator="\n", date_format=_ISO)
        else:
            frame.to_parquet(draft, index=False)
    return len(frame)


def _series(records: Sequence[object], name: str, kind: type) -> pd.Series[Any]:
    values: list[Any] = [getattr(record, name) for record in records]
    if kind is datetime:
        return pd.Series(pd.to_datetime(values, utc=True))
    if kind in _DTYPES:
        return pd.Series(values, dtype=_DTYPES[kind])
    return pd.Series([_text(value) for value in values], dtype="string")


def _text(value: Any) -> str | None:
    """Return `value` as a cell of any file format can hold it: nested values as JSON."""
    if value is None:
        return None
    if not isinstance(value, str):
        return json.dumps(value, separators=(",", ":"), sort_keys=True)
    return value.encode("utf-8", "backslashreplace").decode("utf-8")  # half a surrogate pair
