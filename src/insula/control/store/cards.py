"""Further network cards of instances: ports beside their first one."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.engine import Connection

from insula.base.errors import Conflict, NotFound
from insula.control.store.engine import Database
from insula.control.store.instances import find_instance, unknown_instance, write_fields
from insula.control.store.networks import find_network, place_ports
from insula.control.store.operations import find_active
from insula.domain.ids import new_mac
from insula.domain.instance import Instance
from insula.domain.port import MAX_CARDS
from insula.domain.project_network import ProjectNetwork, port_wish


class Cards:
    """Adds ports to records and takes them away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, project: str, instance_id: str, network: str) -> Instance:
        """Give it a port in the network, by name or id. Repeatable.

        Raises :class:`NotFound`, CapacityExceeded, and :class:`Conflict` while an operation works on it, when it has no
        network card at all, or has the most.
        """

        def work(connection: Connection) -> Instance:
            self._database.lock(connection, "accept")
            found, wanted = _both(connection, project, instance_id, network)
            if any(port.network_id == wanted.id for port in found.ports):
                return found
            _check_room(found)
            wish = port_wish(found.id, new_mac(), wanted.id)
            (new,) = place_ports(connection, replace(found, ports=(wish,))).ports
            return write_fields(connection, found, {"ports": (*found.ports, new)})

        return await self._database.write(work)

    async def without(self, project: str, instance_id: str, network: str) -> Instance:
        """What it is to be without its port in the network; changes nothing.

        Raises :class:`NotFound`, and :class:`Conflict` for the first card or while an operation works on it.
        """

        def work(connection: Connection) -> Instance:
            return _without(*_both(connection, project, instance_id, network))

        return await self._database.read(work)

    async def remove(self, project: str, instance_id: str, network: str) -> Instance:
        """Take its port there away. Raises as :meth:`without` does."""

        def work(connection: Connection) -> Instance:
            self._database.lock(connection, "accept")
            found, wanted = _both(connection, project, instance_id, network)
            return write_fields(connection, found, {"ports": _without(found, wanted).ports})

        return await self._database.write(work)


def _both(connection: Connection, project: str, instance_id: str, network: str) -> tuple[Instance, ProjectNetwork]:
    found = find_instance(connection, instance_id)
    if found.project != project:
        raise unknown_instance(instance_id, f"in project {project}")
    active = find_active(connection, found.id)
    if active is not None:
        raise Conflict(
            f"Instance {found.name} is busy",
            why=f"Operation {active.id} ({active.verb.replace('_', ' ')}) works on it",
            todo=f"Wait for it with `insula operation wait {active.id}`",
            code="operation-in-progress",
        )
    return found, find_network(connection, project, network)


def _without(found: Instance, network: ProjectNetwork) -> Instance:
    if found.ports and found.ports[0].network_id == network.id:
        raise Conflict(
            f"{found.name} cannot be taken out of {network.name}",
            why="Its first network card is there, which it has for life",
            todo="Create an instance in another network, or stop others from reaching it with a firewall",
            code="first-card",
        )
    kept = tuple(port for port in found.ports if port.network_id != network.id)
    if kept == found.ports:
        raise NotFound(
            f"{found.name} is not in network {network.name}",
            why="It has no network card there",
            todo=f"Look at `insula show {found.name}`",
            code="not-in-network",
        )
    return replace(found, ports=kept)


def _check_room(found: Instance) -> None:
    if not found.ports:
        raise Conflict(
            f"Instance {found.name} has no network",
            why="It is a twin of another one, which has the addresses",
            todo="Fork it without --identity keep for one that can be reached",
            code="not-connected",
        )
    if len(found.ports) >= MAX_CARDS:
        raise Conflict(
            f"{found.name} has {MAX_CARDS} network cards already",
            why="It cannot have more",
            todo="Take it out of another network first, or join networks with `insula network join`",
            code="too-many-cards",
        )
