"""What instances send and receive, hour by hour."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_COUNTS = ("sent_bytes", "sent_packets", "received_bytes", "received_packets")


def upgrade() -> None:
    """Create the tables; counting begins now."""
    op.create_table(
        "traffic",
        sa.Column("instance_id", sa.String(length=40), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
        sa.PrimaryKeyConstraint("instance_id", "hour"),
    )
    op.create_index("traffic_of_hour", "traffic", ["hour"])
    op.create_table(
        "traffic_seen",
        sa.Column("port_id", sa.String(length=40), nullable=False),
        sa.Column("instance_id", sa.String(length=40), nullable=False),
        sa.Column("epoch", sa.String(length=100), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("port_id"),
    )
    op.create_index("ix_traffic_seen_instance_id", "traffic_seen", ["instance_id"])
