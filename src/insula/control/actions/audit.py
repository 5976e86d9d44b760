"""The audit log of a project."""

from __future__ import annotations

from insula.control.actions.caller import Audit, Caller, Page, action
from insula.control.store import Store
from insula.domain.access import AuditEntry, Scope


class AuditActions:
    def __init__(self, store: Store) -> None:
        self.store = store

    @action("audit.list", Scope.AUDIT_READ, audit=Audit.NEVER)
    async def list(self, caller: Caller, after: int, limit: int) -> Page[AuditEntry]:
        """Newest first; `after` is the last sequence number of the page before, 0 for the first page."""
        found = await self.store.audit.newest(caller.project, before=after, limit=limit + 1)
        items = tuple(found[:limit])
        return Page(items, str(items[-1].sequence) if len(found) > limit else None)
