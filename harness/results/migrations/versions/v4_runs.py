"""Add runs, their findings about stations, and repeated jobs. This file never changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v4"
down_revision = "v3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns, let a job be done once in each repetition, and create two tables."""
    op.add_column("measurement", sa.Column("run", sa.Text()))
    # The default is for rows that are there, and for an older harness that still runs.
    op.add_column(
        "measurement", sa.Column("repetition", sa.Text(), nullable=False, server_default="")
    )
    op.drop_index("uq_measurement_done", "measurement")
    done = sa.text("status <> 'invalid'")
    op.create_index(
        "uq_measurement_done",
        "measurement",
        ["key", "repetition", "status"],
        unique=True,
        sqlite_where=done,
        postgresql_where=done,
    )
    op.create_index("ix_measurement_run", "measurement", ["run"])
    whole = ("planned", "skipped", "elsewhere", "valid", "degraded", "invalid", "not_run")
    always = ("campaign", "campaign_sha256", "host", "user", "harness_version", "repeat")
    op.create_table(
        "campaign_run",
        sa.Column("id", sa.Text(), primary_key=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in always),
        *(sa.Column(n, sa.Text()) for n in ("git_revision", "outcome", "accepted_by")),
        sa.Column("accepted_why", sa.Text()),
        *(sa.Column(name, sa.BigInteger()) for name in whole),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(n, sa.DateTime(timezone=True)) for n in ("ended_at", "accepted_at")),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in ("stations", "notes")),
    )
    op.create_index("ix_campaign_run_campaign", "campaign_run", ["campaign"])
    op.create_table(
        "station_health",
        *(sa.Column(name, sa.Text(), primary_key=True) for name in ("run", "station")),
        *(sa.Column(n, sa.Text(), nullable=False) for n in ("board", "source", "verdict", "what")),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
    )
