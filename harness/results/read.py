"""Make records of the store's rows, in chunks."""

from __future__ import annotations

import gc
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, Select, select

from harness.results.record import APART, LayerCycles, Measurement, unchecked
from harness.results.schema import layer, measurement, raw_log

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
