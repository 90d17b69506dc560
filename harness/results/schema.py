"""The tables, made from the records' fields; migrations/ holds the steps that lead to them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from harness.results.record import (
    APART,
    LayerCycles,
    Measurement,
    Run,
    Source,
    StationHealth,
    StationState,
    Status,
    types_of,
)

VERSION_TABLE = "harness_schema_version"  # not alembic_version: a lab database is shared


class SafeText(TypeDecorator[str]):
    """Store any Python string; layer names come from files that others wrote.

    PostgreSQL takes no NUL and neither database takes half a surrogate pair, so these (and the
    backslash itself) are escaped. Everything else is stored as it is.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        """Escape what a database would refuse."""
        if value is None or not _UNSAFE.search(value):
            return value
        return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", value)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:  # noqa: ARG002
        """Undo the escapes; a plain function, as a store has millions of texts."""
        return unescape


class FileText(SafeText):
    """Read a stored string for a file: what neither a database nor UTF-8 takes stays escaped."""

    cache_ok = True

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:  # noqa: ARG002
        """Undo the escape of the backslash alone."""
        return _unescape_backslash


_UNSAFE = re.compile(r"[\\\x00\ud800-\udfff]")
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")


def unescape(value: str | None) -> str | None:
    """Return a stored string as it was."""
    if value is None or "\\" not in value:
        return value
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), value)


def _unescape_backslash(value: str | None) -> str | None:
    return value if value is None or "\\" not in value else value.replace("\\u005c", "\\")


class UtcDateTime(TypeDecorator[datetime]):
    """Store an aware datetime; SQLite drops the zone, so it is always UTC there."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Return the time in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return the time in UTC, without a zone where the database knows none."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc


_TYPES: Mapping[type, Any] = {
    str: SafeText,
    Status: sa.Text,
    Source: sa.Text,
    datetime: UtcDateTime,
    int: sa.BigInteger,
    float: sa.Double,
    bool: sa.Boolean,
    tuple: sa.JSON(none_as_null=True),
    Mapping: sa.JSON(none_as_null=True),
}
INDEXED = ("campaign", "board", "backbone", "model_name", "status", "run")
# BIGSERIAL on PostgreSQL; SQLite counts rows only in a column typed INTEGER.
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _columns(record: type, *, apart: Collection[str] = ()) -> Iterator[sa.Column[Any]]:
    """Make a column of each field; one without a value for "unknown" is NOT NULL."""
    kinds = types_of(record)
    for spec in fields(record):
        if spec.name not in apart:
            yield sa.Column(spec.name, _TYPES[kinds[spec.name]], nullable=spec.default is None)


def _measurement_id() -> sa.Column[Any]:
    link = sa.ForeignKey("measurement.id", ondelete="CASCADE")
    return sa.Column("measurement_id", _ID, link, primary_key=True)


metadata = sa.MetaData()

measurement = sa.Table(
    "measurement",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    *_columns(Measurement, apart=APART),
    # Derived, see harness.results.identity.
    sa.Column("network", sa.Text),
    sa.Column("configuration", sa.BigInteger),
    sa.UniqueConstraint("key", "created_at", name="uq_measurement_attempt"),
    # A job is done once, and once in each repetition: failed attempts may repeat, others may not.
    # The condition, status <> 'invalid', is in the migration alone: to name one for a database
    # loads its dialect, whichever is used.
    sa.Index("uq_measurement_done", "key", "repetition", "status", unique=True),
    # One column each: the rows of one value are then in the order of their ids, as queries ask.
    *(sa.Index(f"ix_measurement_{name}", name) for name in INDEXED),
)

layer = sa.Table(
    "layer",
    metadata,
    _measurement_id(),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    *_columns(LayerCycles),
)

raw_log = sa.Table(
    "raw_log",
    metadata,
    _measurement_id(),
    sa.Column("text_zlib", sa.LargeBinary, nullable=False),  # UTF-8 with surrogates passed through
)

station = sa.Table(
    "bench_station",
    metadata,
    sa.Column("key", SafeText, primary_key=True),
    *_columns(StationState, apart=("key",)),
)

run = sa.Table(
    "campaign_run",
    metadata,
    sa.Column("id", SafeText, primary_key=True),
    *_columns(Run, apart=("id",)),
    sa.Index("ix_campaign_run_campaign", "campaign"),
)

health = sa.Table(
    "station_health",
    metadata,
    sa.Column("run", SafeText, primary_key=True),
    sa.Column("station", SafeText, primary_key=True),
    *_columns(StationHealth, apart=("run", "station")),
)
