"""What instances' machines say of themselves, and the numbers and regions that their guests are told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Instances stay on what their image asks for. Each has the number now that it would get when first asked for."""
    op.add_column("instance", sa.Column("platform", sa.String(64), nullable=False, server_default="auto"))
    op.add_column("instance", sa.Column("number", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("instance", sa.Column("region", sa.String(length=40), nullable=False, server_default=""))
    op.execute(
        "INSERT INTO alias (record, facts) SELECT id, '{}' FROM instance"
        " WHERE id NOT IN (SELECT record FROM alias) ORDER BY id"
    )
    op.execute("UPDATE instance SET number = (SELECT number FROM alias WHERE alias.record = instance.id)")
