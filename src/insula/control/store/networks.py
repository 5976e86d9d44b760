"""Networks of projects, and the ports of instances in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.clock import now_utc
from insula.base.errors import Conflict, InvalidInput, NotFound
from insula.control.store.engine import Database
from insula.control.store.network_schema import firewall, network, network_join, space
from insula.control.store.projects import find_project
from insula.control.store.read_model import ReadModel
from insula.control.store.records import by_project
from insula.control.store.schema import instance
from insula.domain.instance import Instance
from insula.domain.network import Space, check
from insula.domain.port import Port
from insula.domain.project_network import DEFAULT_NETWORK, ProjectNetwork, default_network, further_network, place


class Networks:
    """The table of networks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.model: ReadModel[Mapping[str, Sequence[ProjectNetwork]]] = ReadModel(database, "networks", _load, network)

    async def list(self, project: str) -> Sequence[ProjectNetwork]:
        """All networks of a project, in the order of their numbers."""
        return list((await self.model.value()).get(project, ()))

    async def get(self, project: str, name_or_id: str) -> ProjectNetwork:
        """Raises :class:`NotFound`."""
        return await self._database.read(lambda connection: find_network(connection, project, name_or_id))

    async def add(self, project: str, name: str, shape: Callable[[ProjectNetwork], ProjectNetwork]) -> ProjectNetwork:
        """A further one; `shape` is given what it would be and returns what it shall be.

        Raises :class:`Conflict` when the name is taken, CapacityExceeded, and InvalidInput when it does not fit beside
        the others.
        """

        def work(connection: Connection) -> ProjectNetwork:
            self._database.lock(connection, "accept")
            find_project(connection, project)
            others = list(_networks_of(connection, project))
            if not others and name != DEFAULT_NETWORK:  # which is where instances are that name none
                others.append(add_default(connection, project))
            if any(other.name == name for other in others):
                raise _name_taken(name)
            new = shape(further_network(project, name, others, now_utc()))
            check(Space("spc", tuple(one.network for one in (*others, new))))
            connection.execute(network.insert().values(vars(new)))
            return new

        return await self._database.write(work)

    async def change(
        self, project: str, name_or_id: str, *, name: str | None = None, gateway: bool | None = None
    ) -> ProjectNetwork:
        """None leaves it. Raises :class:`NotFound`, and :class:`Conflict` when the name is taken."""

        def work(connection: Connection) -> ProjectNetwork:
            self._database.lock(connection, "accept")
            found = find_network(connection, project, name_or_id)
            wanted = replace(
                found,
                name=found.name if name is None else name,
                gateway=found.gateway if gateway is None else gateway,
            )
            if any(one.name == wanted.name and one.id != found.id for one in _networks_of(connection, project)):
                raise _name_taken(wanted.name)
            connection.execute(network.update().where(network.c.id == found.id).values(vars(wanted)))
            return wanted

        return await self._database.write(work)

    async def delete(self, project: str, name_or_id: str) -> None:
        """Raises :class:`NotFound`, and :class:`Conflict` while an instance or a firewall's rule is in it."""

        def work(connection: Connection) -> None:
            self._database.lock(connection, "accept")
            found = find_network(connection, project, name_or_id)
            _check_unused(connection, found)
            connection.execute(network.delete().where(network.c.id == found.id))

        await self._database.write(work)

    async def joined(self, project: str) -> Sequence[tuple[str, str]]:
        """Pairs of ids of a project's networks that reach each other, in order."""

        def work(connection: Connection) -> Sequence[tuple[str, str]]:
            own = sa.select(network.c.id).where(network.c.project == project)
            pairs = network_join.select().where(network_join.c.one.in_(own)).order_by(*network_join.columns)
            return [(row.one, row.other) for row in connection.execute(pairs)]

        return await self._database.read(work)

    async def join(self, project: str, names_or_ids: tuple[str, str], *, joined: bool) -> None:
        """Let two networks reach each other, or no more. Repeatable. Raises :class:`NotFound`, InvalidInput."""

        def work(connection: Connection) -> None:
            self._database.lock(connection, "accept")
            held = {key: one.id for one in _networks_of(connection, project) for key in (one.name, one.id)}
            for name in names_or_ids:
                if name not in held:
                    raise _unknown(name, project)
            one, other = sorted(held[name] for name in names_or_ids)
            if one == other:
                raise _itself(names_or_ids[0])
            same = (network_join.c.one == one, network_join.c.other == other)
            connection.execute(network_join.delete().where(*same))
            if joined:
                connection.execute(network_join.insert().values(one=one, other=other))

        await self._database.write(work)

    async def next_revision(self, project: str) -> int:
        """A number that no telling of the project's networks had before."""

        def work(connection: Connection) -> int:
            raised = space.update().where(space.c.project == project).values(revision=space.c.revision + 1)
            if connection.execute(raised).rowcount == 0:
                connection.execute(space.insert().values(project=project, revision=1))
            found = sa.select(space.c.revision).where(space.c.project == project)
            return int(connection.execute(found).scalar_one())

        return await self._database.write(work)


def find_network(connection: Connection, project: str, name_or_id: str) -> ProjectNetwork:
    """Raises :class:`NotFound`."""
    found = next((one for one in _networks_of(connection, project) if name_or_id in {one.name, one.id}), None)
    if found is None:
        raise _unknown(name_or_id, project)
    return found


def place_ports(connection: Connection, new: Instance) -> Instance:
    """The new instance, whose ports have their places; inside a transaction that holds the accept lock.

    A project without a network gets one. Raises CapacityExceeded when there is no address left.
    """
    if not new.ports:
        return new
    networks = {one.id: one for one in _networks_of(connection, new.project)}
    first = next(iter(networks.values()), None) or add_default(connection, new.project)
    held = connection.execute(sa.select(instance.c.ports).where(instance.c.project == new.project)).scalars()
    taken: list[Port] = [port for ports in held for port in ports]
    placed: list[Port] = []
    for wish in new.ports:
        chosen = networks.get(wish.network_id, first)
        if wish.network_id and not wish.number and wish.network_id not in networks:
            raise _unknown(wish.network_id, new.project)
        placed.append(place(wish, chosen.network, (*taken, *placed)))
    return replace(new, ports=tuple(placed))


def _check_unused(connection: Connection, found: ProjectNetwork) -> None:
    rows = connection.execute(
        sa.select(instance.c.name, instance.c.ports).where(instance.c.project == found.project)
    ).all()
    inside = [row.name for row in rows if any(port.network_id == found.id for port in row.ports)]
    rules = connection.execute(sa.select(firewall.c.name, firewall.c.rules).where(firewall.c.project == found.project))
    about = [row.name for row in rules if any(peer.value == found.id for rule in row.rules for peer in rule.peers)]
    if inside or about:
        who = [f"instance {name}" for name in inside] + [f"a rule of firewall {name}" for name in about]
        raise Conflict(
            f"Network {found.name} is in use",
            why=f"In it or about it: {', '.join(who[:3])}{' and more' if len(who) > 3 else ''}",
            todo="Delete these first",
            code="network-in-use",
        )


def _itself(name: str) -> InvalidInput:
    return InvalidInput(
        f"Network {name} cannot be joined with itself",
        why="Instances of one network reach each other anyway",
        todo="Name another one",
        code="invalid-network",
        fields={"network": "must be another one"},
    )


def _name_taken(name: str) -> Conflict:
    return Conflict(
        f"There is a network {name} already",
        why="Names of networks are unique in a project",
        todo="Choose another name",
        code="name-taken",
        fields={"name": "taken"},
    )


def _unknown(name_or_id: str, project: str) -> NotFound:
    return NotFound(
        f"There is no network {name_or_id[:80]} in project {project}",
        why="No network has this name or id",
        todo="Look at `insula network list`",
        code="unknown-network",
    )


def _networks_of(connection: Connection, project: str) -> Sequence[ProjectNetwork]:
    rows = connection.execute(network.select().where(network.c.project == project).order_by(network.c.number))
    return [ProjectNetwork(**row._mapping) for row in rows]


def _load(connection: Connection) -> Mapping[str, Sequence[ProjectNetwork]]:
    rows = connection.execute(network.select().order_by(network.c.number))
    return by_project(ProjectNetwork(**row._mapping) for row in rows)


def add_default(connection: Connection, project: str) -> ProjectNetwork:
    """The network of a project that has none."""
    new = default_network(project, now_utc())
    connection.execute(network.insert().values(vars(new)))
    return new
