"""Databases as an earlier version left them: what its successors added is taken away again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_ADDED = {
    "0013": ("DELETE FROM change_counter WHERE name NOT IN ('instances', 'tokens')",),
    "0003": ("DROP TABLE volume",),
    "0004": ("DROP TABLE snapshot", "ALTER TABLE instance DROP COLUMN snapshot_id"),
    "0006": ("DROP TABLE backup_schedule", "DROP TABLE backup", "DROP TABLE backup_store"),
    "0014": (
        "DROP TABLE user_link",
        "DROP TABLE user_session",
        "DROP TABLE membership",
        "DROP TABLE user_account",
    ),
    "0012": ("DROP TABLE alias",),
    "0011": ("DROP TABLE traffic", "DROP TABLE traffic_seen"),
    "0010": ("DROP TABLE assignment", "DROP TABLE address", "DROP TABLE address_pool"),
    "0009": ("DROP TABLE network_join",),
    "0008": ("DROP TABLE firewall",),
    "0007": ("DROP TABLE network", "DROP TABLE space", "ALTER TABLE instance DROP COLUMN ports"),
    "0005": ("DROP TABLE image", "DROP TABLE image_name"),
}


def step_back(path: Path, revision: str) -> None:
    """Make a database what it was at an earlier revision of the schema, with all rows that there were then."""
    with closing(sqlite3.connect(path)) as old, old:
        for later in sorted(_ADDED, reverse=True):
            if later > revision:
                for statement in _ADDED[later]:
                    old.execute(statement)
        old.execute("UPDATE alembic_version SET version_num = ?", (revision,))
