"""Bring the database to the schema of this code, once, under a lock, before anything else uses it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.errors import Conflict
from insula.control.store.engine import Database

HEAD = "0015"
"""The revision of this code. Revisions are numbers, so that a newer schema can be told from an older one."""


def current_revision(connection: Connection) -> str:
    """The revision of the database, empty for a new one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() or "")


def migrate(database: Database) -> None:
    """Upgrade to :data:`HEAD`. Repeatable; several processes may call it at once.

    Raises :class:`Conflict` when the database was written by a newer Insula.
    """
    with _alone(database):
        revision = database.transact(current_revision)
        if revision == HEAD:
            return
        if revision > HEAD:
            raise Conflict(
                "The database was written by a newer Insula",
                why=f"Its schema is {revision}; this program knows schemas up to {HEAD}",
                todo="Start the newer Insula again, or restore the database from before the upgrade",
                code="database-newer",
            )
        database.transact(_upgrade)


def _upgrade(connection: Connection) -> None:
    # Imported here: it takes as long as the rest of a start, and almost every start has nothing to do.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    if not database.is_sqlite:
        # The upgrade itself takes its lock in its own transaction: see env.py.
        yield
        return
    path = Path(f"{database.url.database}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
