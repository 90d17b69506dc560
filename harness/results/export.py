"""Turn rows into pandas frames and files; imports pandas, so it is only loaded when asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import ResultsError
from harness.files import draft_of
from harness.results.record import LayerCycles, Measurement

FORMATS = ("parquet", "csv")
TABLES = ("measurements", "layers")

# What does not fit a cell becomes JSON text, the same in every format.
_NESTED = (
    "issues",
    "flags",
    "cycles",
    "architecture",
    "macs_by_operator",
    "arena_parts",
    "stage_seconds",
)
_ISO = "%Y-%m-%dT%H:%M:%S.%fZ"
_DTYPES = {"int": "Int64", "float": "Float64", "bool": "boolean", "str": "string"}


def measurements_frame(rows: Sequence[Measurement]) -> pd.DataFrame:
    """Return one line per row: nullable columns, nested values as JSON text, no layers or log."""
    columns: dict[str, pd.Series[Any]] = {}
    for spec in fields(Measurement):
        if spec.name in ("layers", "raw_log"):
            continue
        values = [getattr(row, spec.name) for row in rows]
        kind = str(spec.type).partition(" | ")[0]
        if spec.name in _NESTED:
            values = [None if value is None else _json(value) for value in values]
            kind = "str"
        elif kind in ("Status", "Source"):
            values = [value.value for value in values]
            kind = "str"
        if kind == "datetime":
            columns[spec.name] = pd.Series(pd.to_datetime(values, utc=True))
        else:
            if kind == "str":
                values = [None if value is None else _text(value) for value in values]
            columns[spec.name] = pd.Series(values, dtype=_DTYPES[kind])
    return pd.DataFrame(columns)


def layers_frame(rows: Sequence[Measurement]) -> pd.DataFrame:
    """Return one line per layer of every row, with the row's key, board, backbone and runtime."""
    lines = [(row, item) for row in rows for item in row.layers]
    columns: dict[str, pd.Series[Any]] = {}
    for name in ("key", "source", "board", "backbone", "model_name", "runtime", "kernels"):
        texts = [getattr(row, name) for row, _ in lines]
        columns[name] = pd.Series(
            [None if text is None else _text(text) for text in texts], dtype="string"
        )
    for spec in fields(LayerCycles):
        kind = str(spec.type).partition(" | ")[0]
        values = [getattr(item, spec.name) for _, item in lines]
        if kind == "str":
            values = [_text(value) for value in values]
        columns[spec.name] = pd.Series(values, dtype=_DTYPES[kind])
    return pd.DataFrame(columns)


def export_rows(
    rows: Sequence[Measurement],
    path: Path,
    *,
    format: str | None = None,
    table: str = "measurements",
) -> int:
    """Write `rows` to `path`; see `Store.export`."""
    chosen = (format or path.suffix.lstrip(".")).lower()
    if chosen not in FORMATS:
        raise ResultsError(
            f"results cannot be exported as {chosen or 'a file without suffix'!r}",
            where=str(path),
            expected=" or ".join(FORMATS),
            fix="name a file ending in .parquet or .csv, or give the format",
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


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _text(value: str) -> str:
    """Return `value` as any file format can hold it: half a surrogate pair becomes an escape."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
