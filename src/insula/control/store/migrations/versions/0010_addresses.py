"""Addresses of the outside that projects keep."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create their tables; there are no pools yet."""
    op.create_table(
        "address_pool",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("node", sa.String(length=64), nullable=False),
        sa.Column("first", sa.String(length=45), nullable=False),
        sa.Column("last", sa.String(length=45), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "address",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("pool_id", sa.String(length=40), nullable=False),
        sa.Column("instance_id", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["pool_id"], ["address_pool.id"]),
        sa.ForeignKeyConstraint(["project"], ["project.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("address"),
    )
    op.create_index("ix_address_project", "address", ["project"])
    op.create_table(
        "assignment",
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("instance_id", sa.String(length=40), nullable=False),
        sa.Column("instance_name", sa.String(length=63), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index("assignment_of_address", "assignment", ["address", "sequence"])
    op.create_index("ix_assignment_instance_id", "assignment", ["instance_id"])
