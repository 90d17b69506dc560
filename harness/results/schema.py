"""Describe the tables as the code of today sees them; how they came about is in migrations/."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

HEAD = "0003"  # the newest revision in migrations/versions
VERSION_TABLE = "harness_schema_version"  # not alembic_version: a lab database is shared


class SafeText(TypeDecorator[str]):
    """Store any Python string; layer names come from files that others wrote.

    PostgreSQL takes no NUL and neither database takes half a surrogate pair, so these (and the
    backslash itself) are escaped. Everything else is stored as it is.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Escape what a database would refuse."""
        if value is None or not _UNSAFE.search(value):
            return value
        return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Undo the escapes."""
        if value is None or "\\" not in value:
            return value
        return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), value)


_UNSAFE = re.compile(r"[\\\x00\ud800-\udfff]")
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")


class UtcDateTime(TypeDecorator[datetime]):
    """Store an aware datetime; SQLite drops the zone, so it is always UTC there."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the time in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC, without a zone where the database knows none."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc


def _json() -> Any:
    return JSON(none_as_null=True)


metadata = MetaData()

measurement = Table(
    "measurement",
    metadata,
    # BIGSERIAL on PostgreSQL; SQLite counts rows only in a column typed INTEGER.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("key", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("status", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("board", SafeText, nullable=False),
    Column("issues", _json(), nullable=False),
    Column("campaign", SafeText),
    Column("station", SafeText),
    Column("probe_id", SafeText),
    Column("chip_uid", SafeText),
    Column("timing_model", SafeText),
    Column("clock_hz", BigInteger),
    Column("clock_source", SafeText),
    Column("icache", Boolean),
    Column("dcache", Boolean),
    Column("art", Boolean),
    Column("model_name", SafeText),
    Column("model_sha256", SafeText),
    Column("backbone", SafeText),
    Column("architecture", _json()),
    Column("seed", BigInteger),
    Column("sample_index", BigInteger),
    Column("macs", BigInteger),
    Column("ops", BigInteger),
    Column("parameters", BigInteger),
    Column("working_memory_bytes", BigInteger),
    Column("macs_by_operator", _json()),
    Column("runtime", SafeText),
    Column("runtime_version", SafeText),
    Column("kernels", SafeText),
    Column("kernels_version", SafeText),
    Column("optimization", SafeText),
    Column("flags", _json(), nullable=False),
    Column("library", SafeText),
    Column("one_firmware", Boolean),
    Column("toolchain", SafeText),
    Column("firmware_sha256", SafeText),
    Column("build_id", SafeText),
    Column("harness_version", SafeText),
    Column("git_revision", SafeText),
    Column("warmup", BigInteger),
    Column("repeats", BigInteger),
    Column("cycles", _json(), nullable=False),
    Column("latency_us", Double),
    Column("latency_ci_low_us", Double),
    Column("latency_ci_high_us", Double),
    Column("arena_planned_bytes", BigInteger),
    Column("arena_used_bytes", BigInteger),
    Column("arena_capacity_bytes", BigInteger),
    Column("arena_min_bytes", BigInteger),
    Column("arena_below_bytes", BigInteger),
    Column("arena_below_message", SafeText),
    Column("arena_host_bytes", BigInteger),
    Column("arena_parts", _json()),
    Column("arena_paint_bytes", BigInteger),
    Column("stack_bytes", BigInteger),
    Column("stack_capacity_bytes", BigInteger),
    Column("flash_total_bytes", BigInteger),
    Column("flash_weights_bytes", BigInteger),
    Column("flash_graph_bytes", BigInteger),
    Column("flash_kernels_bytes", BigInteger),
    Column("flash_runtime_bytes", BigInteger),
    Column("flash_port_bytes", BigInteger),
    Column("ram_static_bytes", BigInteger),
    Column("ram_other_bytes", BigInteger),
    Column("reference", SafeText),
    Column("output_bytes_total", BigInteger),
    Column("output_bytes_differing", BigInteger),
    Column("output_max_abs_diff", BigInteger),
    Column("bit_exact", Boolean),
    Column("layers_total_cycles", BigInteger),
    Column("additivity_gap", Double),
    Column("message", SafeText),
    Column("stage_seconds", _json(), nullable=False),
    UniqueConstraint("key", "created_at", name="uq_measurement_attempt"),
    # A job is done once: failed attempts may repeat, measured ones may not.
    Index(
        "uq_measurement_done",
        "key",
        "status",
        unique=True,
        sqlite_where=text("status <> 'invalid'"),
        postgresql_where=text("status <> 'invalid'"),
    ),
    Index("ix_measurement_campaign", "campaign"),
    Index("ix_measurement_fit", "board", "backbone", "runtime"),
)

layer = Table(
    "layer",
    metadata,
    Column(
        "measurement_id",
        BigInteger().with_variant(Integer, "sqlite"),
        ForeignKey("measurement.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("index", BigInteger, nullable=False),
    Column("name", SafeText, nullable=False),
    Column("operator", SafeText, nullable=False),
    Column("macs", BigInteger),
    Column("cycles", BigInteger),
)

raw_log = Table(
    "raw_log",
    metadata,
    Column(
        "measurement_id",
        BigInteger().with_variant(Integer, "sqlite"),
        ForeignKey("measurement.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("text_zlib", LargeBinary, nullable=False),  # UTF-8 with surrogates passed through
)
