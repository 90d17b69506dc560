"""Add what the second runtime brought: arena truth, layers against the whole, the library."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; rows from before have NULL there."""
    columns: list[sa.Column[object]] = [
        sa.Column("library", sa.Text()),
        sa.Column("one_firmware", sa.Boolean()),
        sa.Column("arena_capacity_bytes", sa.BigInteger()),
        sa.Column("arena_below_bytes", sa.BigInteger()),
        sa.Column("arena_below_message", sa.Text()),
        sa.Column("arena_parts", sa.JSON()),
        sa.Column("ram_other_bytes", sa.BigInteger()),
        sa.Column("additivity_gap", sa.Double()),
        sa.Column("message", sa.Text()),
    ]
    for column in columns:
        op.add_column("measurement", column)
