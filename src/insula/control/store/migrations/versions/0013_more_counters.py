"""Counters of changes for all that is read as a whole."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_NAMES = ("addresses", "backup_schedules", "backups", "images", "networks", "snapshots", "volumes")


def upgrade() -> None:
    """They begin at nought."""
    counters = sa.table("change_counter", sa.column("name", sa.String), sa.column("value", sa.BigInteger))
    op.bulk_insert(counters, [{"name": name, "value": 0} for name in _NAMES])
