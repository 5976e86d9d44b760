"""Published images as control records them. Those of the catalogue and imported ones are known to nodes only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from insula.base.clock import now_utc
from insula.base.errors import NotFound
from insula.control.store.engine import Database
from insula.control.store.operations import check_idle
from insula.control.store.projects import find_project
from insula.control.store.read_model import ReadModel
from insula.control.store.schema import image, image_name, instance, operation, snapshot
from insula.domain.ids import Kind, is_id
from insula.domain.operation import ACTIVE_STATES
from insula.domain.published import PublishedImage, PublishedState

_SHARES = (image_name.c.shared_with, image_name.c.shared_with_all)
_READ = sa.select(image, *_SHARES).select_from(
    # A project that is gone shares nothing, and what it had published may still be in use.
    image.outerjoin(image_name, sa.and_(image_name.c.project == image.c.project, image_name.c.name == image.c.name))
)


class Images:
    """The tables of published images and their names."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.model: ReadModel[Sequence[PublishedImage]] = ReadModel(database, "images", _load, image, image_name)

    async def all(self) -> Sequence[PublishedImage]:
        """All that there are, deleted ones included."""
        return list(await self.model.value())

    async def visible(self, project: str) -> Sequence[PublishedImage]:
        """The project's own, and what others share with it, by name and version."""
        own = [found for found in await self.all() if found.state is not PublishedState.DELETED]
        return sorted(
            (found for found in own if is_visible(found, project)), key=lambda each: (each.name, each.version)
        )

    async def deprecate(self, project: str, image_id: str, deprecated: bool) -> PublishedImage:
        """Mark a version, or take the mark off. Repeatable. Raises :class:`NotFound`."""

        def work(connection: Connection) -> PublishedImage:
            found = _own(connection, project, image_id)
            write_image(connection, found.id, {"deprecated": deprecated})
            return replace(found, deprecated=deprecated)

        return await self._database.write(work)

    async def share(self, project: str, name: str, *, add: bool, other: str | None) -> None:
        """Share all versions of a name with another project (None: with all), or end that. Repeatable.

        Raises :class:`NotFound` when there is no such name or project.
        """

        def work(connection: Connection) -> None:
            row = _name_row(connection, project, name)
            if row is None or not any(_live_versions(connection, project, name)):
                raise unknown_image(name)
            if other is None:
                fields: dict[str, Any] = {"shared_with_all": add}
            else:
                if add:
                    find_project(connection, other)
                others = set(row.shared_with) | {other} if add else set(row.shared_with) - {other}
                fields = {"shared_with": tuple(sorted(others - {project}))}
            same = sa.and_(image_name.c.project == project, image_name.c.name == name)
            connection.execute(image_name.update().where(same).values(fields))

        await self._database.write(work)

    async def unused(self) -> Sequence[PublishedImage]:
        """Deleted ones that nothing uses any more. As nothing new can use them, this stays true."""

        def work(connection: Connection) -> Sequence[PublishedImage]:
            self._database.lock(connection, "accept")
            doomed = _READ.where(image.c.state == PublishedState.DELETED).order_by(image.c.id)
            found = [_image(row) for row in connection.execute(doomed)]
            return [each for each in found if not is_used(connection, each.id)]

        return await self._database.write(work)

    async def forget(self, image_id: str) -> None:
        """Remove the record of a deleted one whose data is gone. Repeatable."""
        doomed = image.delete().where(image.c.id == image_id, image.c.state == PublishedState.DELETED)
        await self._database.write(lambda connection: connection.execute(doomed))


def is_visible(found: PublishedImage, project: str) -> bool:
    """Whether the project may see and use it."""
    if found.project == project:
        return True
    return found.state is PublishedState.AVAILABLE and (found.shared_with_all or project in found.shared_with)


def is_used(connection: Connection, image_id: str) -> bool:
    """Whether an instance or a snapshot is based on it, or something that is going on needs it."""
    for table in (instance, snapshot):
        if connection.execute(sa.select(table.c.id).where(table.c.image == image_id).limit(1)).first():
            return True
    named = sa.type_coerce(operation.c.params, sa.Text).contains(image_id, autoescape=True)
    concerned = sa.or_(operation.c.target == image_id, named)
    active = sa.select(operation.c.id).where(operation.c.state.in_(ACTIVE_STATES), concerned).limit(1)
    return connection.execute(active).first() is not None


def add_image(connection: Connection, new: PublishedImage) -> PublishedImage:
    """Record a new version, whose number is the next of its name. Numbers are never used twice."""
    find_project(connection, new.project)
    row = _name_row(connection, new.project, new.name)
    version = 1 if row is None else row.last_version + 1
    if row is None:
        first = {"project": new.project, "name": new.name, "shared_with": (), "shared_with_all": False}
        connection.execute(image_name.insert().values(**first, last_version=version))
    else:
        same = sa.and_(image_name.c.project == new.project, image_name.c.name == new.name)
        connection.execute(image_name.update().where(same).values(last_version=version))
    full = replace(new, version=version)
    connection.execute(image.insert().values({column.name: getattr(full, column.name) for column in image.columns}))
    return full


def begin_delete_image(connection: Connection, image_id: str, project: str) -> bool:
    """Take a version from everybody; returns whether its data can go at once, because nothing uses it.

    The last version of a name takes with it whom the name was shared with. Raises NotFound and Conflict.
    """
    found = _own(connection, project, image_id)
    check_idle(connection, found.id, found.reference)
    write_image(connection, found.id, {"state": PublishedState.DELETED})
    _end_name(connection, found)
    return not is_used(connection, found.id)


def end_image(connection: Connection, image_id: str, fields: Mapping[str, Any] | None) -> None:
    """Write what an operation made of a published image; with None its record goes."""
    if fields is None:
        row = connection.execute(_READ.where(image.c.id == image_id)).first()
        connection.execute(image.delete().where(image.c.id == image_id))
        if row is not None:
            _end_name(connection, _image(row))
    elif fields:
        write_image(connection, image_id, fields)


def write_image(connection: Connection, image_id: str, fields: Mapping[str, Any]) -> None:
    """Write some fields of a record."""
    connection.execute(image.update().where(image.c.id == image_id).values({**fields, "updated_at": now_utc()}))


def check_image(connection: Connection, key: str, project: str) -> None:
    """Raise :class:`NotFound` when what an instance is to be made of was deleted or unshared meanwhile."""
    if not is_id(key, Kind.IMAGE):
        return
    row = connection.execute(_READ.where(image.c.id == key)).first()
    found = None if row is None else _image(row)
    if found is None or found.state is not PublishedState.AVAILABLE or not is_visible(found, project):
        raise unknown_image(key)


def unknown_image(reference: str) -> NotFound:
    """The error for an image that is not there, or not for this project."""
    return NotFound(
        f"There is no image {reference[:80]!r}",
        why="It is neither in the catalogue nor imported, and nobody has published it here or shared it",
        todo="`insula image list` shows all",
        code="unknown-image",
    )


def _own(connection: Connection, project: str, image_id: str) -> PublishedImage:
    row = connection.execute(_READ.where(image.c.id == image_id, image.c.project == project)).first()
    if row is None or row.state is PublishedState.DELETED:
        raise unknown_image(image_id)
    return _image(row)


def _live_versions(connection: Connection, project: str, name: str) -> Iterator[str]:
    same = (image.c.project == project, image.c.name == name, image.c.state != PublishedState.DELETED)
    yield from connection.execute(sa.select(image.c.id).where(*same)).scalars()


def _end_name(connection: Connection, gone: PublishedImage) -> None:
    if any(_live_versions(connection, gone.project, gone.name)):
        return
    same = sa.and_(image_name.c.project == gone.project, image_name.c.name == gone.name)
    connection.execute(image_name.update().where(same).values(shared_with=(), shared_with_all=False))


def _name_row(connection: Connection, project: str, name: str) -> Row[Any] | None:
    same = sa.and_(image_name.c.project == project, image_name.c.name == name)
    return connection.execute(image_name.select().where(same).with_for_update()).first()


def _load(connection: Connection) -> Sequence[PublishedImage]:
    return tuple(_image(row) for row in connection.execute(_READ.order_by(image.c.id)))


def _image(row: Row[Any]) -> PublishedImage:
    fields = dict(row._mapping)
    shared_with, is_for_all = fields.pop("shared_with"), fields.pop("shared_with_all")
    return PublishedImage(**fields, shared_with=tuple(shared_with or ()), shared_with_all=bool(is_for_all))
