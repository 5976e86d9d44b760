"""Instances as control records them, with a read model for lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from insula.base.clock import iso, now_utc
from insula.base.errors import Conflict, NotFound
from insula.control.store import ports
from insula.control.store.addresses import forget_instance
from insula.control.store.audit import AuditLine, append_line
from insula.control.store.engine import Database
from insula.control.store.operations import find_active
from insula.control.store.read_model import ReadModel
from insula.control.store.records import by_project, page
from insula.control.store.schema import instance
from insula.domain.instance import MAX_FORWARDS, Instance, InstanceState, PortForward, check_transition, lease_end


@dataclass(frozen=True)
class InstanceSet:
    """All instances, by project in the order of their ids, and by id."""

    by_project: Mapping[str, Sequence[Instance]]
    by_id: Mapping[str, Instance]


@dataclass(frozen=True)
class InstanceFilter:
    """Which instances of a list are wanted; empty means all."""

    state: InstanceState | None = None
    tag: str = ""
    name: str = ""
    plan: str = ""
    image: str = ""

    def wants(self, found: Instance) -> bool:
        """Whether all that is given fits."""
        return (
            (self.state is None or found.state is self.state)
            and (not self.tag or self.tag in found.tags)
            and (not self.name or found.name == self.name)
            and (not self.plan or found.plan == self.plan)
            and (not self.image or found.image == self.image)
        )


_ALL = InstanceFilter()


class Instances:
    """The table of instances."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.model: ReadModel[InstanceSet] = ReadModel(database, "instances", _load, instance)

    def version(self) -> int:
        """Changes with every write: what was made from a list is good until then."""
        return self.model.version

    async def all(self) -> Sequence[Instance]:
        """The instances of all projects, in the order of their ids."""
        return list((await self.model.value()).by_id.values())

    async def of_project(self, project: str) -> Sequence[Instance]:
        """All instances of a project, in the order of their ids."""
        return (await self.model.value()).by_project.get(project, ())

    async def list(
        self, project: str, *, after: str = "", limit: int = 100, where: InstanceFilter = _ALL
    ) -> Sequence[Instance]:
        """At most `limit` instances with ids after `after`, in the order of their ids."""
        held = (await self.model.value()).by_project.get(project, ())
        if where is _ALL and not after:
            return held[:limit]
        return page(held, after, limit, where.wants)

    async def get(self, project: str, name_or_id: str) -> Instance:
        """Raises :class:`NotFound`."""
        held = await self.model.value()
        found = held.by_id.get(name_or_id)
        if found is not None and found.project == project:
            return found
        for found in held.by_project.get(project, ()):
            if found.name == name_or_id:
                return found
        raise unknown_instance(name_or_id, f"in project {project}")

    async def find(self, instance_id: str) -> Instance | None:
        """The instance of this id in whatever project, None when it is gone."""
        return (await self.model.value()).by_id.get(instance_id)

    async def change(self, project: str, instance_id: str, **fields: Any) -> Instance:
        """Change what needs no operation: name, hostname, tags, protected, restart_policy. Repeatable.

        Raises :class:`NotFound`, and :class:`Conflict` when the name is taken or a lease forbids the protection.
        """

        def work(connection: Connection) -> Instance:
            self._database.lock(connection, "accept")
            found = find_instance(connection, instance_id)
            if found.project != project:
                raise unknown_instance(instance_id, f"in project {project}")
            if "name" in fields and fields["name"] != found.name:
                check_name_free(connection, project, fields["name"])
            if fields.get("protected") and found.lease_until is not None:
                raise _leased(found.name, found.lease_until)
            return write_fields(connection, found, fields)

        return await self._database.write(work)

    async def add_forward(self, project: str, instance_id: str, forward: PortForward) -> Instance:
        """Reserve a host port for it, a free one when it names none.

        Raises :class:`NotFound`, and :class:`Conflict` when the port is taken, it has too many, or it has no network.
        """

        def work(connection: Connection) -> Instance:
            self._database.lock(connection, "accept")
            found = _of_project(connection, project, instance_id)
            if not found.ports:
                raise _not_connected(found.name)
            if len(found.forwards) >= MAX_FORWARDS:
                raise _too_many_forwards(found.name)
            new = ports.reserve(connection, found.node, found.id, (forward,))
            return write_fields(connection, found, {"forwards": (*found.forwards, *new)})

        return await self._database.write(work)

    async def remove_forward(self, project: str, instance_id: str, forward: PortForward) -> Instance:
        """Give its host port back. Repeatable. Raises :class:`NotFound`."""

        def work(connection: Connection) -> Instance:
            self._database.lock(connection, "accept")
            found = _of_project(connection, project, instance_id)
            kept = tuple(each for each in found.forwards if each != forward)
            if kept == found.forwards:
                return found
            ports.release(connection, found.id, forward)
            return write_fields(connection, found, {"forwards": kept})

        return await self._database.write(work)

    async def lease(self, project: str, instance_id: str, lease_s: int | None, line: AuditLine) -> Instance:
        """Let it last `lease_s` seconds from now, or until it is deleted (None). Repeatable.

        `line` is written when a lease is given or taken off; one that is merely renewed leaves no trace, since that
        happens for ever. Raises :class:`NotFound`, and :class:`Conflict` for one that is protected or being deleted.
        """

        def work(connection: Connection) -> Instance:
            found = find_instance(connection, instance_id)
            if found.project != project:
                raise unknown_instance(instance_id, f"in project {project}")
            if lease_s is not None:
                _check_leasable(found)
            if (found.lease_s is None) != (lease_s is None):
                append_line(self._database, connection, line)
            return write_fields(connection, found, {"lease_s": lease_s, "lease_until": lease_end(lease_s)})

        return await self._database.write(work)

    async def update(
        self, instance_id: str, *, expected: frozenset[InstanceState] | None = None, **fields: Any
    ) -> Instance:
        """Record what happened to it; `expected` are the states in which the record must be for this to hold.

        A change of state must be a legal transition. Repeatable. Raises :class:`NotFound` and :class:`Conflict`.
        """

        def work(connection: Connection) -> Instance:
            found = find_instance(connection, instance_id)
            if expected is not None and found.state not in expected:
                raise Conflict(
                    f"Instance {found.name} is {found.state} meanwhile",
                    why=f"It was expected to be {' or '.join(sorted(expected))}",
                    todo=f"Look at it with `insula show {found.name}`",
                    code="wrong-state",
                )
            wanted = fields.get("state", found.state)
            if wanted is not found.state:
                check_transition(found.name, found.state, wanted)
            return write_fields(connection, found, fields)

        return await self._database.write(work)

    async def note(self, seen: Instance, **fields: Any) -> bool:
        """Record an observation, if the record is still as `seen` and no operation works on the instance.

        False when it was not recorded: an operation knows better.
        """

        def work(connection: Connection) -> bool:
            row = connection.execute(instance.select().where(instance.c.id == seen.id).with_for_update()).first()
            if row is None or row.updated_at != seen.updated_at or find_active(connection, seen.id) is not None:
                return False
            write_fields(connection, seen, fields)
            return True

        return await self._database.write(work, progress=True)

    async def delete(self, instance_id: str) -> None:
        """Remove the record with its port reservations. Repeatable."""

        def work(connection: Connection) -> None:
            forget_instance(connection, instance_id)
            connection.execute(instance.delete().where(instance.c.id == instance_id))

        await self._database.write(work)


def _of_project(connection: Connection, project: str, instance_id: str) -> Instance:
    found = find_instance(connection, instance_id)
    if found.project != project:
        raise unknown_instance(instance_id, f"in project {project}")
    return found


def _not_connected(name: str) -> Conflict:
    return Conflict(
        f"Instance {name} has no network",
        why="It is a twin of another one, which has the addresses",
        todo="Fork it without --identity keep for one that can be reached",
        code="not-connected",
    )


def _too_many_forwards(name: str) -> Conflict:
    return Conflict(
        f"Instance {name} has {MAX_FORWARDS} forwards already",
        why="It cannot have more",
        todo=f"Remove one: insula forward remove {name} PORT",
        code="too-many-forwards",
    )


def unknown_instance(name_or_id: str, where: str) -> NotFound:
    """The error for an instance that is not there."""
    return NotFound(
        f"There is no instance {name_or_id[:80]} {where}".strip(),
        why="No instance has this name or id",
        todo="Look at `insula list`",
        code="unknown-instance",
    )


def _leased(name: str, until: datetime) -> Conflict:
    return Conflict(
        f"Instance {name} has a lease and cannot be protected",
        why=f"It is deleted unless somebody renews its lease before {iso(until)}",
        todo=f"Take the lease off first: insula lease {name} off",
        code="leased",
    )


def _check_leasable(instance: Instance) -> None:
    if instance.protected:
        raise Conflict(
            f"Instance {instance.name} is protected and cannot have a lease",
            why="A lease ends with the deletion of the instance, which its protection forbids",
            todo=f"Lift the protection first: insula unprotect {instance.name}",
            code="protected",
        )
    if instance.state is InstanceState.DELETING:
        raise Conflict(
            f"Instance {instance.name} is being deleted",
            why="Its lease ended, or somebody deleted it; a renewal comes too late",
            todo="Create another one",
            code="wrong-state",
        )


def find_instance(connection: Connection, instance_id: str) -> Instance:
    """The instance of this id, locked against other writers. Raises :class:`NotFound`."""
    row = connection.execute(instance.select().where(instance.c.id == instance_id).with_for_update()).first()
    if row is None:
        raise unknown_instance(instance_id, "")
    return Instance(**row._mapping)


def check_name_free(connection: Connection, project: str, name: str) -> None:
    """Raise :class:`Conflict` when an instance of the project has the name."""
    same = instance.select().where(instance.c.project == project, instance.c.name == name)
    if connection.execute(same).first():
        raise Conflict(
            f"There is an instance {name} already",
            why="Names of instances are unique in a project",
            todo=f"Choose another name, or delete it with `insula delete {name}`",
            code="name-taken",
            fields={"name": "taken"},
        )


def insert_instance(connection: Connection, new: Instance) -> None:
    """Write a new record."""
    connection.execute(
        instance.insert().values({column.name: getattr(new, column.name) for column in instance.columns})
    )


def write_fields(connection: Connection, found: Instance, fields: Mapping[str, Any]) -> Instance:
    """Write some fields of a record and return it as it is then."""
    values = {**fields, "updated_at": now_utc()}
    connection.execute(instance.update().where(instance.c.id == found.id).values(values))
    return replace(found, **values)


def _load(connection: Connection) -> InstanceSet:
    found = [Instance(**row._mapping) for row in connection.execute(instance.select().order_by(instance.c.id))]
    return InstanceSet(by_project(found), {each.id: each for each in found})
