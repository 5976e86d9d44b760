"""Networks of a project that reach each other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """No networks are joined yet."""
    op.create_table(
        "network_join",
        sa.Column("one", sa.String(length=40), nullable=False),
        sa.Column("other", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["one"], ["network.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["other"], ["network.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("one", "other"),
    )
