"""Make records of the store's rows, in chunks."""

from __future__ import annotations

import gc
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Boolean, Column, Connection, Select, Text, cast, select

from harness.results.record import APART, LayerCycles, Measurement, unchecked
from harness.results.schema import SafeText, layer, measurement, raw_log, unescape

if TYPE_CHECKING:
    from harness.results.table import Table

CHUNK = 500  # rows read at a time; a database takes about a thousand numbers in one query

_layer_of = unchecked(LayerCycles, [spec.name for spec in fields(LayerCycles)])


@contextmanager
def many_rows() -> Iterator[None]:
    """Pause the garbage collector: it would traverse a hundred thousand rows again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load_rows(
    connection: Connection,
    query: Select[Any],
    columns: Collection[str],
    *,
    with_layers: bool,
    with_log: bool,
) -> Iterator[Measurement]:
    """Yield the rows of a query of `measurement`, of which only `columns` are read."""
    make = unchecked(Measurement, (*columns, *APART))
    query = query.with_only_columns(measurement.c.id, *(measurement.c[name] for name in columns))
    with connection.execute(query, execution_options={"yield_per": CHUNK}) as found:
        for chunk in found.partitions():
            numbers = [row[0] for row in chunk]
            layers = _layers_of(connection, numbers) if with_layers else {}
            logs = _logs_of(connection, numbers) if with_log else {}
            for number, *values in chunk:
                yield make([*values, layers.get(number, ()), logs.get(number)])


def _layers_of(connection: Connection, numbers: Sequence[int]) -> dict[int, list[LayerCycles]]:
    chosen = layer.c.measurement_id.in_(numbers)
    listed = select(layer).where(chosen).order_by(layer.c.measurement_id, layer.c.position)
    found: defaultdict[int, list[LayerCycles]] = defaultdict(list)
    for number, _, *values in connection.execute(listed):
        found[number].append(_layer_of(values))
    return found


def _logs_of(connection: Connection, numbers: Sequence[int]) -> dict[int, str]:
    chosen = select(raw_log).where(raw_log.c.measurement_id.in_(numbers))
    return {
        number: zlib.decompress(packed).decode("utf-8", "surrogatepass")
        for number, packed in connection.execute(chosen)
    }


def load_table(connection: Connection, query: Select[Any], names: Collection[str]) -> Table:
    """Return columns of the rows of a query of `measurement`; see `harness.results.table`."""
    from harness.results.table import column

    columns = [measurement.c[name] for name in dict.fromkeys(names)]
    cells = [cast(item, Text) if isinstance(item.type, JSON) else item for item in columns]
    # The driver's own rows: SQLAlchemy takes as long again to convert each cell.
    cursor = connection.execute(query.with_only_columns(*cells)).cursor
    found = list(zip(*cursor.fetchall(), strict=True)) or [()] * len(columns)
    return {
        item.name: column(_python(item, values))
        for item, values in zip(columns, found, strict=True)
    }


def _python(item: Column[Any], values: Sequence[Any]) -> Sequence[Any]:
    if isinstance(item.type, Boolean):
        return [None if value is None else bool(value) for value in values]
    if isinstance(item.type, SafeText):
        escaped = {value: unescape(value) for value in set(values) if value and "\\" in value}
        return [escaped.get(value, value) for value in values] if escaped else values
    return values
