"""What is read on almost every request, kept in memory and thrown away by every write.

A write raises the counter in the same transaction, and the version here once it is committed. Another controller's
writes are noticed by :meth:`ReadModel.look`, which a PostgreSQL deployment calls several times a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.control.store.engine import Database
from insula.control.store.schema import change_counter

V = TypeVar("V")


class ReadModel(Generic[V]):
    """The whole of a table as one value; `load` reads it."""

    def __init__(self, database: Database, name: str, load: Callable[[Connection], V]) -> None:
        self._database = database
        self._name = name
        self._load = load
        self._lock = asyncio.Lock()
        self._held: tuple[int, V] | None = None
        self._counter = 0
        self.version = 0

    async def value(self) -> V:
        """The value as of the newest committed write of this process."""
        if self._held is not None and self._held[0] == self.version:
            return self._held[1]
        async with self._lock:
            # Whoever waited finds it loaded by whoever came first. A write that lands while we load raises the
            # version above the one noted here, so the next caller loads again.
            if self._held is None or self._held[0] != self.version:
                version = self.version
                self._counter, loaded = await self._database.read(self._read)
                self._held = (version, loaded)
            return self._held[1]

    def changed(self) -> None:
        """Throw the value away; call it after the commit."""
        self.version += 1

    def mark(self, connection: Connection) -> None:
        """Tell other controllers; call it inside the writing transaction."""
        raised = change_counter.c.value + 1
        connection.execute(change_counter.update().where(change_counter.c.name == self._name).values(value=raised))

    async def look(self) -> None:
        """Throw the value away when another process has written."""
        counter = await self._database.read(self._read_counter)
        if counter != self._counter:
            self._counter = counter
            self.changed()

    def _read(self, connection: Connection) -> tuple[int, V]:
        # The counter first: a write between the two reads makes the value newer than its counter, never older.
        return self._read_counter(connection), self._load(connection)

    def _read_counter(self, connection: Connection) -> int:
        query = sa.select(change_counter.c.value).where(change_counter.c.name == self._name)
        return int(connection.execute(query).scalar_one())
