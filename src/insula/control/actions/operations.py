"""Operations: look at them, follow, cancel, start again."""

from __future__ import annotations

from collections.abc import AsyncIterator

from insula.base.errors import Conflict
from insula.control.actions.acceptance import action_of
from insula.control.actions.caller import ACTIONS, Audit, Caller, Page, action
from insula.control.actions.ports import Engine
from insula.control.store import OperationFilter, Store
from insula.domain.access import Scope
from insula.domain.operation import Operation, OperationEvent

ANY_OPERATION = OperationFilter()


class OperationActions:
    def __init__(self, store: Store, engine: Engine) -> None:
        self.store = store
        self._engine = engine

    def version(self) -> int:
        """Grows with every event of any operation that runs in this process."""
        return self._engine.version()

    @action("operations.list", Scope.OPERATIONS_READ, audit=Audit.NEVER)
    async def list(
        self, caller: Caller, *, after: str = "", limit: int = 100, where: OperationFilter = ANY_OPERATION
    ) -> Page[Operation]:
        """Newest first; `after` is the last id of the page before."""
        found = await self.store.operations.list(caller.project, after=after, limit=limit + 1, where=where)
        items = tuple(found[:limit])
        return Page(items, items[-1].id if len(found) > limit else None)

    @action("operations.show", Scope.OPERATIONS_READ, audit=Audit.NEVER)
    async def show(self, caller: Caller, operation_id: str) -> Operation:
        return await self.store.operations.get(caller.project, operation_id)

    @action("operations.follow", Scope.OPERATIONS_READ, audit=Audit.NEVER)
    async def follow(self, caller: Caller, operation_id: str, after: int) -> AsyncIterator[OperationEvent]:
        """Its events after that sequence number: those that were, then live ones, to its end."""
        operation = await self.store.operations.get(caller.project, operation_id)
        return self._engine.subscribe(operation.id, after)

    @action("operations.cancel", Scope.OPERATIONS_WRITE, audit=Audit.AFTER)
    async def cancel(self, caller: Caller, operation_id: str) -> Operation:
        """Ask it to undo itself. May be repeated; raises Conflict when it is over."""
        operation = await self.store.operations.get(caller.project, operation_id)
        if operation.state.is_final:
            raise Conflict(
                f"Operation {operation.id} cannot be cancelled",
                why=f"It is over: {operation.state}",
                todo="Nothing is left to cancel",
                code="operation-over",
            )
        return await self._engine.cancel(caller.project, operation.id)

    @action("operations.retry", Scope.OPERATIONS_WRITE, audit=Audit.AFTER)
    async def retry(self, caller: Caller, operation_id: str) -> Operation:
        """A new operation with the same wish. Raises Conflict unless the old one ended without success."""
        operation = await self.store.operations.get(caller.project, operation_id)
        # Doing a thing again needs what doing it the first time needs.
        ACTIONS[action_of(operation.verb)].authorize(caller)
        return await self._engine.retry(caller.project, operation.id, caller.identity.subject)
