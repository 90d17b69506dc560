"""Create the tables of the first release. This file never changes; later ones add to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "v1"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TEXT = """
    campaign station probe_id chip_uid timing_model clock_source model_name model_sha256 backbone
    runtime runtime_version kernels kernels_version optimization library toolchain firmware_sha256
    build_id harness_version git_revision arena_below_message reference message
"""
_INTEGERS = """
    clock_hz seed sample_index macs ops parameters working_memory_bytes warmup repeats
    arena_planned_bytes arena_used_bytes arena_capacity_bytes arena_min_bytes arena_below_bytes
    arena_host_bytes arena_paint_bytes stack_bytes stack_capacity_bytes flash_total_bytes
    flash_weights_bytes flash_graph_bytes flash_kernels_bytes flash_runtime_bytes flash_port_bytes
    ram_static_bytes ram_other_bytes output_bytes_total output_bytes_differing
    output_max_abs_diff layers_total_cycles
"""
_FLOATS = "latency_us latency_ci_low_us latency_ci_high_us additivity_gap"
_BOOLEANS = "icache dcache art one_firmware bit_exact"
_JSON = "architecture macs_by_operator arena_parts"
_JSON_ALWAYS = "issues flags cycles stage_seconds"


def _columns(names: str, kind: Any, *, nullable: bool = True) -> Iterator[sa.Column[Any]]:
    return (sa.Column(name, kind, nullable=nullable) for name in names.split())


def _measurement_id() -> sa.Column[Any]:
    link = sa.ForeignKey("measurement.id", ondelete="CASCADE")
    return sa.Column("measurement_id", _ID, link, primary_key=True)


def upgrade() -> None:
    """Create measurement, layer and raw_log."""
    op.create_table(
        "measurement",
        sa.Column("id", _ID, primary_key=True),
        *_columns("key status source board", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *_columns(_TEXT, sa.Text()),
        *_columns(_INTEGERS, sa.BigInteger()),
        *_columns(_FLOATS, sa.Double()),
        *_columns(_BOOLEANS, sa.Boolean()),
        *_columns(_JSON, sa.JSON()),
        *_columns(_JSON_ALWAYS, sa.JSON(), nullable=False),
        sa.UniqueConstraint("key", "created_at", name="uq_measurement_attempt"),
    )
    done = sa.text("status <> 'invalid'")
    op.create_index(
        "uq_measurement_done",
        "measurement",
        ["key", "status"],
        unique=True,
        sqlite_where=done,
        postgresql_where=done,
    )
    for name in ("campaign", "board", "backbone", "model_name", "status"):
        op.create_index(f"ix_measurement_{name}", "measurement", [name])
    op.create_table(
        "layer",
        _measurement_id(),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        *_columns("name operator", sa.Text(), nullable=False),
        *_columns("macs cycles", sa.BigInteger()),
    )
    op.create_table(
        "raw_log", _measurement_id(), sa.Column("text_zlib", sa.LargeBinary(), nullable=False)
    )
