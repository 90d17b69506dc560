"""Make records of the store's rows, in chunks."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Select,
    Text,
    cast,
    func,
    select,
)

from harness.results.identity import CONFIGURATION
from harness.results.record import APART, LayerCycles, Measurement, unchecked
from harness.results.schema import SafeText, layer, measurement, raw_log, unescape

if TYPE_CHECKING:
    from harness.results.table import Table

# An older harness that still runs adds rows without a number: each is a configuration by itself.
_NUMBER = func.coalesce(measurement.c.configuration, measurement.c.id).label("configuration")
CHUNK = 500  # rows read at a time; a database takes about a thousand numbers in one query

_layer_of = unchecked(LayerCycles, [spec.name for spec in fields(LayerCycles)])


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


def load_table(
    connection: Connection, where: Sequence[ColumnElement[bool]], names: Collection[str]
) -> Table:
    """Return columns of the rows of `measurement` that match."""
    from harness.results.table import Table, column

    columns = [measurement.c.id, _NUMBER, *(measurement.c[name] for name in names)]
    cells = [cast(item, Text) if isinstance(item.type, JSON) else item for item in columns]
    query = select(*cells).where(*where).order_by(measurement.c.id)
    # The driver's own rows: SQLAlchemy takes as long again to convert each cell.
    rows = connection.execute(query).cursor.fetchall()
    found = list(zip(*rows, strict=True)) or [()] * len(columns)
    read = {
        item.name: column(_unescaped(item, values))
        for item, values in zip(columns[1:], found[1:], strict=True)
    }
    one_of = dict(zip(found[1], found[0], strict=True))
    return Table(read, _configurations(connection, list(one_of.values())))


def _configurations(connection: Connection, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return the configurations of these rows by number."""
    known = {}
    chosen = select(_NUMBER, *(measurement.c[name] for name in CONFIGURATION))
    for first in range(0, len(rows), CHUNK):
        some = chosen.where(measurement.c.id.in_(rows[first : first + CHUNK]))
        for number, *values in connection.execute(some):
            facts = dict(zip(CONFIGURATION, values, strict=True))
            known[number] = {**facts, "flags": tuple(facts["flags"])}
    return known


def _unescaped(item: ColumnElement[Any], values: Sequence[Any]) -> Sequence[Any]:
    if not isinstance(item.type, SafeText):
        return values
    escaped = {value: unescape(value) for value in set(values) if value and "\\" in value}
    return [escaped.get(value, value) for value in values] if escaped else values
