"""Snapshots as control records them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.clock import now_utc
from insula.base.errors import Conflict, NotFound
from insula.control.store.engine import Database
from insula.control.store.read_model import ReadModel
from insula.control.store.records import by_project, page
from insula.control.store.schema import instance, snapshot
from insula.domain.snapshot import Snapshot, SnapshotState, check_transition


@dataclass(frozen=True)
class SnapshotFilter:
    """Which snapshots of a list are wanted; empty means all."""

    state: SnapshotState | None = None
    tag: str = ""
    name: str = ""
    instance_id: str = ""

    def wants(self, found: Snapshot) -> bool:
        """Whether all that is given fits."""
        return (
            (self.state is None or found.state is self.state)
            and (not self.tag or self.tag in found.tags)
            and (not self.name or found.name == self.name)
            and (not self.instance_id or found.instance_id == self.instance_id)
        )


_ALL = SnapshotFilter()


class Snapshots:
    """The table of snapshots."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.model: ReadModel[Mapping[str, Sequence[Snapshot]]] = ReadModel(database, "snapshots", _load, snapshot)

    async def all(self) -> Sequence[Snapshot]:
        """The snapshots of all projects, in the order of their ids."""
        query = snapshot.select().order_by(snapshot.c.id)
        return await self._database.read(lambda connection: [Snapshot(**r._mapping) for r in connection.execute(query)])

    async def list(
        self, project: str, *, after: str = "", limit: int = 100, where: SnapshotFilter = _ALL
    ) -> Sequence[Snapshot]:
        """At most `limit` snapshots with ids after `after`, in the order of their ids."""
        return page((await self.model.value()).get(project, ()), after, limit, where.wants)

    async def get(self, project: str, name_or_id: str) -> Snapshot:
        """Raises :class:`NotFound`."""
        same = sa.or_(snapshot.c.name == name_or_id, snapshot.c.id == name_or_id)
        query = snapshot.select().where(snapshot.c.project == project, same)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise unknown_snapshot(name_or_id, f"in project {project}")
        return Snapshot(**row._mapping)

    async def find(self, snapshot_id: str) -> Snapshot | None:
        """The snapshot of this id in whatever project, None when it is gone."""
        query = snapshot.select().where(snapshot.c.id == snapshot_id)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else Snapshot(**row._mapping)

    async def change(self, project: str, snapshot_id: str, **fields: Any) -> Snapshot:
        """Change what needs no operation: name, tags, protected. Repeatable. Raises NotFound, and Conflict (name)."""

        def work(connection: Connection) -> Snapshot:
            found = find_snapshot(connection, snapshot_id)
            if found.project != project:
                raise unknown_snapshot(snapshot_id, f"in project {project}")
            if fields.get("name", found.name) != found.name:
                _check_name_free(connection, project, fields["name"])
            return write_snapshot(connection, found, fields)

        return await self._database.write(work)


def unknown_snapshot(name_or_id: str, where: str) -> NotFound:
    """The error for a snapshot that is not there."""
    return NotFound(
        f"There is no snapshot {name_or_id[:80]} {where}".strip(),
        why="No snapshot has this name or id",
        todo="Look at `insula snapshot list`",
        code="unknown-snapshot",
    )


def find_snapshot(connection: Connection, snapshot_id: str) -> Snapshot:
    """The snapshot of this id, locked against other writers. Raises :class:`NotFound`."""
    row = connection.execute(snapshot.select().where(snapshot.c.id == snapshot_id).with_for_update()).first()
    if row is None:
        raise unknown_snapshot(snapshot_id, "")
    return Snapshot(**row._mapping)


def insert_snapshot(connection: Connection, new: Snapshot) -> None:
    """Write a new record. Raises :class:`Conflict` when a snapshot of the project has the name."""
    _check_name_free(connection, new.project, new.name)
    values = {column.name: getattr(new, column.name) for column in snapshot.columns}
    connection.execute(snapshot.insert().values(values))


def write_snapshot(connection: Connection, found: Snapshot, fields: Mapping[str, Any]) -> Snapshot:
    """Write some fields of a record and return it as it is then."""
    values = {**fields, "updated_at": now_utc()}
    connection.execute(snapshot.update().where(snapshot.c.id == found.id).values(values))
    return replace(found, **values)


def end_snapshot(connection: Connection, snapshot_id: str, fields: Mapping[str, Any] | None) -> None:
    """Write what an operation made of a snapshot. Raises Conflict for an illegal state.

    With None its record goes: what went on from it goes on from what it went on from itself.
    """
    row = connection.execute(snapshot.select().where(snapshot.c.id == snapshot_id).with_for_update()).first()
    if row is None:
        return
    found = Snapshot(**row._mapping)
    if fields is None:
        above = snapshot.update().where(snapshot.c.parent_id == found.id)
        connection.execute(above.values(parent_id=found.parent_id))
        disks = instance.update().where(instance.c.snapshot_id == found.id)
        connection.execute(disks.values(snapshot_id=found.parent_id))
        connection.execute(snapshot.delete().where(snapshot.c.id == found.id))
        return
    if fields.get("state", found.state) is not found.state:
        check_transition(found.name, found.state, fields["state"])
    write_snapshot(connection, found, fields)


def snapshots_of_image(connection: Connection, image: str) -> Sequence[str]:
    """The names of those whose disks are based on the image."""
    query = sa.select(snapshot.c.name).where(snapshot.c.image == image).order_by(snapshot.c.id)
    return connection.execute(query).scalars().all()


def _check_name_free(connection: Connection, project: str, name: str) -> None:
    same = snapshot.select().where(snapshot.c.project == project, snapshot.c.name == name)
    if connection.execute(same).first():
        raise Conflict(
            f"There is a snapshot {name} already",
            why="Names of snapshots are unique in a project",
            todo=f"Choose another name, or delete it with `insula snapshot delete {name}`",
            code="name-taken",
            fields={"name": "taken"},
        )


def _load(connection: Connection) -> Mapping[str, Sequence[Snapshot]]:
    rows = connection.execute(snapshot.select().order_by(snapshot.c.id))
    return by_project(Snapshot(**row._mapping) for row in rows)
