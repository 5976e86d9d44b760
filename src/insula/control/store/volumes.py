"""Volumes as control records them."""

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
from insula.control.store.schema import volume
from insula.domain.volume import Volume, VolumeState, check_transition


@dataclass(frozen=True)
class VolumeFilter:
    """Which volumes of a list are wanted; empty means all."""

    state: VolumeState | None = None
    tag: str = ""
    name: str = ""
    instance_id: str = ""

    def wants(self, found: Volume) -> bool:
        """Whether all that is given fits."""
        return (
            (self.state is None or found.state is self.state)
            and (not self.tag or self.tag in found.tags)
            and (not self.name or found.name == self.name)
            and (not self.instance_id or found.instance_id == self.instance_id)
        )


_ALL = VolumeFilter()


class Volumes:
    """The table of volumes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.model: ReadModel[Mapping[str, Sequence[Volume]]] = ReadModel(database, "volumes", _load, volume)

    async def all(self) -> Sequence[Volume]:
        """The volumes of all projects, in the order of their ids."""
        query = volume.select().order_by(volume.c.id)
        return await self._database.read(lambda connection: [Volume(**r._mapping) for r in connection.execute(query)])

    async def list(
        self, project: str, *, after: str = "", limit: int = 100, where: VolumeFilter = _ALL
    ) -> Sequence[Volume]:
        """At most `limit` volumes with ids after `after`, in the order of their ids."""
        return page((await self.model.value()).get(project, ()), after, limit, where.wants)

    async def get(self, project: str, name_or_id: str) -> Volume:
        """Raises :class:`NotFound`."""
        same = sa.or_(volume.c.name == name_or_id, volume.c.id == name_or_id)
        query = volume.select().where(volume.c.project == project, same)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise unknown_volume(name_or_id, f"in project {project}")
        return Volume(**row._mapping)

    async def find(self, volume_id: str) -> Volume | None:
        """The volume of this id in whatever project, None when it is gone."""
        query = volume.select().where(volume.c.id == volume_id)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else Volume(**row._mapping)

    async def change(self, project: str, volume_id: str, **fields: Any) -> Volume:
        """Change what needs no operation: tags, protected. Repeatable. Raises :class:`NotFound`."""

        def work(connection: Connection) -> Volume:
            found = find_volume(connection, volume_id)
            if found.project != project:
                raise unknown_volume(volume_id, f"in project {project}")
            return write_volume(connection, found, fields)

        return await self._database.write(work)


def unknown_volume(name_or_id: str, where: str) -> NotFound:
    """The error for a volume that is not there."""
    return NotFound(
        f"There is no volume {name_or_id[:80]} {where}".strip(),
        why="No volume has this name or id",
        todo="Look at `insula volume list`",
        code="unknown-volume",
    )


def find_volume(connection: Connection, volume_id: str) -> Volume:
    """The volume of this id, locked against other writers. Raises :class:`NotFound`."""
    row = connection.execute(volume.select().where(volume.c.id == volume_id).with_for_update()).first()
    if row is None:
        raise unknown_volume(volume_id, "")
    return Volume(**row._mapping)


def attached_to(connection: Connection, instance_id: str) -> Sequence[Volume]:
    """The volumes that an instance has, by name."""
    rows = connection.execute(volume.select().where(volume.c.instance_id == instance_id).order_by(volume.c.name))
    return [Volume(**row._mapping) for row in rows]


def insert_volume(connection: Connection, new: Volume) -> None:
    """Write a new record. Raises :class:`Conflict` when a volume of the project has the name."""
    same = volume.select().where(volume.c.project == new.project, volume.c.name == new.name)
    if connection.execute(same).first():
        raise Conflict(
            f"There is a volume {new.name} already",
            why="Names of volumes are unique in a project",
            todo=f"Choose another name, or delete it with `insula volume delete {new.name}`",
            code="name-taken",
            fields={"name": "taken"},
        )
    connection.execute(volume.insert().values({column.name: getattr(new, column.name) for column in volume.columns}))


def write_volume(connection: Connection, found: Volume, fields: Mapping[str, Any]) -> Volume:
    """Write some fields of a record and return it as it is then."""
    values = {**fields, "updated_at": now_utc()}
    connection.execute(volume.update().where(volume.c.id == found.id).values(values))
    return replace(found, **values)


def end_volume(connection: Connection, volume_id: str, fields: Mapping[str, Any] | None) -> None:
    """Write what an operation made of a volume; its record goes with None. Raises Conflict for an illegal state."""
    if fields is None:
        connection.execute(volume.delete().where(volume.c.id == volume_id))
        return
    row = connection.execute(volume.select().where(volume.c.id == volume_id).with_for_update()).first()
    if row is None:
        return
    found = Volume(**row._mapping)
    if fields.get("state", found.state) is not found.state:
        check_transition(found.name, found.state, fields["state"])
    write_volume(connection, found, fields)


def release_volumes(connection: Connection, instance_id: str) -> None:
    """An instance goes; its volumes stay."""
    for found in attached_to(connection, instance_id):
        state = VolumeState.AVAILABLE if found.state is VolumeState.ATTACHED else found.state
        write_volume(connection, found, {"instance_id": None, "state": state})


def _load(connection: Connection) -> Mapping[str, Sequence[Volume]]:
    rows = connection.execute(volume.select().order_by(volume.c.id))
    return by_project(Volume(**row._mapping) for row in rows)
