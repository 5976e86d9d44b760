"""Empty databases for tests: SQLite always, PostgreSQL when `./test` started one (INSULA_TEST_POSTGRES)."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from insula.control.store.engine import parse_url

KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a new database of this kind, dropped afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'insula.sqlite'}"
        return
    with _on_postgres("") as url:
        yield url


@contextmanager
def copied_database(first: str, folder: Path) -> Iterator[str]:
    """The URL of a copy of a database that nobody has open, dropped afterwards."""
    source = parse_url(first)
    if source.get_backend_name() == "sqlite":
        shutil.copyfile(source.database or "", folder / "insula.sqlite")
        yield f"sqlite:///{folder / 'insula.sqlite'}"
        return
    with _on_postgres(f"TEMPLATE {source.database}") as url:
        yield url


@contextmanager
def _on_postgres(made_from: str) -> Iterator[str]:
    server = parse_url(os.environ["INSULA_TEST_POSTGRES"])
    name = f"insula_{secrets.token_hex(6)}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} {made_from}"))
    yield server.set(database=name, drivername="postgresql").render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
