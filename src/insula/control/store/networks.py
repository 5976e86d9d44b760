"""Networks of projects, and the ports of instances in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.clock import now_utc
from insula.base.errors import NotFound
from insula.control.store.engine import Database
from insula.control.store.network_schema import network, space
from insula.control.store.schema import instance
from insula.domain.instance import Instance
from insula.domain.port import Port
from insula.domain.project_network import ProjectNetwork, default_network, place


class Networks:
    """The table of networks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, project: str) -> Sequence[ProjectNetwork]:
        """All networks of a project, in the order of their numbers."""
        return await self._database.read(lambda connection: _networks_of(connection, project))

    async def get(self, project: str, name_or_id: str) -> ProjectNetwork:
        """Raises :class:`NotFound`."""
        found = next((one for one in await self.list(project) if name_or_id in {one.name, one.id}), None)
        if found is None:
            raise NotFound(
                f"There is no network {name_or_id[:80]} in project {project}",
                why="No network has this name or id; a project's first instance brings the network `default`",
                todo="Check the name",
                code="unknown-network",
            )
        return found

    async def next_revision(self, project: str) -> int:
        """A number that no telling of the project's networks had before."""

        def work(connection: Connection) -> int:
            raised = space.update().where(space.c.project == project).values(revision=space.c.revision + 1)
            if connection.execute(raised).rowcount == 0:
                connection.execute(space.insert().values(project=project, revision=1))
            found = sa.select(space.c.revision).where(space.c.project == project)
            return int(connection.execute(found).scalar_one())

        return await self._database.write(work)


def place_ports(connection: Connection, new: Instance) -> Instance:
    """The new instance, whose ports have their places; inside a transaction that holds the accept lock.

    A project without a network gets one. Raises CapacityExceeded when there is no address left.
    """
    if not new.ports:
        return new
    first = next(iter(_networks_of(connection, new.project)), None) or add_default(connection, new.project)
    held = connection.execute(sa.select(instance.c.ports).where(instance.c.project == new.project)).scalars()
    taken: list[Port] = [port for ports in held for port in ports]
    placed: list[Port] = []
    for wish in new.ports:
        placed.append(place(wish, first.network, (*taken, *placed)))
    return replace(new, ports=tuple(placed))


def _networks_of(connection: Connection, project: str) -> Sequence[ProjectNetwork]:
    rows = connection.execute(network.select().where(network.c.project == project).order_by(network.c.number))
    return [ProjectNetwork(**row._mapping) for row in rows]


def add_default(connection: Connection, project: str) -> ProjectNetwork:
    """The network of a project that has none."""
    new = default_network(project, now_utc())
    connection.execute(network.insert().values(vars(new)))
    return new
