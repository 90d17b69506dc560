"""Add the stations, and which are disabled. This file never changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v3"
down_revision = "v2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create bench_station."""
    op.create_table(
        "bench_station",
        sa.Column("key", sa.Text(), primary_key=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("name", "board", "probe")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("host", "state")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("code", "reason")),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    )
