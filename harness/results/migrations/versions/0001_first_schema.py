"""Create the tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

# Kept as they were on the day: this file must not change when harness/results/schema.py does.
_TEXT = [
    "campaign",
    "station",
    "probe_id",
    "chip_uid",
    "timing_model",
    "clock_source",
    "model_name",
    "model_sha256",
    "backbone",
    "runtime",
    "runtime_version",
    "kernels",
    "kernels_version",
    "optimization",
    "toolchain",
    "firmware_sha256",
    "build_id",
    "harness_version",
    "git_revision",
    "reference",
]
_INTEGERS = [
    "clock_hz",
    "seed",
    "sample_index",
    "macs",
    "ops",
    "parameters",
    "working_memory_bytes",
    "warmup",
    "repeats",
    "arena_planned_bytes",
    "arena_used_bytes",
    "arena_min_bytes",
    "arena_paint_bytes",
    "stack_bytes",
    "stack_capacity_bytes",
    "flash_total_bytes",
    "flash_weights_bytes",
    "flash_graph_bytes",
    "flash_kernels_bytes",
    "flash_runtime_bytes",
    "flash_port_bytes",
    "ram_static_bytes",
    "output_bytes_total",
    "output_bytes_differing",
    "output_max_abs_diff",
    "layers_total_cycles",
]
_FLOATS = ["latency_us", "latency_ci_low_us", "latency_ci_high_us"]
_BOOLEANS = ["icache", "dcache", "art", "bit_exact"]


def upgrade() -> None:
    """Create measurement, layer and raw_log."""
    op.create_table(
        "measurement",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("board", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text()) for name in _TEXT),
        *(sa.Column(name, sa.BigInteger()) for name in _INTEGERS),
        *(sa.Column(name, sa.Double()) for name in _FLOATS),
        *(sa.Column(name, sa.Boolean()) for name in _BOOLEANS),
        sa.Column("architecture", sa.JSON()),
        sa.Column("macs_by_operator", sa.JSON()),
        sa.Column("issues", sa.JSON(), nullable=False),
        sa.Column("flags", sa.JSON(), nullable=False),
        sa.Column("cycles", sa.JSON(), nullable=False),
        sa.Column("stage_seconds", sa.JSON(), nullable=False),
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
    op.create_index("ix_measurement_campaign", "measurement", ["campaign"])
    op.create_index("ix_measurement_fit", "measurement", ["board", "backbone", "runtime"])
    op.create_table(
        "layer",
        sa.Column(
            "measurement_id",
            _ID,
            sa.ForeignKey("measurement.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("operator", sa.Text(), nullable=False),
        sa.Column("macs", sa.BigInteger()),
        sa.Column("cycles", sa.BigInteger()),
    )
    op.create_table(
        "raw_log",
        sa.Column(
            "measurement_id",
            _ID,
            sa.ForeignKey("measurement.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("text_zlib", sa.LargeBinary(), nullable=False),
    )
