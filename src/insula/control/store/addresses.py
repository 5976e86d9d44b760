"""Reserved addresses of projects, the pools that they are from, and what led where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from insula.base.clock import now_utc
from insula.base.errors import CapacityExceeded, Conflict, NotFound
from insula.control.store.address_schema import address, address_pool, assignment
from insula.control.store.engine import Database
from insula.control.store.projects import find_project
from insula.control.store.read_model import ReadModel
from insula.control.store.records import by_project
from insula.domain.address import MAX_ADDRESSES, AddressPool, Assignment, ReservedAddress
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Instance


@dataclass(frozen=True)
class KnownAddresses:
    """All pools, oldest first, and all reserved addresses of each project, oldest first."""

    pools: Sequence[AddressPool]
    by_project: Mapping[str, Sequence[ReservedAddress]]


class Addresses:
    """The tables of addresses."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.model: ReadModel[KnownAddresses] = ReadModel(database, "addresses", _load, address, address_pool)

    # Pools

    async def pools(self) -> Sequence[AddressPool]:
        """All of them, oldest first."""
        return list((await self.model.value()).pools)

    async def has_free(self, version: int) -> bool:
        """Whether a pool of that version has an address that nobody has reserved."""
        known = await self.model.value()
        taken = {one.address for held in known.by_project.values() for one in held}
        return any(pool.version == version and pool.free(taken.__contains__) is not None for pool in known.pools)

    async def add_pool(self, new: AddressPool) -> AddressPool:
        """Raises :class:`Conflict` for a taken name, or addresses that are in another one."""

        def work(connection: Connection) -> AddressPool:
            self._database.lock(connection, "accept")
            for other in _pools(connection):
                if other.name == new.name:
                    raise _pool_taken(new.name)
                if other.overlaps(new):
                    raise _pools_overlap(new, other)
            connection.execute(address_pool.insert().values(vars(new)))
            return new

        return await self._database.write(work)

    async def delete_pool(self, name_or_id: str) -> None:
        """Raises :class:`NotFound`, and :class:`Conflict` while an address of it is reserved."""

        def work(connection: Connection) -> None:
            self._database.lock(connection, "accept")
            found = _pool(connection, name_or_id)
            held = connection.execute(sa.select(address.c.address).where(address.c.pool_id == found.id)).scalars().all()
            if held:
                raise Conflict(
                    f"Pool {found.name} is in use",
                    why=f"Reserved: {', '.join(held[:3])}{' and more' if len(held) > 3 else ''}",
                    todo="Release these first",
                    code="address-pool-in-use",
                )
            connection.execute(address_pool.delete().where(address_pool.c.id == found.id))

        await self._database.write(work)

    # Addresses

    async def list(self, project: str) -> Sequence[ReservedAddress]:
        """All of a project, oldest first."""
        return list((await self.model.value()).by_project.get(project, ()))

    async def get(self, project: str, address_or_id: str) -> ReservedAddress:
        """Raises :class:`NotFound`."""
        return await self._database.read(lambda connection: _find(connection, project, address_or_id))

    async def reserve(self, project: str, *, wanted: str = "", pool: str = "", version: int = 4) -> ReservedAddress:
        """That one, or the first free one of a pool (the oldest of the version when none is named).

        Raises :class:`NotFound`, :class:`Conflict` when it is taken or the project has too many, CapacityExceeded.
        """

        def work(connection: Connection) -> ReservedAddress:
            self._database.lock(connection, "accept")
            find_project(connection, project)
            _check_count(connection, project)
            pools = [_pool(connection, pool)] if pool else _pools(connection)
            taken = set(connection.execute(sa.select(address.c.address)).scalars())
            chosen, source = _chosen(pools, taken, wanted, None if pool else version)
            new = ReservedAddress(new_id(Kind.ADDRESS), project, chosen, source.id, None, now_utc())
            connection.execute(address.insert().values(vars(new)))
            return new

        return await self._database.write(work)

    async def assign(self, project: str, address_or_id: str, instance: Instance | None) -> ReservedAddress:
        """Let it lead to the instance, or nowhere (None). Repeatable.

        Raises :class:`NotFound`, and :class:`Conflict` when the instance is on another node than the pool, or cannot
        have an address of this kind.
        """

        def work(connection: Connection) -> ReservedAddress:
            self._database.lock(connection, "accept")
            found = _find(connection, project, address_or_id)
            if found.instance_id == (instance.id if instance is not None else None):
                return found
            if instance is not None:
                _check_fits(connection, found, instance)
            _end_assignments(connection, assignment.c.address == found.address)
            new_holder = instance.id if instance is not None else None
            connection.execute(address.update().where(address.c.id == found.id).values(instance_id=new_holder))
            if instance is not None:
                began = Assignment(found.address, instance.id, instance.name, now_utc(), None)
                connection.execute(assignment.insert().values(project=project, **vars(began)))
            return _find(connection, project, found.id)

        return await self._database.write(work)

    async def release(self, project: str, address_or_id: str) -> None:
        """Give it back. Raises :class:`NotFound`, and :class:`Conflict` while it leads to an instance."""

        def work(connection: Connection) -> None:
            self._database.lock(connection, "accept")
            found = _find(connection, project, address_or_id)
            if found.instance_id is not None:
                raise Conflict(
                    f"Address {found.address} is in use",
                    why="It leads to an instance",
                    todo=f"Take it away first: insula address unassign {found.address}",
                    code="address-in-use",
                )
            connection.execute(address.delete().where(address.c.id == found.id))

        await self._database.write(work)

    async def history(self, project: str, address_text: str) -> Sequence[Assignment]:
        """To which instances of the project it led, the last one first."""

        def work(connection: Connection) -> Sequence[Assignment]:
            query = assignment.select().where(assignment.c.project == project, assignment.c.address == address_text)
            rows = connection.execute(query.order_by(assignment.c.sequence.desc()))
            return [
                Assignment(row.address, row.instance_id, row.instance_name, row.began_at, row.ended_at) for row in rows
            ]

        return await self._database.read(work)


def forget_instance(connection: Connection, instance_id: str) -> None:
    """The instance goes: no address leads to it any more."""
    connection.execute(address.update().where(address.c.instance_id == instance_id).values(instance_id=None))
    _end_assignments(connection, assignment.c.instance_id == instance_id)


def _end_assignments(connection: Connection, which: sa.ColumnElement[bool]) -> None:
    connection.execute(assignment.update().where(which, assignment.c.ended_at.is_(None)).values(ended_at=now_utc()))


def _pools(connection: Connection) -> Sequence[AddressPool]:
    rows = connection.execute(address_pool.select().order_by(address_pool.c.id))
    return [AddressPool(**row._mapping) for row in rows]


def _pool(connection: Connection, name_or_id: str) -> AddressPool:
    found = next((one for one in _pools(connection) if name_or_id in {one.name, one.id}), None)
    if found is None:
        raise NotFound(
            f"There is no pool of addresses {name_or_id[:80]}",
            why="No pool has this name or id",
            todo="Look at `insula address-pool list`",
            code="unknown-address-pool",
        )
    return found


def _addresses(connection: Connection, query: sa.Select[tuple[object, ...]]) -> Sequence[ReservedAddress]:
    return [ReservedAddress(**row._mapping) for row in connection.execute(query)]


def _load(connection: Connection) -> KnownAddresses:
    held = by_project(_addresses(connection, address.select().order_by(address.c.id)))
    return KnownAddresses(tuple(_pools(connection)), held)


def _find(connection: Connection, project: str, address_or_id: str) -> ReservedAddress:
    same = sa.or_(address.c.address == address_or_id, address.c.id == address_or_id)
    found = _addresses(connection, address.select().where(address.c.project == project, same))
    if not found:
        raise NotFound(
            f"Project {project} has no address {address_or_id[:80]}",
            why="It has not reserved it",
            todo="Look at `insula address list`",
            code="unknown-address",
        )
    return found[0]


def _check_count(connection: Connection, project: str) -> None:
    count = connection.execute(sa.select(sa.func.count()).where(address.c.project == project)).scalar_one()
    if count >= MAX_ADDRESSES:
        raise Conflict(
            f"Project {project} has {MAX_ADDRESSES} addresses already",
            why="It cannot have more",
            todo="Release one that is not needed any more",
            code="too-many-addresses",
        )


def _chosen(pools: Sequence[AddressPool], taken: set[str], wanted: str, version: int | None) -> tuple[str, AddressPool]:
    """An address and the pool that it is from."""
    if wanted:
        source = next((pool for pool in pools if pool.holds(wanted)), None)
        if source is None:
            raise NotFound(
                f"No pool has the address {wanted[:80]}",
                why="Only addresses of pools can be reserved",
                todo="Look at `insula address-pool list`",
                code="unknown-address",
            )
        if wanted in taken:
            raise Conflict(
                f"Address {wanted} is taken",
                why="It is reserved already",
                todo="Reserve another one",
                code="address-taken",
            )
        return wanted, source
    for pool in pools:
        if version is None or pool.version == version:
            found = pool.free(taken.__contains__)
            if found is not None:
                return found, pool
    raise CapacityExceeded(
        "No address is left" if pools else "There are no addresses to reserve",
        why="Every address of the pools is reserved" if pools else "The host's owner has added no pool of them",
        todo="Add a pool: insula address-pool add NAME 203.0.113.0/28",
        code="no-address-left",
    )


def _check_fits(connection: Connection, found: ReservedAddress, instance: Instance) -> None:
    pool = _pool(connection, found.pool_id)
    if instance.node != pool.node:
        raise Conflict(
            f"Address {found.address} cannot lead to {instance.name}",
            why=f"The address is at {pool.node}, and the instance at {instance.node}",
            todo="Take an address of a pool of that host",
            code="address-elsewhere",
        )
    is_6 = ":" in found.address
    if not any(port.ipv6 if is_6 else port.ipv4 for port in instance.ports):
        raise Conflict(
            f"Address {found.address} cannot lead to {instance.name}",
            why=f"It has no address of IPv{'6' if is_6 else '4'} in its network",
            todo="Take an address of the other kind, or an instance in another network",
            code="not-connected",
        )


def _pool_taken(name: str) -> Conflict:
    return Conflict(
        f"There is a pool {name} already",
        why="Names of pools are unique",
        todo="Choose another name",
        code="name-taken",
        fields={"name": "taken"},
    )


def _pools_overlap(new: AddressPool, other: AddressPool) -> Conflict:
    return Conflict(
        f"Pool {new.name} cannot have these addresses",
        why=f"Some of them are in pool {other.name}: {other.first} to {other.last}",
        todo="Name others",
        code="address-taken",
        fields={"addresses": f"overlap with {other.name}"},
    )
