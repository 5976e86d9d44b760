"""What is read on almost every request, kept in memory and thrown away by every write to its tables.

A write raises a counter in its transaction, and the version here when that has ended. In between nothing is kept, so
that whoever sees another part of the same transaction committed sees this one as well. Another controller's writes are
noticed by :func:`look`, which a PostgreSQL deployment calls several times a second.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.control.store.engine import Database
from insula.control.store.schema import change_counter

V = TypeVar("V")


class ReadModel(Generic[V]):
    """The whole of some tables as one value; `load` reads it. The counter has the same name."""

    def __init__(self, database: Database, name: str, load: Callable[[Connection], V], *tables: sa.Table) -> None:
        self.name = name
        self._database = database
        self._load = load
        self._lock = asyncio.Lock()
        self._held: tuple[int, V] | None = None
        self._counter = 0
        self._writing = 0  # transactions of ours that have changed a table and not ended yet
        self._ending = threading.Lock()
        self._version = 0
        self._unsettled = 0
        database.watch(self, *tables)

    @property
    def version(self) -> int:
        """Another one whenever the value may be; what was made of a value may be used again while it stays."""
        if self._writing:
            self._unsettled -= 1
            return self._unsettled
        return self._version

    async def value(self) -> V:
        """The value as of the newest committed write of this process."""
        if self._writing:
            return (await self._database.read(self._read))[1]
        if self._held is not None and self._held[0] == self._version:
            return self._held[1]
        async with self._lock:
            # Whoever waited finds it loaded by whoever came first. A write that lands while we load raises the
            # version above the one noted here, so the next caller loads again.
            if self._held is None or self._held[0] != self._version:
                version = self._version
                self._counter, loaded = await self._database.read(self._read)
                self._held = (version, loaded)
            return self._held[1]

    def began(self) -> None:
        """From now on nothing is kept; see :class:`Watcher`, which this is."""
        with self._ending:
            self._writing += 1

    def note(self, connection: Connection) -> None:
        """Have other controllers notice when the transaction is committed."""
        raised = change_counter.c.value + 1
        connection.execute(change_counter.update().where(change_counter.c.name == self.name).values(value=raised))

    def ended(self) -> None:
        """Throw the value away."""
        with self._ending:
            self._version += 1
            self._writing -= 1

    def look(self, counter: int) -> None:
        """Throw the value away when another process has written since it was read."""
        if counter != self._counter:
            self._counter = counter
            self._version += 1

    def _read(self, connection: Connection) -> tuple[int, V]:
        # The counter first: a write between the two reads makes the value newer than its counter, never older.
        return self._read_counter(connection), self._load(connection)

    def _read_counter(self, connection: Connection) -> int:
        query = sa.select(change_counter.c.value).where(change_counter.c.name == self.name)
        return int(connection.execute(query).scalar_one())


async def look(database: Database, models: Iterable[ReadModel[Any]]) -> None:
    """Notice what other processes have written."""
    query = sa.select(change_counter.c.name, change_counter.c.value)
    counters = await database.read(lambda connection: {row.name: row.value for row in connection.execute(query)})
    for model in models:
        model.look(counters[model.name])
