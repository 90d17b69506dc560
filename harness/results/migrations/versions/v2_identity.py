"""Keep each row's network and configuration as columns. This file never changes."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "v2"
down_revision = "v1"
branch_labels = None
depends_on = None

_CHUNK = 1000
_TEXT = (
    "timing_model backbone runtime runtime_version kernels kernels_version optimization toolchain"
)
_FACTS = (
    "board", "source", "timing_model", "backbone", "runtime", "runtime_version", "kernels",
    "kernels_version", "one_firmware", "optimization", "flags", "toolchain", "clock_hz", "icache",
    "dcache", "art",
)  # fmt: skip
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")
_measurement = sa.table(
    "measurement",
    sa.column("id", sa.BigInteger()),
    *(sa.column(name, sa.Text()) for name in ("board", "source", *_TEXT.split())),
    *(sa.column(name, sa.Boolean()) for name in ("icache", "dcache", "art", "one_firmware")),
    *(sa.column(name, sa.JSON()) for name in ("flags", "architecture")),
    sa.column("clock_hz", sa.BigInteger()),
    sa.column("network", sa.Text()),
    sa.column("configuration", sa.BigInteger()),
)


def upgrade() -> None:
    """Add the columns, and fill them for the rows that are there."""
    op.add_column("measurement", sa.Column("network", sa.Text()))
    op.add_column("measurement", sa.Column("configuration", sa.BigInteger()))
    connection = op.get_bind()
    c = _measurement.c
    numbers = connection.scalars(sa.select(c.id)).all()
    chosen = sa.select(c.id, c.architecture, *(c[name] for name in _FACTS))
    change = (
        sa.update(_measurement)
        .where(c.id == sa.bindparam("number"))
        .values(network=sa.bindparam("one"), configuration=sa.bindparam("another"))
    )
    for first in range(0, len(numbers), _CHUNK):
        some = numbers[first : first + _CHUNK]
        found = connection.execute(chosen.where(c.id.in_(some))).mappings()
        connection.execute(change, [_identity(row) for row in found])


def _identity(row: Any) -> dict[str, Any]:
    network = None
    if row["architecture"] is not None:
        network = _hash([_text(row["backbone"]), row["architecture"]]).hex()
    configuration = _hash([_text(row[name]) for name in _FACTS])
    another = int.from_bytes(configuration[:8], "big", signed=True)
    return {"number": row["id"], "one": network, "another": another}


def _text(value: Any) -> Any:
    """Undo the escapes of characters that no database takes."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), value) if type(value) is str else value


def _hash(value: Any) -> bytes:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
