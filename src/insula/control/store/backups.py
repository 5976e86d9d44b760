"""Backups as control records them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.clock import now_utc
from insula.base.errors import Conflict, NotFound
from insula.control.store.engine import Database
from insula.control.store.read_model import ReadModel
from insula.control.store.records import by_project, page
from insula.control.store.schema import backup, backup_store
from insula.domain.backup import Backup, BackupState, check_transition, free_name


@dataclass(frozen=True)
class BackupFilter:
    """Which backups of a list are wanted; empty means all."""

    state: BackupState | None = None
    name: str = ""
    instance_id: str = ""
    store_id: str = ""

    def wants(self, found: Backup) -> bool:
        """Whether all that is given fits."""
        return (
            (self.state is None or found.state is self.state)
            and (not self.name or found.name == self.name)
            and (not self.instance_id or found.instance_id == self.instance_id)
            and (not self.store_id or found.store_id == self.store_id)
        )


_ALL = BackupFilter()


class Backups:
    """The table of backups."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.model: ReadModel[Mapping[str, Sequence[Backup]]] = ReadModel(database, "backups", _load, backup)

    async def all(self) -> Sequence[Backup]:
        """The backups of all projects, in the order of their ids."""
        query = backup.select().order_by(backup.c.id)
        return await self._database.read(lambda c: [Backup(**row._mapping) for row in c.execute(query)])

    async def list(
        self, project: str, *, after: str = "", limit: int = 100, where: BackupFilter = _ALL
    ) -> Sequence[Backup]:
        """At most `limit` backups with ids after `after`, in the order of their ids."""
        return page((await self.model.value()).get(project, ()), after, limit, where.wants)

    async def get(self, project: str, name_or_id: str) -> Backup:
        """Raises :class:`NotFound`."""
        same = sa.or_(backup.c.name == name_or_id, backup.c.id == name_or_id)
        query = backup.select().where(backup.c.project == project, same)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise unknown_backup(name_or_id, f"in project {project}")
        return Backup(**row._mapping)

    async def find(self, backup_id: str) -> Backup | None:
        """The backup of this id in whatever project, None when it is gone."""
        query = backup.select().where(backup.c.id == backup_id)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else Backup(**row._mapping)

    async def change(self, project: str, backup_id: str, **fields: Any) -> Backup:
        """Change what needs no operation: name, protected. Repeatable. Raises NotFound, and Conflict (name)."""

        def work(connection: Connection) -> Backup:
            found = find_backup(connection, backup_id)
            if found.project != project:
                raise unknown_backup(backup_id, f"in project {project}")
            if fields.get("name", found.name) != found.name:
                _check_name_free(connection, project, fields["name"])
            return write_backup(connection, found, fields)

        return await self._database.write(work)

    async def take_over(self, new: Sequence[Backup], gone: Collection[str], why: str) -> Sequence[Backup]:
        """Record those that are not known yet, under names that are free; those that are `gone` fail with `why`.

        Repeatable. Returns what is new.
        """

        def work(connection: Connection) -> Sequence[Backup]:
            self._database.lock(connection, "accept")
            added = [taken for each in new if (taken := _take_over(connection, each)) is not None]
            lost = sa.and_(backup.c.id.in_(list(gone)), backup.c.state == BackupState.AVAILABLE)
            values = {"state": BackupState.FAILED, "problem": why, "updated_at": now_utc()}
            connection.execute(backup.update().where(lost).values(values))
            return added

        return await self._database.write(work)


def unknown_backup(name_or_id: str, where: str) -> NotFound:
    """The error for a backup that is not there."""
    return NotFound(
        f"There is no backup {name_or_id[:80]} {where}".strip(),
        why="No backup has this name or id",
        todo="Look at `insula backup list`; `insula backup import STORE` finds those that other hosts made",
        code="unknown-backup",
    )


def find_backup(connection: Connection, backup_id: str) -> Backup:
    """The backup of this id, locked against other writers. Raises :class:`NotFound`."""
    row = connection.execute(backup.select().where(backup.c.id == backup_id).with_for_update()).first()
    if row is None:
        raise unknown_backup(backup_id, "")
    return Backup(**row._mapping)


def insert_backup(connection: Connection, new: Backup) -> None:
    """Write a new record. Raises :class:`Conflict` when a backup of the project has the name."""
    _check_name_free(connection, new.project, new.name)
    values = {column.name: getattr(new, column.name) for column in backup.columns}
    connection.execute(backup.insert().values(values))


def write_backup(connection: Connection, found: Backup, fields: Mapping[str, Any]) -> Backup:
    """Write some fields of a record and return it as it is then."""
    values = {**fields, "updated_at": now_utc()}
    connection.execute(backup.update().where(backup.c.id == found.id).values(values))
    return replace(found, **values)


def end_backup(connection: Connection, backup_id: str, fields: Mapping[str, Any] | None) -> None:
    """Write what an operation made of a backup. With None its record goes. Raises Conflict for an illegal state."""
    row = connection.execute(backup.select().where(backup.c.id == backup_id).with_for_update()).first()
    if row is None:
        return
    found = Backup(**row._mapping)
    if fields is None:
        if found.state is BackupState.DELETING:
            stores = backup_store.update().where(backup_store.c.id == found.store_id)
            connection.execute(stores.values(deleted_at=now_utc()))
        connection.execute(backup.delete().where(backup.c.id == found.id))
        return
    if fields.get("state", found.state) is not found.state:
        check_transition(found.name, found.state, fields["state"])
    write_backup(connection, found, fields)


def names_of(connection: Connection, project: str) -> frozenset[str]:
    """The names of all backups of a project."""
    return frozenset(connection.execute(sa.select(backup.c.name).where(backup.c.project == project)).scalars())


def _take_over(connection: Connection, new: Backup) -> Backup | None:
    if connection.execute(backup.select().where(backup.c.id == new.id)).first():
        return None
    taken = names_of(connection, new.project)
    named = replace(new, name=free_name(new.instance_name, new.created_at, taken))
    insert_backup(connection, named)
    return named


def _check_name_free(connection: Connection, project: str, name: str) -> None:
    if connection.execute(backup.select().where(backup.c.project == project, backup.c.name == name)).first():
        raise Conflict(
            f"There is a backup {name} already",
            why="Names of backups are unique in a project",
            todo=f"Choose another name, or delete it with `insula backup delete {name}`",
            code="name-taken",
            fields={"name": "taken"},
        )


def _load(connection: Connection) -> Mapping[str, Sequence[Backup]]:
    rows = connection.execute(backup.select().order_by(backup.c.id))
    return by_project(Backup(**row._mapping) for row in rows)
