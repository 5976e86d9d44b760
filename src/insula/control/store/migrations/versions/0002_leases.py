"""Instances may have a lease."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """No instance that was there before has one."""
    op.add_column("instance", sa.Column("lease_s", sa.Integer(), nullable=True))
    op.add_column("instance", sa.Column("lease_until", sa.BigInteger(), nullable=True))
