"""Give ``ram_static_bytes`` one meaning, say whose image old rows had, and add the host's arena.

Static RAM held the arena where a runtime links one (`aot`) and did not where it takes what is
left (`tflm`). It is now what is linked besides the arena. Where a row says too little to tell, it
becomes NULL. Before ``one_firmware`` came there were no shared images.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ROW = sa.table(
    "measurement",
    sa.column("runtime", sa.Text()),
    sa.column("one_firmware", sa.Boolean()),
    sa.column("arena_planned_bytes", sa.BigInteger()),
    sa.column("ram_static_bytes", sa.BigInteger()),
    sa.column("ram_other_bytes", sa.BigInteger()),
    sa.column("stack_capacity_bytes", sa.BigInteger()),
)


def upgrade() -> None:
    """Add the host's arena, and recompute the values; rows from before have no host's."""
    op.add_column("measurement", sa.Column("arena_host_bytes", sa.BigInteger()))
    row = _ROW.c
    static = sa.case(
        (
            row.ram_other_bytes.is_not(None) & row.stack_capacity_bytes.is_not(None),
            row.ram_other_bytes + row.stack_capacity_bytes,
        ),
        # The linked arena of `aot` is as large as its planner said.
        (row.runtime == "aot", row.ram_static_bytes - row.arena_planned_bytes),
        else_=sa.null(),
    )
    op.execute(
        sa.update(_ROW).where(row.ram_static_bytes.is_not(None)).values(ram_static_bytes=static)
    )
    op.execute(
        sa.update(_ROW)
        .where(row.one_firmware.is_(None) & row.runtime.is_not(None))
        .values(one_firmware=sa.false())
    )
