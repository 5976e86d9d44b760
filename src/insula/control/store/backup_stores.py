"""Backup stores as control records them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.clock import now_utc
from insula.base.errors import Conflict, NotFound
from insula.control.store.engine import Database
from insula.control.store.operations import check_idle
from insula.control.store.projects import find_project
from insula.control.store.schema import backup, backup_schedule, backup_store, instance
from insula.domain.backup import BackupStore, StoreState


class BackupStores:
    """The table of backup stores."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Sequence[BackupStore]:
        """Those of all projects, in the order of their ids."""
        query = backup_store.select().order_by(backup_store.c.id)
        return await self._database.read(lambda c: [BackupStore(**row._mapping) for row in c.execute(query)])

    async def list(self, project: str, *, after: str = "", limit: int = 100) -> Sequence[BackupStore]:
        """At most `limit` stores with ids after `after`, in the order of their ids."""
        own = backup_store.select().where(backup_store.c.project == project, backup_store.c.id > after)
        query = own.order_by(backup_store.c.id).limit(limit)
        return await self._database.read(lambda c: [BackupStore(**row._mapping) for row in c.execute(query)])

    async def get(self, project: str, name_or_id: str) -> BackupStore:
        """Raises :class:`NotFound`."""
        same = sa.or_(backup_store.c.name == name_or_id, backup_store.c.id == name_or_id)
        query = backup_store.select().where(backup_store.c.project == project, same)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise unknown_store(name_or_id, f"in project {project}")
        return BackupStore(**row._mapping)

    async def find(self, store_id: str) -> BackupStore | None:
        """The store of this id in whatever project, None when it is gone."""
        query = backup_store.select().where(backup_store.c.id == store_id)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else BackupStore(**row._mapping)

    async def add(self, new: BackupStore) -> None:
        """Record a new one. Raises :class:`Conflict` when a store of the project has the name."""

        def work(connection: Connection) -> None:
            self._database.lock(connection, "accept")
            find_project(connection, new.project)
            same = backup_store.select().where(backup_store.c.project == new.project, backup_store.c.name == new.name)
            if connection.execute(same).first():
                raise Conflict(
                    f"There is a backup store {new.name} already",
                    why="Names of backup stores are unique in a project",
                    todo="Choose another name, or use the one that there is",
                    code="name-taken",
                    fields={"name": "taken"},
                )
            connection.execute(backup_store.insert().values(**_values(new)))

        await self._database.write(work)

    async def change(self, store_id: str, **fields: Any) -> BackupStore:
        """Write some fields. Repeatable. Raises :class:`NotFound`."""

        def work(connection: Connection) -> BackupStore:
            return write_store(connection, find_store(connection, store_id), fields)

        return await self._database.write(work)

    async def check_removable(self, store_id: str) -> None:
        """Raise :class:`Conflict` while operations or schedules use it."""
        await self._database.read(lambda connection: _check_unused(connection, store_id))

    async def remove(self, store_id: str) -> int:
        """Forget it, and the backups in it, of which it says how many. Repeatable. Raises :class:`Conflict`."""

        def work(connection: Connection) -> int:
            self._database.lock(connection, "accept")
            _check_unused(connection, store_id)
            gone = connection.execute(backup.delete().where(backup.c.store_id == store_id)).rowcount
            connection.execute(backup_store.delete().where(backup_store.c.id == store_id))
            return gone

        return await self._database.write(work)


def unknown_store(name_or_id: str, where: str) -> NotFound:
    """The error for a store that is not there."""
    return NotFound(
        f"There is no backup store {name_or_id[:80]} {where}".strip(),
        why="No backup store has this name or id",
        todo="Look at `insula backup store list`, or add one: insula backup store add",
        code="unknown-backup-store",
    )


def find_store(connection: Connection, store_id: str) -> BackupStore:
    """The store of this id, locked against other writers. Raises :class:`NotFound`."""
    row = connection.execute(backup_store.select().where(backup_store.c.id == store_id).with_for_update()).first()
    if row is None:
        raise unknown_store(store_id, "")
    return BackupStore(**row._mapping)


def usable_store(connection: Connection, store_id: str, project: str) -> BackupStore:
    """The store, if a backup can be put into it or taken from it. Raises NotFound and :class:`Conflict`."""
    found = find_store(connection, store_id)
    if found.project != project:
        raise unknown_store(store_id, f"in project {project}")
    if found.state is not StoreState.AVAILABLE:
        raise Conflict(
            f"Backup store {found.name} cannot be used",
            why="It was being added, and that was cut off",
            todo=f"Remove it and add it again: insula backup store remove {found.name}",
            code="wrong-state",
        )
    return found


def write_store(connection: Connection, found: BackupStore, fields: dict[str, Any]) -> BackupStore:
    """Write some fields of a record and return it as it is then."""
    values = {**fields, "updated_at": now_utc()}
    connection.execute(backup_store.update().where(backup_store.c.id == found.id).values(values))
    return replace(found, **values)


def end_store(connection: Connection, store_id: str, fields: Mapping[str, Any] | None) -> None:
    """Write what an operation learned of a store."""
    if fields:
        values = {**fields, "updated_at": now_utc()}
        connection.execute(backup_store.update().where(backup_store.c.id == store_id).values(values))


def _check_unused(connection: Connection, store_id: str) -> None:
    row = connection.execute(backup_store.select().where(backup_store.c.id == store_id)).first()
    if row is None:
        return
    name = row.name
    check_idle(connection, store_id, f"Backup store {name}")
    users = (
        sa.select(instance.c.name)
        .join(backup_schedule, backup_schedule.c.instance_id == instance.c.id)
        .where(backup_schedule.c.store_id == store_id)
        .order_by(instance.c.name)
    )
    if names := connection.execute(users).scalars().all():
        raise Conflict(
            f"Backup store {name} is in use",
            why=f"The schedules of {', '.join(names[:5])} put backups into it",
            todo=f"End these first: insula backup schedule {names[0]} --off",
            code="backup-store-scheduled",
        )


def _values(new: BackupStore) -> dict[str, Any]:
    return {column.name: getattr(new, column.name) for column in backup_store.columns}
