"""Projects: the boundary between tenants."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.errors import Conflict, NotFound
from insula.control.store.accounts import remove_homeless
from insula.control.store.engine import Database
from insula.control.store.schema import (
    backup_store,
    image,
    image_name,
    instance,
    project,
    snapshot,
    ssh_key,
    token,
    volume,
)
from insula.control.store.user_schema import membership
from insula.domain.access import Project
from insula.domain.published import PublishedState


class Projects:
    """The table of projects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> Sequence[Project]:
        """All projects by name."""
        return await self._database.read(
            lambda connection: [
                Project(**row._mapping) for row in connection.execute(project.select().order_by("name"))
            ]
        )

    async def get(self, name: str) -> Project:
        """Raises :class:`NotFound`."""
        return await self._database.read(lambda connection: find_project(connection, name))

    async def create(self, new: Project) -> Project:
        """Raises :class:`Conflict` when there is one of this name."""

        def work(connection: Connection) -> Project:
            self._database.lock(connection, "accept")
            if connection.execute(project.select().where(project.c.name == new.name)).first():
                raise Conflict(
                    f"There is a project {new.name} already",
                    why="Names of projects are unique",
                    todo="Choose another name, or use the project that there is",
                    code="name-taken",
                    fields={"name": "taken"},
                )
            connection.execute(project.insert().values(name=new.name, created_at=new.created_at))
            return new

        return await self._database.write(work)

    async def delete(self, name: str) -> None:
        """Remove an empty project with its keys and tokens, and with the users who belong to no other.

        Raises :class:`NotFound`, and :class:`Conflict` while it holds instances, volumes, snapshots, backup stores or
        images.
        """

        def work(connection: Connection) -> None:
            self._database.lock(connection, "accept")
            find_project(connection, name)
            _check_empty(connection, name)
            connection.execute(ssh_key.delete().where(ssh_key.c.project == name))
            connection.execute(image_name.delete().where(image_name.c.project == name))
            connection.execute(token.delete().where(token.c.project == name))
            connection.execute(membership.delete().where(membership.c.project == name))
            remove_homeless(connection)
            connection.execute(project.delete().where(project.c.name == name))

        await self._database.write(work)


def _check_empty(connection: Connection, name: str) -> None:
    live = sa.select(image.c.project, image.c.state).where(image.c.state != PublishedState.DELETED).subquery()
    kinds = (
        (live, "image", "image list"),
        (instance, "instance", "list"),
        (volume, "volume", "volume list"),
        (snapshot, "snapshot", "snapshot list"),
        (backup_store, "backup store", "backup store list"),
    )
    for table, noun, command in kinds:
        held = connection.execute(
            sa.select(sa.func.count()).select_from(table).where(table.c.project == name)
        ).scalar_one()
        if held:
            raise Conflict(
                f"Project {name} cannot be deleted",
                why=f"It holds {held} {noun}{'s' if held > 1 else ''}",
                todo=f"Delete them first; `insula --project {name} {command}` shows them",
                code="project-not-empty",
            )


def find_project(connection: Connection, name: str) -> Project:
    """The project of this name. Raises :class:`NotFound`."""
    row = connection.execute(project.select().where(project.c.name == name)).first()
    if row is None:
        raise NotFound(
            f"There is no project {name[:80]}",
            why="No project has this name",
            todo="Look at `insula project list`, or create it",
            code="unknown-project",
        )
    return Project(**row._mapping)
