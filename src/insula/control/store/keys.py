"""SSH keys of a project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.errors import Conflict, NotFound
from insula.control.store.engine import Database
from insula.control.store.projects import find_project
from insula.control.store.schema import ssh_key
from insula.domain.access import SshKey


class Keys:
    """The table of SSH keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, project: str) -> Sequence[SshKey]:
        """The project's keys by name."""
        query = ssh_key.select().where(ssh_key.c.project == project).order_by(ssh_key.c.name)
        return await self._database.read(lambda connection: [SshKey(**r._mapping) for r in connection.execute(query)])

    async def get(self, project: str, name_or_id: str) -> SshKey:
        """Raises :class:`NotFound`."""
        return await self._database.read(lambda connection: _find(connection, project, name_or_id))

    async def add(self, key: SshKey) -> SshKey:
        """Raises :class:`Conflict` when its name or the very key is there, :class:`NotFound` without its project."""

        def work(connection: Connection) -> SshKey:
            self._database.lock(connection, "accept")
            find_project(connection, key.project)
            same = sa.or_(ssh_key.c.name == key.name, ssh_key.c.fingerprint == key.fingerprint)
            row = connection.execute(ssh_key.select().where(ssh_key.c.project == key.project, same)).first()
            if row is not None:
                raise _taken(key, SshKey(**row._mapping))
            connection.execute(ssh_key.insert().values({c.name: getattr(key, c.name) for c in ssh_key.columns}))
            return key

        return await self._database.write(work)

    async def rename(self, project: str, name_or_id: str, name: str) -> SshKey:
        """Raises :class:`NotFound`, and :class:`Conflict` when the name is taken."""

        def work(connection: Connection) -> SshKey:
            self._database.lock(connection, "accept")
            renamed = replace(_find(connection, project, name_or_id), name=name)
            others = ssh_key.select().where(
                ssh_key.c.project == project, ssh_key.c.name == name, ssh_key.c.id != renamed.id
            )
            row = connection.execute(others).first()
            if row is not None:
                raise _taken(renamed, SshKey(**row._mapping))
            connection.execute(ssh_key.update().where(ssh_key.c.id == renamed.id).values(name=name))
            return renamed

        return await self._database.write(work)

    async def delete(self, project: str, name_or_id: str) -> None:
        """Instances that got the key keep it. Raises :class:`NotFound`."""

        def work(connection: Connection) -> None:
            found = _find(connection, project, name_or_id)
            connection.execute(ssh_key.delete().where(ssh_key.c.id == found.id))

        await self._database.write(work)


def _taken(new: SshKey, old: SshKey) -> Conflict:
    if old.name == new.name:
        return Conflict(
            f"There is a key {new.name} already",
            why="Names of keys are unique in a project",
            todo="Choose another name, or delete the old key first",
            code="name-taken",
            fields={"name": "taken"},
        )
    return Conflict(
        "This key is there already",
        why=f"It is named {old.name}",
        todo=f"Use it as {old.name}",
        code="key-exists",
        fields={"public_key": f"is there as {old.name}"},
    )


def _find(connection: Connection, project: str, name_or_id: str) -> SshKey:
    same = sa.or_(ssh_key.c.name == name_or_id, ssh_key.c.id == name_or_id)
    row = connection.execute(ssh_key.select().where(ssh_key.c.project == project, same)).first()
    if row is None:
        raise NotFound(
            f"There is no key {name_or_id[:80]} in project {project}",
            why="No key has this name or id",
            todo="Look at `insula key list`, or add it with `insula key add`",
            code="unknown-key",
        )
    return SshKey(**row._mapping)
