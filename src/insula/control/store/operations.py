"""Operations and the events of their progress."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection, Row

from insula.base.clock import now_utc
from insula.base.errors import Conflict, NotFound
from insula.control.store.engine import Database
from insula.control.store.schema import operation, operation_event
from insula.domain.instance import Instance
from insula.domain.operation import ACTIVE_STATES, Operation, OperationEvent, OperationState, Verb


@dataclass(frozen=True)
class OperationFilter:
    """Which operations of a list are wanted; None and empty mean all."""

    state: OperationState | None = None
    verb: Verb | None = None
    target: str = ""


_ALL = OperationFilter()
_AT_ONCE = 500  # variables that one statement may have
_REMEMBERED = 5_000


class Operations:
    """The tables of operations and their events. What is over never changes, so the last of these are in memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._over: OrderedDict[str, Operation] = OrderedDict()

    async def get(self, project: str, operation_id: str) -> Operation:
        """Raises :class:`NotFound`."""
        found = await self.find(operation_id)
        if found is None or found.project != project:
            raise unknown_operation(operation_id)
        return found

    async def find(self, operation_id: str) -> Operation | None:
        """The operation of this id in whatever project."""
        query = operation.select().where(operation.c.id == operation_id)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else _operation(row)

    async def list(
        self, project: str, *, after: str = "", limit: int = 100, where: OperationFilter = _ALL
    ) -> Sequence[Operation]:
        """At most `limit` operations, newest first; `after` is the last id of the page before."""
        query = sa.select(operation.c.id).where(operation.c.project == project)
        query = query.order_by(operation.c.id.desc()).limit(limit)
        if after:
            query = query.where(operation.c.id < after)
        if where.state is not None:
            query = query.where(operation.c.state == where.state)
        if where.verb is not None:
            query = query.where(operation.c.verb == where.verb)
        if where.target:
            query = query.where(operation.c.target == where.target)

        def work(connection: Connection) -> Sequence[Operation]:
            ids = connection.execute(query).scalars().all()
            found = {one: known for one in ids if (known := self._over.get(one)) is not None}
            found |= _by_id(connection, [one for one in ids if one not in found])
            return [found[one] for one in ids if one in found]

        found = await self._database.read(work)
        self._remember(found)
        return found

    def _remember(self, found: Iterable[Operation]) -> None:
        for one in found:
            if one.state.is_final:
                self._over[one.id] = one
                self._over.move_to_end(one.id)
        while len(self._over) > _REMEMBERED:
            self._over.popitem(last=False)

    async def active(self) -> Sequence[Operation]:
        """All that are not final, oldest first."""
        query = operation.select().where(operation.c.state.in_(ACTIVE_STATES)).order_by(operation.c.id)
        return await self._database.read(lambda c: [_operation(row) for row in c.execute(query)])

    async def active_for(self, target: str) -> Operation | None:
        """The operation that works on `target` now."""
        return await self._database.read(lambda connection: find_active(connection, target))

    async def origin(self, operation_id: str) -> Instance | None:
        """The instance that a create began with, unless it succeeded."""
        query = sa.select(operation.c.origin).where(operation.c.id == operation_id)
        return await self._database.read(lambda connection: connection.execute(query).scalar())

    async def add(self, done: Operation) -> Operation:
        """Note a change that was made at once."""
        await self._database.write(lambda connection: insert_operation(connection, done, None))
        return done

    async def request_cancel(self, project: str, operation_id: str) -> Operation:
        """Note that it shall end; a final one stays as it is. Repeatable. Raises :class:`NotFound`."""

        def work(connection: Connection) -> Operation:
            found = _find(connection, operation_id)
            if found.project != project:
                raise unknown_operation(operation_id)
            if found.state.is_final or found.cancel_requested:
                return found
            return _write(connection, found, {"cancel_requested": True})

        return await self._database.write(work)

    async def record(
        self, operation_id: str, events: Sequence[OperationEvent], *, durable: bool = False, **fields: Any
    ) -> None:
        """Write progress: changed fields and new events together. Repeatable: an event that is there stays.

        `durable` waits for the disk: for final states.
        """

        def work(connection: Connection) -> None:
            if fields:
                values = {**fields, "updated_at": now_utc()}
                connection.execute(operation.update().where(operation.c.id == operation_id).values(values))
            add_events(connection, events)

        await self._database.write(work, progress=not durable)

    async def events(self, operation_id: str, after: int = 0, limit: int = 10000) -> Sequence[OperationEvent]:
        """Events with sequences above `after`, in order."""
        query = (
            operation_event.select()
            .where(operation_event.c.operation_id == operation_id, operation_event.c.sequence > after)
            .order_by(operation_event.c.sequence)
            .limit(limit)
        )
        return await self._database.read(lambda c: [OperationEvent(**row._mapping) for row in c.execute(query)])

    async def last_sequence(self, operation_id: str) -> int:
        """The sequence of the newest event, 0 when there is none."""
        query = sa.select(sa.func.max(operation_event.c.sequence)).where(operation_event.c.operation_id == operation_id)
        return await self._database.read(lambda connection: int(connection.execute(query).scalar() or 0))


def unknown_operation(operation_id: str) -> NotFound:
    """The error for an operation that is not there."""
    return NotFound(
        f"There is no operation {operation_id[:80]}",
        why="No operation of this project has this id",
        todo="Look at `insula operation list`",
        code="unknown-operation",
    )


def _by_id(connection: Connection, ids: Sequence[str]) -> Mapping[str, Operation]:
    found: dict[str, Operation] = {}
    for begin in range(0, len(ids), _AT_ONCE):
        query = operation.select().where(operation.c.id.in_(ids[begin : begin + _AT_ONCE]))
        found |= {row.id: _operation(row) for row in connection.execute(query)}
    return found


def _operation(row: Row[Any]) -> Operation:
    fields = dict(row._mapping)
    fields.pop("origin")
    return Operation(**fields)


_OF_SEVERAL = (  # which work on others as well
    *(Verb.FORK_INSTANCE, Verb.CREATE_INSTANCE, Verb.REVERT_INSTANCE, Verb.PUBLISH_IMAGE),
    *(verb for verb in Verb if verb.noun in {"volume", "snapshot", "backup"}),
)


def find_active(connection: Connection, target: str) -> Operation | None:
    """An operation that works on `target`, be it as a fork's child or as what has a volume."""
    return next(all_active(connection, target), None)


def all_active(connection: Connection, target: str) -> Iterator[Operation]:
    """All operations that work on `target`, its own first."""
    is_active = operation.c.state.in_(ACTIVE_STATES)
    row = connection.execute(operation.select().where(operation.c.target == target, is_active)).first()
    if row is not None:
        yield _operation(row)
    named = sa.type_coerce(operation.c.params, sa.Text).contains(target, autoescape=True)
    others = operation.select().where(operation.c.verb.in_(_OF_SEVERAL), operation.c.target != target, is_active, named)
    for found in map(_operation, connection.execute(others)):
        if target in found.works_on:
            yield found


def check_idle(connection: Connection, target: str, name: str) -> None:
    """Raise :class:`Conflict` while an operation works on `target`, which people know by `name`."""
    active = find_active(connection, target)
    if active is not None:
        raise Conflict(
            f"{name} is busy",
            why=f"Operation {active.id} ({active.verb.replace('_', ' ')}) works on it",
            todo=f"Wait for it with `insula operation wait {active.id}`, or cancel it",
            code="operation-in-progress",
        )


def insert_operation(connection: Connection, new: Operation, origin: Instance | None) -> None:
    """Write a new operation; `origin` is the new instance of a create."""
    values = {column.name: getattr(new, column.name) for column in operation.columns if column.name != "origin"}
    connection.execute(operation.insert().values(**values, origin=origin))


def add_events(connection: Connection, events: Sequence[OperationEvent]) -> None:
    """Write events, leaving those that are there."""
    if not events:
        return
    rows = [{column.name: getattr(e, column.name) for column in operation_event.columns} for e in events]

    if connection.dialect.name == "sqlite":
        connection.execute(operation_event.insert().prefix_with("OR IGNORE"), rows)
        return

    connection.execute(postgresql.insert(operation_event).on_conflict_do_nothing(), rows)


def _find(connection: Connection, operation_id: str) -> Operation:
    row = connection.execute(operation.select().where(operation.c.id == operation_id).with_for_update()).first()
    if row is None:
        raise unknown_operation(operation_id)
    return _operation(row)


def _write(connection: Connection, found: Operation, fields: dict[str, Any]) -> Operation:
    values = {**fields, "updated_at": now_utc()}
    connection.execute(operation.update().where(operation.c.id == found.id).values(values))
    return replace(found, **values)
