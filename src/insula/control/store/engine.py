"""The connection to the database: opening it, running transactions off the loop, translating its errors.

SQLite in WAL mode with `synchronous=FULL` for what is promised to a user (an accepted operation, a token, an audit
line: they must outlive a power cut) and `NORMAL` for an operation's progress, which a repeated step writes again.
All writes to SQLite go through one thread: it has one writer anyway, and a queue is fairer than its busy timeout.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.sql.dml import UpdateBase

from insula.base.errors import DataCorrupt, DiskFull, HostFailure, InsulaError, InvalidInput, Unavailable

T = TypeVar("T")
Work = Callable[[Connection], T]

UNSEEN = "insula_unseen"  # an execution option of statements that write nothing that watchers care about
_READ_THREADS = 3
_BUSY_TIMEOUT_S = 5
_SERIALIZATION_TRIES = 5
_SERIALIZATION_SQLSTATES = frozenset({"40001", "40P01"})
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PRIMARY_CODE = 0xFF  # extended result codes keep the primary one in the low byte


def parse_url(text: str) -> URL:
    """The URL with the driver that we use. Raises :class:`InvalidInput` for any other database."""
    try:
        url = sa.make_url(text)
    except ArgumentError as error:
        raise _bad_url() from error
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database:
        return url.set(drivername="sqlite+pysqlite")
    raise _bad_url()


def _bad_url() -> InvalidInput:
    return InvalidInput(
        "INSULA_DATABASE is not the address of a database that Insula can use",
        why="It must begin with sqlite:/// followed by a file's path, or with postgresql://",
        todo="Set it like INSULA_DATABASE=postgresql://user@host/insula, or leave it unset",
        code="invalid-setting",
    )


class Watcher(Protocol):
    """Somebody whom writes to a table concern. The name sorts watchers, so that none waits for another crosswise."""

    name: str

    def began(self) -> None:
        """A transaction writes, and has not ended. Called in its thread, once."""

    def note(self, connection: Connection) -> None:
        """It is about to end: write into it what shall be there with it."""

    def ended(self) -> None:
        """It has ended, whether it was committed or not."""


class Database:
    """Runs transactions in threads. Safe to use from one event loop; every method is one whole transaction."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._watchers: dict[sa.FromClause, list[Watcher]] = {}
        self._truth = self._watched(_make_engine(url, synchronous="FULL"))
        self._progress = self._watched(_make_engine(url, synchronous="NORMAL")) if self.is_sqlite else self._truth
        self._readers = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="store-read")
        self._writers = ThreadPoolExecutor(1 if self.is_sqlite else _READ_THREADS, thread_name_prefix="store-write")

    async def read(self, work: Work[T]) -> T:
        """Run `work` in a transaction that only reads. Raises :class:`Unavailable` when the database is gone."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._transact, self._progress, work, False)

    async def write(self, work: Work[T], *, progress: bool = False) -> T:
        """Run `work` in a writing transaction; all of it happens or nothing.

        `work` may run again when PostgreSQL asks for it. Raises :class:`Unavailable` and :class:`DiskFull`.
        """
        engine = self._progress if progress else self._truth
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writers, self._transact, engine, work, True)

    def watch(self, watcher: Watcher, *tables: sa.Table) -> None:
        """Tell it of every transaction that writes to one of these tables, by whatever statement."""
        for table in tables:
            self._watchers.setdefault(table, []).append(watcher)

    def transact(self, work: Work[T]) -> T:
        """The same as :meth:`write`, in the calling thread: for the start, before there is a loop to block."""
        return self._transact(self._truth, work, True)

    async def close(self) -> None:
        """Let go of all connections. Running transactions end first."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writers.shutdown()
        self._readers.shutdown()
        self._truth.dispose()
        self._progress.dispose()

    def _transact(self, engine: Engine, work: Work[T], writes: bool) -> T:
        for attempt in range(1, _SERIALIZATION_TRIES + 1):
            concerned: dict[str, Watcher] = {}
            options = {"insula_writes": writes, "insula_concerned": concerned}
            try:
                with engine.connect().execution_options(**options) as connection, connection.begin():
                    done = work(connection)
                    for name in sorted(concerned):
                        concerned[name].note(connection)
                    return done
            except DBAPIError as error:
                if attempt < _SERIALIZATION_TRIES and _wants_repeat(error):
                    continue
                raise translate(error, self.url) from error
            finally:
                for watcher in concerned.values():
                    watcher.ended()
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _watched(self, engine: Engine) -> Engine:
        @event.listens_for(engine, "before_execute")
        def _tell(connection: Connection, statement: Any, _many: Any, _one: Any, options: Mapping[str, Any]) -> None:
            concerned: dict[str, Watcher] | None = connection.get_execution_options().get("insula_concerned")
            if concerned is None or not isinstance(statement, UpdateBase) or options.get(UNSEEN):
                return
            for watcher in self._watchers.get(statement.table, ()):
                if watcher.name not in concerned:
                    concerned[watcher.name] = watcher
                    watcher.began()

        return engine

    def lock(self, connection: Connection, name: str) -> None:
        """Let one transaction at a time pass; SQLite's writing transactions exclude each other already."""
        if not self.is_sqlite:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"insula-{name}"})


def _make_engine(url: URL, synchronous: str) -> Engine:
    if url.get_backend_name() != "sqlite":
        # The ping notices connections that died with a restart of the server, before a transaction depends on them.
        return sa.create_engine(url, pool_pre_ping=True, pool_size=2 * _READ_THREADS, max_overflow=0, pool_timeout=10)
    engine = sa.create_engine(
        url,
        connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_S},
        poolclass=sa.QueuePool,
        pool_size=_READ_THREADS + 1,
        max_overflow=0,
        pool_timeout=10,
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves; the module's own idea of it breaks DDL
        connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_S * 1000}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that starts as a reader and writes later cannot wait for a lock, hence IMMEDIATE at once.
        writes = connection.get_execution_options().get("insula_writes", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _wants_repeat(error: DBAPIError) -> bool:
    return isinstance(error.orig, psycopg.Error) and error.orig.sqlstate in _SERIALIZATION_SQLSTATES


def translate(error: DBAPIError, url: URL) -> InsulaError:
    """What a database's error means to a person."""
    if isinstance(error.orig, sqlite3.Error):
        return _translate_sqlite(error.orig, Path(url.database or ""))
    if error.connection_invalidated or isinstance(error.orig, psycopg.OperationalError | psycopg.InterfaceError):
        return Unavailable(
            f"The database at {url.host or 'the local socket'} does not answer",
            why=str(error.orig).strip(),
            todo="Try again in a moment; if it stays so, look whether PostgreSQL runs and accepts INSULA_DATABASE",
            code="database-gone",
        )
    return HostFailure(
        "The database refused a statement",
        why=str(error.orig).strip(),
        todo="This is a defect in Insula; please report it with this text",
        code="database-refused",
    )


def _translate_sqlite(error: sqlite3.Error, path: Path) -> InsulaError:
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
    if code in _LOCKED:
        return Unavailable(
            "The database is locked by another process",
            why=f"{path} stayed locked for {_BUSY_TIMEOUT_S} s",
            todo="Try again; end the program that holds the file open (a backup or an sqlite3 shell)",
            code="database-locked",
        )
    if code in _CORRUPT:
        return corrupt(path, str(error))
    if code == sqlite3.SQLITE_FULL:
        return DiskFull(
            "The database cannot grow: no space is left on the disk",
            why=f"{path} is on a full disk",
            todo="Free space there; nothing was changed",
        )
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM}:
        return Unavailable(
            "The database file cannot be used",
            why=f"{path}: {error}",
            todo="Check that its folder exists, that you may write to it, and that the disk is healthy",
            code="database-gone",
        )
    return HostFailure(
        "The database refused a statement",
        why=str(error),
        todo="This is a defect in Insula; please report it with this text",
        code="database-refused",
    )


def corrupt(path: Path, why: str) -> DataCorrupt:
    """The error for a database file that is not one (any more)."""
    return DataCorrupt(
        f"The database file {path} is damaged",
        why=why,
        todo=(
            f"Stop the service, move {path} and {path.name}-wal and {path.name}-shm beside it out of the way, "
            "and put a backup in their place; instances keep running meanwhile"
        ),
        code="database-corrupt",
    )


def check_file(database: Database) -> None:
    """Look through a SQLite file once at the start. Raises :class:`DataCorrupt`."""
    if not database.is_sqlite:
        return
    path = Path(database.url.database or "")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.touch(mode=0o600, exist_ok=False)
    found = database.transact(lambda connection: connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
    if found != "ok":
        raise corrupt(path, str(found))
