"""Firewalls of projects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.clock import now_utc
from insula.base.errors import Conflict, NotFound
from insula.control.store.engine import Database
from insula.control.store.network_schema import firewall
from insula.control.store.projects import find_project
from insula.domain.firewall import PeerKind
from insula.domain.project_firewall import MAX_FIREWALLS, ProjectFirewall


class Firewalls:
    """The table of firewalls."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, project: str) -> Sequence[ProjectFirewall]:
        """All of a project, oldest first, which is the order in which they are asked."""
        return await self._database.read(lambda connection: _firewalls_of(connection, project))

    async def get(self, project: str, name_or_id: str) -> ProjectFirewall:
        """Raises :class:`NotFound`."""
        return await self._database.read(lambda connection: _find(connection, project, name_or_id))

    async def add(self, new: ProjectFirewall) -> ProjectFirewall:
        """Raises :class:`Conflict` when its name is taken or there are too many."""

        def work(connection: Connection) -> ProjectFirewall:
            self._database.lock(connection, "accept")
            find_project(connection, new.project)
            others = _firewalls_of(connection, new.project)
            _check_name_free(others, new)
            if len(others) >= MAX_FIREWALLS:
                raise Conflict(
                    f"Project {new.project} has {MAX_FIREWALLS} firewalls already",
                    why="It cannot have more",
                    todo="Delete one that is not needed any more",
                    code="too-many-firewalls",
                )
            connection.execute(firewall.insert().values(_values(new)))
            return new

        return await self._database.write(work)

    async def edit(
        self, project: str, name_or_id: str, change: Callable[[ProjectFirewall], ProjectFirewall]
    ) -> ProjectFirewall:
        """Change it in one transaction; two at once both count. Raises NotFound, Conflict, and what `change` raises."""

        def work(connection: Connection) -> ProjectFirewall:
            self._database.lock(connection, "accept")
            found = _find(connection, project, name_or_id)
            changed = replace(change(found), updated_at=now_utc())
            _check_name_free(_firewalls_of(connection, project), changed)
            connection.execute(firewall.update().where(firewall.c.id == found.id).values(_values(changed)))
            return changed

        return await self._database.write(work)

    async def delete(self, project: str, name_or_id: str) -> None:
        """Raises :class:`NotFound`, and :class:`Conflict` while rules of another one name it."""

        def work(connection: Connection) -> None:
            self._database.lock(connection, "accept")
            found = _find(connection, project, name_or_id)
            for other in _firewalls_of(connection, project):
                named = {peer.value for rule in other.rules for peer in rule.peers if peer.kind is PeerKind.FIREWALL}
                if other.id != found.id and found.id in named:
                    raise Conflict(
                        f"Firewall {found.name} is in use",
                        why=f"A rule of {other.name} is about the instances that it applies to",
                        todo=f"Remove that rule first; see `insula firewall show {other.name}`",
                        code="firewall-in-use",
                    )
            connection.execute(firewall.delete().where(firewall.c.id == found.id))

        await self._database.write(work)


def _values(record: ProjectFirewall) -> dict[str, object]:
    return {column.name: getattr(record, column.name) for column in firewall.columns}


def _firewalls_of(connection: Connection, project: str) -> Sequence[ProjectFirewall]:
    query = firewall.select().where(firewall.c.project == project).order_by(firewall.c.id)
    return [ProjectFirewall(**row._mapping) for row in connection.execute(query)]


def _check_name_free(others: Sequence[ProjectFirewall], new: ProjectFirewall) -> None:
    if any(other.name == new.name and other.id != new.id for other in others):
        raise Conflict(
            f"There is a firewall {new.name} already",
            why="Names of firewalls are unique in a project",
            todo="Choose another name",
            code="name-taken",
            fields={"name": "taken"},
        )


def _find(connection: Connection, project: str, name_or_id: str) -> ProjectFirewall:
    same = sa.or_(firewall.c.name == name_or_id, firewall.c.id == name_or_id)
    row = connection.execute(firewall.select().where(firewall.c.project == project, same)).first()
    if row is None:
        raise NotFound(
            f"There is no firewall {name_or_id[:80]} in project {project}",
            why="No firewall has this name or id",
            todo="Look at `insula firewall list`",
            code="unknown-firewall",
        )
    return ProjectFirewall(**row._mapping)
