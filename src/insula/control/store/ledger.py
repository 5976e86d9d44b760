"""The second database: the operations engine's own ledger of steps, beside ours.

On SQLite it is a file of its own, so that the two never wait for each other's lock; on PostgreSQL a schema in the same
database. A step that was lost from it in a power cut is done again, which steps allow, hence `synchronous=NORMAL`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine

from insula.control.store.engine import parse_url

_BUSY_TIMEOUT_MS = 5000


def ledger_url(url: str) -> str:
    """Where the ledger of the store at `url` is."""
    ours = parse_url(url)
    if ours.get_backend_name() == "sqlite":
        path = Path(ours.database or "")
        return str(ours.set(database=str(path.with_name(f"{path.stem}-ledger{path.suffix}"))))
    return ours.render_as_string(hide_password=False)


def ledger_engine(url: str) -> Engine:
    """An SQLAlchemy engine for the ledger at this URL, as the engine's library expects it."""
    where = sa.make_url(url)
    if where.get_backend_name() != "sqlite":
        return sa.create_engine(where, pool_pre_ping=True, pool_size=5, max_overflow=5, pool_timeout=30)
    path = Path(where.database or "")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    engine = sa.create_engine(where)

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA foreign_keys=ON")
        # The library leaves BEGIN to the module and wants it to take the write lock at once.
        connection.isolation_level = "IMMEDIATE"

    return engine
